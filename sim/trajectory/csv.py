"""A trajectory from a CSV file with columns ``t, x, y, z`` in seconds and metres."""

from __future__ import annotations

import csv
import math
from pathlib import Path

COLUMNS = ("t", "x", "y", "z")


class CsvError(ValueError):
    """The file is no trajectory; the message names the file and the line."""


def read_csv(file: Path) -> list[tuple[float, float, float, float]]:
    """Rows of ``t, x, y, z`` in s and m; a heading line is optional.

    Raises:
        CsvError: The file is missing, or a line is not four finite numbers with increasing times.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise CsvError(f"no such file: {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CsvError(f"cannot read {file}: {error}") from error
    rows: list[tuple[float, float, float, float]] = []
    for number, cells in enumerate(csv.reader(text.splitlines()), start=1):
        if not cells or (number == 1 and is_heading(cells)):
            continue
        rows.append(read_row(f"{file}:{number}", cells))
        if len(rows) > 1 and rows[-1][0] <= rows[-2][0]:
            raise CsvError(f"{file}:{number}: time {rows[-1][0]:g} s is not after {rows[-2][0]:g} s")
    if not rows:
        raise CsvError(f"{file}: no points in it")
    return rows


def is_heading(cells: list[str]) -> bool:
    """Whether a first line names the columns, with or without units (``t_s``, ``x_m``)."""
    names = tuple(cell.strip().lower().split("_")[0] for cell in cells)
    return names == COLUMNS


def read_row(place: str, cells: list[str]) -> tuple[float, float, float, float]:
    """Four finite numbers; raises CsvError."""
    try:
        t, x, y, z = (float(cell) for cell in cells)
    except ValueError as error:
        raise CsvError(f"{place}: expected four numbers t, x, y, z") from error
    if not all(math.isfinite(value) for value in (t, x, y, z)):
        raise CsvError(f"{place}: numbers must be finite")
    return t, x, y, z
