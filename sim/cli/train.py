"""`python -m sim train CONFIG`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="Training configuration (YAML).")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Train on a data set of your own (HDF5) instead.", show_default="none")
    ] = None,
    begin_with: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with the weights of a shipped model, or of the one in a folder.",
            show_default="random weights",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so many minutes.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")] = None,
    chunks: Annotated[
        int | None, typer.Option(min=1, help="Train on so many thousand traced points instead.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the model.", show_default="models/weights/NAME, DATASET-model"),
    ] = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Export weights in a byte each instead of two.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="With --dataset: at most so many times through it.", show_default="by size"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="With --dataset: of split, weights and samples.")] = 1,
) -> None:
    """Train networks on the munich6 benchmark, or on your own data, and export what stations and centre run.

    Points that are not traced yet are traced first, if the ray tracer runs here. Ctrl-C keeps the state.
    """
    from models.runtime import folder_of
    from sim.errors import UserError
    from sim.train import TrainOptions, train

    begun_with = None if begin_with is None else folder_of(begin_with)
    options = TrainOptions(resume, minutes, threads, chunks, out, compact, begun_with)
    if (config is None) == (dataset is None):
        raise UserError("train needs either a CONFIG or --dataset FILE")
    if config is not None:
        if epochs is not None or seed != 1:
            raise UserError("--epochs and --seed are for --dataset; a CONFIG says both itself")
        train(config, options, typer.echo)
    elif dataset is not None:
        if begin_with is not None:
            raise UserError("--from is for the munich6 benchmark, not for --dataset")
        if chunks is not None:
            raise UserError("--chunks is for the munich6 benchmark, not for --dataset")
        if compact:
            raise UserError("--compact is for the munich6 benchmark, not for --dataset")
        from sim.dataset_train import train_on_dataset

        train_on_dataset(dataset, options, epochs=epochs, seed=seed, report=typer.echo)
