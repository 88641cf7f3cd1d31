"""Figures that several pages give are those of docs/results.md, which `scripts/results` writes."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
OLDER_WEIGHTS = re.compile(r"\| [13]\.\d\d M \|")
"""Rows that say how it was with fewer samples."""


def rows(page: str) -> list[str]:
    """Rows of tables with a mean and its interval."""
    lines = (DOCS / page).read_text(encoding="utf-8").replace("**", "").splitlines()
    return [line for line in lines if line.startswith("|") and re.search(r"\d \(\d+\.\d\d–", line)]


def cells(row: str) -> list[str]:
    return [cell.strip(" `") for cell in row.strip("|").split("|")]


def judged() -> dict[str, set[str]]:
    """Everything that the results say of a system, whatever the split and subset."""
    said: dict[str, set[str]] = {}
    for system, *others in map(cells, rows("results.md")):
        said.setdefault(system, set()).update(others, (other.partition(" (")[0] for other in others))
    return said


@pytest.mark.parametrize("page", ["baselines.md", "city-map.md", "comparison.md"])
def test_rows_are_those_of_the_results(page: str) -> None:
    said = judged()
    compared = 0
    for row in rows(page):
        system, *others = cells(row)
        if system not in said or (page == "baselines.md" and OLDER_WEIGHTS.search(row)):
            continue
        figures = {cell for cell in others if re.fullmatch(r"\d+\.\d\d( \(.*\))?|\d+%", cell)}
        assert figures <= said[system], f"{row}: {figures - said[system]} is not in results.md"
        compared += 1
    assert compared >= 8
