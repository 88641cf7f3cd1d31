"""`python -m sim run SCENARIO`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import Overrides, ScenarioFile


def run(
    scenario: ScenarioFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write the run to.", show_default="runs/<scenario>")
    ] = None,
) -> None:
    """Run a scenario; print its summary and write its records and report to a folder."""
    from sim.scenario import load_scenario

    loaded = load_scenario(scenario, overrides or ())
    from sim.api import run as run_scenario
    from sim.summary_text import print_summary

    result = run_scenario(loaded, out=out or Path("runs") / loaded.name)
    print_summary(result.summary)
