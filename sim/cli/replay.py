"""`python -m sim replay RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import RunFolderPath


def replay(
    run: RunFolderPath,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY.PATH=VALUE]...", help='Another policy, e.g. cu.deadline="20 ms".'),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write the replay to; none if absent.")] = None,
) -> None:
    """Fuse and track a recorded run again, with another policy of the central unit if asked."""
    from sim.replay import replay as replay_run
    from sim.summary_text import print_summary

    result = replay_run(run, overrides or (), out)
    print_summary(result.summary)
    typer.echo(
        f"fixes and tracks are {'the same as' if result.same_fixes else 'other than'} in the recording"
    )
    if out is not None:
        from sim.report import write_report

        typer.echo(f"report: {write_report(result.path)}")
