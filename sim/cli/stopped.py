"""What a command says that a signal has ended."""

from __future__ import annotations

from pathlib import Path

import typer


def stopped(folder: Path) -> typer.Exit:
    """The end of a command that Ctrl-C or a signal has stopped, once it has said where its folder is."""
    is_there = folder.is_dir() and any(folder.iterdir())
    left = f"what there was by then is in {folder}" if is_there else "nothing was written"
    typer.echo(f"stopped: {left}", err=True)
    return typer.Exit(130)
