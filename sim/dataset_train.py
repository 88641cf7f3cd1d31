"""What `python -m sim train --dataset FILE` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import UserError
from sim.train import EVERY_S, Report, TrainOptions, denormals_flushed, make_room, require_training_stack
from sim.train import set_aside as set_state_aside

if TYPE_CHECKING:
    from models.dataset import Dataset, Split


def train_on_dataset(
    path: Path, options: TrainOptions, *, epochs: int | None = None, seed: int = 1, report: Report = print
) -> Path:
    """Train a network that suits a data set, and export it.

    Args:
        path: The data set (HDF5).
        options: How to run it; without ``out``, the model goes to ``NAME-model`` in the current folder.
        epochs: How often a trial sees every sample; None: as often as suits the set.
        seed: Of the split, the weights and the samples.
        report: Gets lines of progress.

    Returns:
        The folder of the exported model.

    Raises:
        DatasetError: The set cannot be used, or the state is of another.
        UserError: The training stack is missing, the folder holds something else, or `torchrun` started
            several processes.
    """
    require_training_stack()
    import torch

    from models.dataset import read_dataset, split_of
    from models.dataset_export import export_dataset_model
    from models.dataset_training import LARGE, DatasetTrainer, suited_config
    from models.parallel import started

    if started() > 1:
        raise UserError("--dataset trains in one process: call it without torchrun")
    folder = options.out or Path(f"{path.stem}-model")
    make_room(folder)
    state = folder.with_name(folder.name + ".state.pt")
    dataset = read_dataset(path)
    split = split_of(dataset, seed)
    describe(dataset, split, report)
    say_never_heard(dataset, split, report)
    set_state_aside(state, options, report)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = suited_config(dataset, split, epochs, seed)
    if options.threads is not None or len(split.training) <= LARGE:
        torch.set_num_threads(options.threads or 1)  # more than one costs small networks more than it gives
    trainer = DatasetTrainer(config, dataset, split, state, device, report)
    names = ", ".join(variation.name for variation in config.trials)
    report(
        f"{trainer.num_parameters} parameters, {trainer.dataset.num_bs} messages of {config.latent} numbers, "
        f"up to {config.schedule.samples} samples per trial; trials: {names}"
    )
    try:
        with denormals_flushed():
            trainer.train(float("inf") if options.minutes is None else options.minutes, EVERY_S)
    except KeyboardInterrupt:
        report(f"stopped; the state is in {state}: --resume goes on from there")
        raise
    if not trainer.ended:
        report(f"out of time; the state is in {state}: --resume goes on from there")
    export_dataset_model(trainer, folder)
    report(f"trained for {trainer.seconds:.0f} s on {len(trainer.samples)} samples; exported to {folder}")
    return folder


def describe(dataset: Dataset, split: Split, report: Report) -> None:
    """Say what is in a data set, and how it is divided."""
    count, bs, slots, antennas, subcarriers = dataset.csi.shape
    kind = "complex CSI" if dataset.has_phase else "magnitudes"
    report(
        f"{dataset.name}: {count} samples, {bs} base stations, {slots} slots, {antennas} antennas, "
        f"{subcarriers} subcarriers, {kind}; {dataset.heard.mean():.0%} of the links heard"
    )
    if dataset.unheard:
        report(f"{dataset.unheard} samples that no base station heard are left out")
    if dataset.noise_variance is None:
        report("noise_variance is not given: gains are relative, standardised by the training groups")
    parts = [
        f"{part} {len(getattr(split, part))} groups ({len(split.rows(dataset, part))} samples)"
        for part in ("training", "validation", "test")
    ]
    report(
        f"split {split.grouping}, seed {split.seed}: {', '.join(parts)}; test and training at least "
        f"{split.apart_m(dataset):.3g} m apart"
    )


def say_never_heard(dataset: Dataset, split: Split, report: Report) -> None:
    """Say which base stations training samples never heard, if there are any."""
    heard = dataset.heard[split.rows(dataset, "training")].any(axis=0)
    never = [str(number) for number in np.flatnonzero(~heard) + 1]
    if never:
        many = len(never) > 1
        report(
            f"base station{'s' * many} {', '.join(never)}: not heard in training, so absent if heard later"
        )
