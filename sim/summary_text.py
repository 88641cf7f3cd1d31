"""The summary of a run on the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

MISSING = "–"

ERROR_COLUMNS = (
    ("mean", "3d_mean"),
    ("50 %", "3d_e50"),
    ("90 %", "3d_e90"),
    ("H 50 %", "h_e50"),
    ("H 90 %", "h_e90"),
    ("V 50 %", "v_e50"),
    ("V 90 %", "v_e90"),
)


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what came out of a run: errors, ratios, latency, age, and frames per BS by fate."""
    (console or Console()).print(render(summary))


def render(summary: Mapping[str, Any]) -> RenderableType:
    """The summary as something `rich` prints."""
    return Group(
        Text(headline(summary), style="bold"),
        *(Text(f"INVALID: {error}", style="bold red") for error in summary.get("errors", [])),
        errors(summary),
        frames(summary),
        *(Text(line) for line in closing_lines(summary)),
    )


def headline(summary: Mapping[str, Any]) -> str:
    """One line: which scenario, how much of it, how fast."""
    wall, simulated = summary.get("wall_time_s"), summary.get("sim_time_s")
    pace = f" in {wall:.1f} s ({simulated / wall:.1f} x real time)" if wall and simulated is not None else ""
    state = "" if summary.get("complete") else " (incomplete)"
    return f"{summary['scenario']}{state}: {seconds(simulated)} simulated{pace}"


def errors(summary: Mapping[str, Any]) -> Table:
    """3D, horizontal and vertical error of fixes and tracks."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("3D error")
    for title, _ in ERROR_COLUMNS:
        table.add_column(title, justify="right")
    for name, prefix in (("track", "track_error"), ("fix", "fix_error")):
        table.add_row(name, *(metres(summary.get(f"{prefix}_{key}_m")) for _, key in ERROR_COLUMNS))
    return table


def frames(summary: Mapping[str, Any]) -> Table:
    """What became of the frames of each BS, and in all."""
    counts = summary["frames"]
    causes = list(counts["dropped"])
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("frames")
    for title in ("sent", "delivered", "used", *causes, "in flight", "delay p50", "p99"):
        table.add_column(title.replace("_", " "), justify="right")
    for bs, count in counts.get("per_bs", {}).items():
        table.add_row(bs, *_frame_cells(count, causes))
    total = dict(counts) | {"used": sum(count["used"] for count in counts.get("per_bs", {}).values())}
    table.add_row("all", *_frame_cells(total, causes), style="bold")
    return table


def closing_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """Fixes, ratios, latency and age, and where the two hashes stand."""
    yield f"fixes {summary['fixes']}, missed {summary['fixes_missed']}"
    yield (
        f"payload {percent(summary.get('payload_ratio'))} of the CSI (η), "
        f"on the wire {percent(summary.get('wire_ratio'))}"
    )
    yield (
        f"latency p50 {seconds(summary.get('latency_p50_s'))}, p99 {seconds(summary.get('latency_p99_s'))}; "
        f"age of information p50 {seconds(summary.get('age_p50_s'))}, p99 {seconds(summary.get('age_p99_s'))}"
    )
    yield f"fingerprint {summary.get('fingerprint', MISSING)}"
    yield f"digest      {summary.get('digest', MISSING)}"


def metres(value: float | None) -> str:
    """A length for the eye."""
    return MISSING if value is None else f"{value:.2f} m"


def seconds(value: float | None) -> str:
    """A time for the eye: ms below a second."""
    if value is None:
        return MISSING
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.4g} s"


def percent(value: float | None) -> str:
    """A share for the eye."""
    return MISSING if value is None else f"{100 * value:.2f} %"


def _frame_cells(count: Mapping[str, Any], causes: list[str]) -> Iterator[str]:
    yield str(count["sent"])
    yield str(count["delivered"])
    yield str(count["used"])
    for cause in causes:
        yield str(count["dropped"].get(cause, 0))
    yield str(count["in_flight"])
    yield seconds(count["delay_p50_s"]) if "delay_p50_s" in count else ""
    yield seconds(count["delay_p99_s"]) if "delay_p99_s" in count else ""
