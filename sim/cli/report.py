"""`python -m sim report RUN` or `STUDY`."""

from __future__ import annotations

import typer

from sim.cli.options import RunFolderPath


def report(run: RunFolderPath) -> None:
    """Write the report of a run or study again, also of one that was cut short."""
    from sim.study.report import is_study, write_study_report

    if is_study(run):
        typer.echo(write_study_report(run))
        return
    from sim.report import write_report

    typer.echo(write_report(run))
