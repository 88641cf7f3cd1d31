"""`python -m sim validate FILE...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sim.scenario import Scenario


def validate(files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Scenario files.")]) -> None:
    """Check scenario files: one line for each, and exit code 2 if any is wrong."""
    from sim.scenario import ScenarioError, load_scenario

    wrong = False
    for file in files:
        try:
            typer.echo(f"{file}: {in_short(load_scenario(file))}")
        except ScenarioError as error:
            typer.echo(str(error), err=True)
            wrong = True
    if wrong:
        raise typer.Exit(2)


def in_short(scenario: Scenario) -> str:
    """What a scenario holds, in one line."""
    return ", ".join(
        [
            f"{scenario.duration:g} s",
            counted(len(scenario.ues), "UE"),
            counted(scenario.num_snapshots, "snapshot"),
            counted(len(scenario.bs_ids), "base station"),
            counted(len(scenario.faults), "fault"),
        ]
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun in the right form."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
