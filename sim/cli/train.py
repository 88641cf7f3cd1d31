"""`python -m sim train CONFIG`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Training configuration (YAML).")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so many minutes.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")] = None,
    chunks: Annotated[
        int | None, typer.Option(min=1, help="Train on so many thousand traced points instead.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the model.", show_default="models/weights/NAME")
    ] = None,
) -> None:
    """Train the networks on the munich6 benchmark, and export what base stations and central unit run.

    Points that are not traced yet are traced first, if the ray tracer runs here. Ctrl-C keeps the state.
    """
    from sim.train import TrainOptions, train

    train(config, TrainOptions(resume, minutes, threads, chunks, out), typer.echo)
