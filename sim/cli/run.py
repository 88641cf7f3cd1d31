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
    live: Annotated[bool, typer.Option("--live", help="Show the run in the browser as it goes.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page with --live; 0 takes a free one.")
    ] = 0,
) -> None:
    """Run a scenario; print its summary, and write its records and report to a folder."""
    from sim.scenario import load_scenario

    loaded = load_scenario(scenario, overrides or ())

    from sim.api import InvalidRunError, next_run_folder
    from sim.api import run as run_scenario
    from sim.cli.live import page_of_run
    from sim.cli.progress import progress_of_run
    from sim.report import write_report
    from sim.summary_text import print_summary

    folder = out or next_run_folder(loaded)
    with page_of_run(loaded, port, wanted=live) as watch:
        try:
            with progress_of_run(loaded.name, loaded.duration_ns) as progress:
                result = run_scenario(loaded, out=folder, processes=processes, progress=progress, watch=watch)
        except InvalidRunError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from error
        print_summary(result.summary)
        typer.echo(f"report: {write_report(result.path)}")
