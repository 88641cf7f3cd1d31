"""`python -m sim evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Shipped model, or the folder of one; may be repeated.", show_default="all shipped"
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="random, blocked or trajectory; may be repeated.", show_default="all"),
    ] = None,
    bits: Annotated[
        list[int] | None,
        typer.Option(help="Bits per number; may be repeated.", show_default="the model's own"),
    ] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="At most so many snapshots of each split.", show_default="all")
    ] = None,
    clock: Annotated[str, typer.Option(help="ue_unknown or synchronised.")] = "ue_unknown",
    seed: Annotated[int, typer.Option(help="Of velocities, clock errors, noise and bootstrap.")] = 1,
    json: Annotated[Path | None, typer.Option(help="File for all figures.", show_default="none")] = None,
) -> None:
    """Judge shipped models where they were never trained: errors, honesty and bits, split by split."""
    from sim.channel.held_out import SPLITS
    from sim.errors import UserError
    from sim.evaluate import evaluate as evaluate_systems
    from sim.evaluate import shipped_models, systems_of, write_json

    for name in split or ():
        if name not in SPLITS:
            raise UserError(f"unknown split '{name}'; one of {', '.join(SPLITS)}")
    if clock not in ("ue_unknown", "synchronised"):
        raise UserError(f"unknown clock '{clock}'; one of ue_unknown, synchronised")

    from sim.cli.progress import progress_of_run
    from sim.evaluate_text import print_rows
    from sim.scenario.scenario import Clock

    systems = systems_of(model or shipped_models(), bits or ())
    splits = [name for name in SPLITS if name in (split or SPLITS)]
    with progress_of_run("evaluating", 1_000) as progress:
        rows = evaluate_systems(
            systems,
            splits,
            points=points,
            seed=seed,
            clock=Clock.model_validate(clock),
            progress=progress,
        )
    print_rows(rows)
    if json is not None:
        write_json(rows, json)
        typer.echo(f"figures: {json}")
