"""`python -m sim evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli.options import Address, Engine, SideBySide

if TYPE_CHECKING:
    from sim.channel.held_out import HeldOut
    from sim.evaluate import Estimates
    from sim.missing import Missing
    from sim.systems import System


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Shipped model, or the folder of one; may be repeated.", show_default="all shipped"
        ),
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            help="System by name: a shipped model or one compared with it, or all; may be repeated.",
            show_default="those of --model",
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
    dims: Annotated[
        list[int] | None,
        typer.Option(help="Numbers in one message; may be repeated.", show_default="the model's own"),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            help="Base stations that are not heard: bs3, 1 (each in turn) or 3 (any); may be repeated.",
            show_default="0",
        ),
    ] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="At most so many snapshots of each split.", show_default="all")
    ] = None,
    clock: Annotated[str, typer.Option(help="ue_unknown or synchronised.")] = "ue_unknown",
    seed: Annotated[int, typer.Option(help="Of velocities, clock errors, noise and bootstrap.")] = 1,
    dataset: Annotated[
        Path | None,
        typer.Option(help="Judge on a data set of your own (HDF5) instead.", show_default="none"),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="With --dataset: all of another file than that of the training.")
    ] = False,
    engine: Engine = "pool",
    address: Address = None,
    jobs: SideBySide = None,
    json: Annotated[Path | None, typer.Option(help="File for all figures.", show_default="none")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures (SVG).", show_default="none")
    ] = None,
) -> None:
    """Judge shipped models where they were never trained: errors, honesty and bits, split by split."""
    from sim.channel.held_out import SPLITS
    from sim.deployment import MUNICH6
    from sim.engine import check_engine, opener
    from sim.errors import UserError
    from sim.evaluate import NONE, write_json
    from sim.evaluate import evaluate as evaluate_systems
    from sim.missing import missing_of
    from sim.pictures import Kept, write_pictures
    from sim.systems import embedding_systems, histories, shipped_models, systems_named

    check_engine(engine, address)
    if json is not None and (json.is_dir() or not json.parent.is_dir()):
        raise UserError(f"--json {json}: {'is a folder' if json.is_dir() else 'its folder is not there'}")
    if pictures is not None and pictures.is_file():
        raise UserError(f"--pictures {pictures}: is a file, not a folder")
    if dataset is not None:
        from sim.dataset_evaluate import evaluate_on_dataset, print_dataset_rows

        if not model or len(model) > 1:
            raise UserError("--dataset needs exactly one --model FOLDER")
        _only_for_shipped_points(
            {
                "--system": bool(system),
                "--split": bool(split),
                "--bits": bool(bits),
                "--dims": bool(dims),
                "--missing": bool(missing),
                "--points": points is not None,
                "--clock": clock != "ue_unknown",
                "--engine": engine != "pool",
                "--jobs": jobs is not None,
                "--pictures": pictures is not None,
            }
        )
        judged = evaluate_on_dataset(dataset, Path(model[0]), whole=whole, seed=seed, report=typer.echo)
        print_dataset_rows(judged)
        if json is not None:
            write_json(judged, json)
            typer.echo(f"figures: {json}")
        return
    if whole:
        raise UserError("--whole is for --dataset")
    for name in split or ():
        if name not in SPLITS:
            raise UserError(f"unknown split '{name}'; one of {', '.join(SPLITS)}")
    if clock not in ("ue_unknown", "synchronised"):
        raise UserError(f"unknown clock '{clock}'; one of ue_unknown, synchronised")

    from sim.cli.progress import progress_of_run
    from sim.evaluate_text import print_rows
    from sim.scenario.scenario import Clock

    cases = [missing_of(word, MUNICH6.bs_ids) for word in missing or ("0",)]
    if pictures is not None and NONE not in cases:
        raise UserError("--pictures needs a case with nobody missing: --missing 0")
    models = model or (() if system else shipped_models())
    systems = [
        *embedding_systems(models, bits or (), dims or ()),
        *systems_named(system or (), bits or (), dims or ()),
    ]
    splits = [name for name in SPLITS if name in (split or SPLITS)]
    kept: list[Kept] = []

    def seen(system: System, snapshots: HeldOut, case: Missing, estimates: Estimates) -> None:
        if pictures is not None and snapshots.split == splits[0] and case == NONE:
            kept.append(Kept(system.name, snapshots, estimates))

    with progress_of_run("evaluating", 1_000) as progress:
        rows = evaluate_systems(
            systems,
            splits,
            missing=cases,
            points=points,
            seed=seed,
            clock=Clock.model_validate(clock),
            progress=progress,
            seen=seen,
            open_engine=opener(engine, address, jobs),
        )
    print_rows(rows)
    if json is not None:
        write_json(rows, json)
        typer.echo(f"figures: {json}")
    if pictures is not None:
        for picture in write_pictures(pictures, rows, kept, histories()):
            typer.echo(f"picture: {picture}")


def _only_for_shipped_points(options: dict[str, bool]) -> None:
    """Raises UserError for options that are given, but do nothing with a data set."""
    from sim.errors import UserError

    given = [name for name, is_given in options.items() if is_given]
    if given:
        raise UserError(f"not for --dataset: {', '.join(given)}")
