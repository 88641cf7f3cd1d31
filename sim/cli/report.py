"""`python -m sim report RUN` or `STUDY`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run or study.")],
) -> None:
    """Write the report of a run or study again, also of one that was cut short."""
    from sim.study.report import is_study, write_study_report

    if is_study(run):
        typer.echo(write_study_report(run))
        return
    from sim.report import write_report

    typer.echo(write_report(run))
