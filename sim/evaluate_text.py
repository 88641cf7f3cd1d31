"""The figures of an evaluation on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from sim.summary_text import MISSING

Row = Mapping[str, Any]

ERRORS = ("points", "mean", "95 %", "e90", "H 50", "H 90", "V 50", "V 90")
HONESTY = ("available", "ANEES", "in 95 % H", "in 95 % V")
LEGEND = (
    "Errors in m; H, V: horizontal, vertical, at 50 and 90 %. served: heard by three stations at 0 dB.\n"
    "available: within 1 m horizontally and 3 m vertically. ANEES is 1 if covariances are honest."
)


def print_rows(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print for each system its errors, its honesty, and its errors by base stations in line of sight.

    Where there are several, tables follow in which they stand side by side, one for each split and subset.
    """
    console = console or Console()
    for system, missing in dict.fromkeys((row["system"], row["missing"]) for row in rows):
        own = [row for row in rows if (row["system"], row["missing"]) == (system, missing)]
        console.print(headline(own[0]), style="bold", soft_wrap=True)
        for table in (
            cells_of(own, ERRORS, error_cells),
            cells_of(own, HONESTY, honesty_cells),
            by_sites(own),
        ):
            console.print(table)
        if own[0]["by_missing"]:
            console.print(by_missing(own))
    for split, subset in dict.fromkeys((row["split"], row["subset"]) for row in rows):
        together = [row for row in rows if (row["split"], row["subset"]) == (split, subset)]
        if len(together) > 1:
            console.print(f"side by side: {split}, {subset}, {together[0]['points']:,} points", style="bold")
            console.print(side_by_side(together))
    console.print(LEGEND, style="dim", soft_wrap=True)


def headline(row: Row) -> str:
    """What a system is and costs, in one line."""
    seen = row["samples_trained"]
    trained = "" if seen is None else f", trained on {seen:,} samples"
    return (
        f"{name_of(row)}: {row['payload_bits']:,} bits per base station and snapshot "
        f"({row['payload_ratio']:.2%} of the CSI), {row['wire_bits']:,} on the wire "
        f"({row['wire_ratio']:.2%}){trained}"
    )


def name_of(row: Row) -> str:
    """A system, and who is missing."""
    silent = {"0": "", "1": ", one missing in turn"}.get(row["missing"], f", {row['missing']} missing")
    return f"{row['system']}{silent}"


def side_by_side(rows: Sequence[Row]) -> Table:
    """A table with one line per system and case of missing base stations."""
    table = empty_table("system", "bits", "mean", "95 %", "e90", "available", "ANEES", left=1)
    table.columns[0].no_wrap = False  # where a line is too short for all, names give way, not numbers
    for row in rows:
        around = row["intervals"].get("mean_m")
        table.add_row(
            name_of(row),
            f"{row['payload_bits']:,}",
            metres(row["mean_m"]),
            f"{metres(around[0])}–{metres(around[1])}" if around else MISSING,
            metres(row["e90_m"]),
            share(row["availability"]),
            metres(row["anees"]),
        )
    return table


def cells_of(rows: Sequence[Row], titles: Sequence[str], cells: Any) -> Table:
    """A table with one line per split and subset."""
    table = empty_table("split", "subset", *titles, left=2)
    for row in rows:
        table.add_row(row["split"], row["subset"], *cells(row))
    return table


def empty_table(*titles: str, left: int) -> Table:
    """A table whose first columns are words and whose others are numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
    for number, title in enumerate(titles):
        table.add_column(title, justify="left" if number < left else "right", no_wrap=True)
    return table


def error_cells(row: Row) -> Iterator[str]:
    """Errors of one row as text."""
    around = row["intervals"].get("mean_m")
    yield f"{row['points']:,}"
    yield metres(row["mean_m"])
    yield f"{metres(around[0])}–{metres(around[1])}" if around else MISSING
    for name in ("e90_m", "h50_m", "h90_m", "v50_m", "v90_m"):
        yield metres(row[name])


def honesty_cells(row: Row) -> Iterator[str]:
    """Availability and honesty of one row as text."""
    yield share(row["availability"])
    yield metres(row["anees"])
    yield share(row["coverage_h95"])
    yield share(row["coverage_v95"])


def by_sites(rows: Sequence[Row]) -> Table:
    """Mean error of all points by the number of base stations in line of sight."""
    whole = [row for row in rows if row["subset"] == "all"]
    table = empty_table("sites in sight", *whole[0]["by_sites_in_sight"], left=1)
    for row in whole:
        parts = row["by_sites_in_sight"].values()
        table.add_row(f"{row['split']}, mean", *(metres(part["mean_m"]) for part in parts))
        table.add_row("points", *(f"{part['points']:,}" for part in parts), style="dim")
    return table


def by_missing(rows: Sequence[Row]) -> Table:
    """Mean error and honesty by the base station that is missing."""
    table = empty_table("missing", *rows[0]["by_missing"], left=1)
    for row in rows:
        name = f"{row['split']}, {row['subset']}"
        parts = row["by_missing"].values()
        table.add_row(f"{name}, mean", *(metres(part["mean_m"]) for part in parts))
        table.add_row("ANEES", *(metres(part["anees"]) for part in parts), style="dim")
    return table


def metres(value: float | None) -> str:
    """A number with three digits, at most two of them after the point."""
    if value is None:
        return MISSING
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A share in per cent."""
    return MISSING if value is None else f"{value:.0%}"
