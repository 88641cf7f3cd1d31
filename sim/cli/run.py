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
        Path | None, typer.Option(help="Folder to write to.", show_default="runs/<scenario>-<number>")
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="Each part in its own process, in lock-step.")
    ] = False,
) -> None:
    """Run a scenario; print its summary, and write its records and report to a folder."""
    from sim.scenario import load_scenario

    loaded = load_scenario(scenario, overrides or ())

    from sim.api import InvalidRunError, next_run_folder
    from sim.api import run as run_scenario
    from sim.cli.progress import progress_of_run
    from sim.report import write_report
    from sim.summary_text import print_summary

    folder = out or next_run_folder(loaded)
    try:
        with progress_of_run(loaded.name, loaded.duration_ns) as progress:
            result = run_scenario(loaded, out=folder, processes=processes, progress=progress)
    except InvalidRunError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    print_summary(result.summary)
    typer.echo(f"report: {write_report(result.path)}")
