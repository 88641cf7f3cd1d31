"""`python -m sim report RUN`."""

from __future__ import annotations

import typer

from sim.cli.options import RunFolderPath


def report(run: RunFolderPath) -> None:
    """Write the report of a run again, also of one that was cut short."""
    from sim.report import write_report

    typer.echo(write_report(run))
