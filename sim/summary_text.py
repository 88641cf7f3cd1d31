"""The summary of a run on the terminal."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

MISSING = "–"
UNLIMITED = 10_000

Cell = Callable[[Mapping[str, Any]], str]

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
    console = console or Console()
    tables = [errors(summary), *frames(summary, console)]
    # What is wider even so is not cut: a terminal wraps it, and a file takes it as it is.
    console.width = max(console.width, *(width_of(table, console) for table in tables))
    console.print(render(summary, tables))


def render(summary: Mapping[str, Any], tables: Iterable[Table]) -> RenderableType:
    """The summary as something `rich` prints."""
    return Group(
        Text(headline(summary), style="bold"),
        *(Text(f"INVALID: {error}", style="bold red") for error in summary.get("errors", [])),
        *tables,
        *(Text(line) for line in closing_lines(summary)),
    )


def width_of(table: Table, console: Console) -> int:
    """How wide a table is that is not squeezed."""
    return Measurement.get(console, console.options.update(max_width=UNLIMITED), table).maximum


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
        table.add_column(title, justify="right", no_wrap=True)
    for name, prefix in (("track", "track_error"), ("fix", "fix_error")):
        table.add_row(name, *(metres(summary.get(f"{prefix}_{key}_m")) for _, key in ERROR_COLUMNS))
    return table


def frames(summary: Mapping[str, Any], console: Console) -> list[Table]:
    """What became of the frames of each BS, and in all; causes of losses apart where there is no room."""
    counts = summary["frames"]
    causes = [(cause.replace("_", " "), partial(_dropped, cause=cause)) for cause in counts["dropped"]]
    whole = _frame_table("frames", counts, [*SENT, *causes, *ARRIVED])
    if not causes or width_of(whole, console) <= console.width:
        return [whole]
    return [
        _frame_table("frames", counts, [*SENT, ("dropped", _all_dropped), *ARRIVED]),
        _frame_table("dropped", counts, causes),
    ]


def closing_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """Fixes, ratios, latency and age, and where the two hashes stand."""
    yield f"fixes {summary['fixes']}, missed {summary['fixes_missed']}"
    yield (
        f"payload {percent(summary.get('payload_ratio'))} of the CSI (η), "
        f"on the wire {percent(summary.get('wire_ratio'))}"
    )
    for title, key in (("latency", "latency"), ("age of information", "age")):
        p50, p99 = (seconds(summary.get(f"{key}_{share}_s")) for share in ("p50", "p99"))
        yield f"{title} p50 {p50}, p99 {p99}"
    yield f"fingerprint {summary.get('fingerprint', MISSING)}"
    yield f"digest      {summary.get('digest', MISSING)}"


def metres(value: float | None) -> str:
    """A length for the eye."""
    return MISSING if value is None else f"{value:.2f} m"


def seconds(value: float | None) -> str:
    """A time for the eye: ms below a second."""
    if value is None:
        return MISSING
    if value < 1:
        return f"{value * 1e3:.1f} ms"
    return f"{value:.4g} s" if value < 1_000 else f"{value:.0f} s"


def percent(value: float | None) -> str:
    """A share for the eye."""
    return MISSING if value is None else f"{100 * value:.2f} %"


def _frame_table(name: str, counts: Mapping[str, Any], columns: Sequence[tuple[str, Cell]]) -> Table:
    """A row for each BS, and one for all."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(name)
    for title, _ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    per_bs = counts.get("per_bs", {})
    for bs, count in per_bs.items():
        table.add_row(bs, *(cell(count) for _, cell in columns))
    total = dict(counts) | {"used": sum(count["used"] for count in per_bs.values())}
    table.add_row("all", *(cell(total) for _, cell in columns), style="bold")
    return table


def _counted(count: Mapping[str, Any], *, key: str) -> str:
    return str(count[key])


def _dropped(count: Mapping[str, Any], *, cause: str) -> str:
    return str(count["dropped"].get(cause, 0))


def _all_dropped(count: Mapping[str, Any]) -> str:
    return str(sum(count["dropped"].values()))


def _delay(count: Mapping[str, Any], *, key: str) -> str:
    return seconds(count[key]) if key in count else ""


SENT = [(key, partial(_counted, key=key)) for key in ("sent", "delivered", "used")]
ARRIVED = [
    ("in flight", partial(_counted, key="in_flight")),
    ("delay p50", partial(_delay, key="delay_p50_s")),
    ("p99", partial(_delay, key="delay_p99_s")),
]
