"""What `python -m sim train` does: train a network on traced points, and export it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.channel.benchmark import CHUNK, POOLS, num_chunks
from sim.channel.errors import ChannelError
from sim.channel.pool import chunk_path, munich_heights, read_pool, trace_pool
from sim.channel.traces import traces_cache
from sim.channel.world import radio_of, world_of
from sim.deployment import MUNICH6
from sim.errors import UserError

if TYPE_CHECKING:
    from models.config import TrainingConfig
    from models.parallel import Ranks
    from models.path_table import PathTable
    from models.training import Trainer

Report = Callable[[str], None]

NEEDED = ("torch", "onnx")
EVERY_S = 60.0
"""Time between two lines of progress; the state is kept as often."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a training is run, whatever it trains.

    Attributes:
        resume: Go on from the state that an earlier run left.
        minutes: When to stop at the latest; None: when the schedule ends.
        threads: Of torch; None: as many as it likes.
        chunks: Chunks of a thousand traced points to train on; None: as the configuration says.
        out: Folder for the model; None: among the shipped ones. The state is kept beside it, or in the cache.
        compact: Export weights in a byte each instead of two.
        begin_with: Folder of an exported model whose weights a new training begins with; None: random ones.
    """

    resume: bool = False
    minutes: float | None = None
    threads: int | None = None
    chunks: int | None = None
    out: Path | None = None
    compact: bool = False
    begin_with: Path | None = None


def train(config_file: Path, options: TrainOptions, report: Report = print) -> Path | None:
    """Train what a configuration describes, on the ``munich6`` benchmark, and export it.

    Args:
        config_file: A training configuration (YAML).
        options: How to run it.
        report: Gets lines of progress.

    Returns:
        The folder of the exported model; None if the time was up in stage I, when there is nothing to export.

    Raises:
        UserError: The training stack is missing, or so are traced points that cannot be traced here.
        ConfigError: The configuration, the state or the model to begin with is wrong. An earlier state stays
            where it is then.
    """
    from models.config import read_config

    config = read_config(config_file)
    if options.begin_with is not None and options.resume:
        raise UserError("a training that is resumed has begun already: --from or --resume")
    if config.subcarrier_step is not None:
        raise UserError(f"{config_file}: subcarrier_step is for systems that are compared; a model sees all")
    require_training_stack()
    import torch

    from models.imported import read_weights
    from models.parallel import join, leave

    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder, state = places(config, options)
    weights = None if options.begin_with is None else read_weights(options.begin_with, config)
    ranks = join(device)
    report = report if ranks.first else silence
    if ranks.first:
        points = read_points(config, options.chunks, report)
    ranks.agree(True, device)  # the others wait until all points are traced
    if not ranks.first:
        points = read_points(config, options.chunks, report)
    trainer = make_trainer(config, points, state, options, report, ranks, fresh=not options.resume)
    if weights is not None:
        trainer.begin_with(weights)
        report(f"begun with the weights of {options.begin_with}, {trainer.samples_in_all} samples old")
    if ranks.first:
        set_aside(state, options, report)  # last: whatever is wrong leaves an earlier state where it is
    try:
        with denormals_flushed():
            trainer.train(float("inf") if options.minutes is None else options.minutes, EVERY_S)
    except KeyboardInterrupt:
        report(f"stopped; the state is in {state}: --resume goes on from there")
        raise
    finally:
        leave()
    if not trainer.ended:
        report(f"out of time; the state is in {state}: --resume goes on from there")
    if trainer.stage == "local" or not ranks.first:
        return None
    return export_model(trainer, folder, report, compact=options.compact)


def silence(line: str) -> None:
    """Say nothing: of several processes that train together, the first one speaks."""


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """For a while, numbers too small to be normal count as zero: they are slow, and teach nothing."""
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def require_training_stack() -> None:
    """Raise a UserError that says what to install, if training cannot be imported."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"training needs {' and '.join(missing)}: pip install '.[train]'")


def places(config: TrainingConfig, options: TrainOptions) -> tuple[Path, Path]:
    """Where the model goes, and where the state of its training is kept.

    Raises:
        UserError: The folder holds what is no model: it would be lost. Or nothing can be written there.
    """
    from models.runtime import WEIGHTS

    folder = options.out or WEIGHTS / config.name
    make_room(folder)
    if options.out is None:
        return folder, traces_cache().parent / "training" / f"{config.name}.pt"
    return folder, folder.with_name(folder.name + ".state.pt")


def make_room(folder: Path) -> None:
    """Raise a UserError if the folder cannot be used, or would be lost: it holds what is no model."""
    if folder.name in ("", ".."):
        raise UserError(f"{folder}: a model needs a folder of its own, by name: --out {folder / 'model'}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder.parent).close()  # now, not when hours of work are to be written there
        foreign = [path.name for path in folder.iterdir() if not is_of_model(path)] if folder.exists() else []
    except OSError as error:
        raise UserError(f"{folder}: cannot be used ({error.strerror})") from error
    if foreign:
        raise UserError(f"{folder}: would be replaced, but holds more than a model: {foreign[0]}")


def is_of_model(path: Path) -> bool:
    """Whether a file is one of those that an exported model consists of."""
    return path.name in ("model.json", "estimator.npz", "fusion.onnx") or path.match("encoder-*.onnx")


def set_aside(state: Path, options: TrainOptions, report: Report) -> None:
    """Make room for a new state: hours of work are renamed, not overwritten."""
    if options.resume and not state.is_file():
        report(f"there is no {state} to resume: starting anew")
    elif state.is_file() and not options.resume:
        report(f"starting anew; the state of an earlier training is now {renamed(state)}")


def renamed(state: Path) -> Path:
    """A state out of the way of a new one; gives where it is now."""
    before, number = state.with_suffix(".before.pt"), 1
    while before.exists():
        number += 1
        before = state.with_suffix(f".before-{number}.pt")
    state.replace(before)
    return before


def read_points(config: TrainingConfig, chunks: int | None, report: Report) -> tuple[PathTable, PathTable]:
    """Path tables of the points to train and to validate on, traced now where that was not done before.

    With ``chunks`` those of the pool ``train`` are all.

    Raises:
        ChannelError: They cannot be had; the message says how many are there.
    """
    from models.path_table import concatenate

    wanted = {"train": config.points if chunks is None else chunks * CHUNK}
    if config.shadow_points and chunks is None:
        wanted["train-shadow"] = config.shadow_points
    training = concatenate([points_of(name, points, report) for name, points in wanted.items()])
    validation = points_of("validation", config.validation_points, report)
    report(f"{len(training)} points to train on, {len(validation)} to validate on")
    return training, validation


def points_of(name: str, points: int, report: Report) -> PathTable:
    """The first points of a pool."""
    from models.path_table import PathTableError

    paths = traced(name, points, report)
    try:
        table = read_pool(paths)
    except PathTableError as error:
        raise ChannelError(f"{error}; delete it and trace again") from error
    return table.select(np.arange(min(points, len(table))))


def traced(name: str, points: int, report: Report) -> list[Path]:
    """The files with the first points of a pool."""
    pool, world, cache = POOLS[name], world_of(MUNICH6), traces_cache()
    wanted = -(-points // CHUNK)
    if wanted > num_chunks(pool):
        raise ChannelError(f"the pool '{name}' has {pool.points} points, not {points}")
    there = 0
    while there < wanted and chunk_path(cache, world, pool, there).is_file():
        there += 1
    if there == wanted:
        return [chunk_path(cache, world, pool, chunk) for chunk in range(wanted)]
    try:
        return trace_pool(world, pool, cache, munich_heights(), wanted, report)
    except ChannelError as error:
        done = f"{there * CHUNK} of {wanted * CHUNK} points of the pool '{name}' are traced"
        fewer = f" (or train on those: --chunks {there})" if there and name == "train" else ""
        raise ChannelError(f"{done}, and {error}{fewer}") from error


def make_trainer(
    config: TrainingConfig,
    points: tuple[PathTable, PathTable],
    state: Path,
    options: TrainOptions,
    report: Report,
    ranks: Ranks | None = None,
    *,
    fresh: bool = False,
) -> Trainer:
    """A trainer on the best device there is; without ``ranks`` it trains alone, ``fresh`` it begins anew."""
    import torch

    from models.parallel import ALONE
    from models.training import Site, Trainer

    ranks = ranks or ALONE
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    site = Site(
        MUNICH6.bs_ids,
        [site.position_in_world_m for site in MUNICH6.sites],
        MUNICH6.boresight_in_world_m,
        radio_of(MUNICH6),
        world_of(MUNICH6).key(),
    )
    trainer = Trainer(config, site, *points, state, device, report, ranks, fresh=fresh)
    threads = torch.get_num_threads()
    where = "the GPU" if device == "cuda" else "1 thread" if threads == 1 else f"{threads} threads"
    beside = f" in each of {ranks.size} processes" if ranks.size > 1 else ""
    report(
        f"{config.name}: {trainer.num_parameters} parameters, on {where}{beside}, from sample {trainer.done}"
    )
    return trainer


def export_model(trainer: Trainer, folder: Path, report: Report, *, compact: bool = False) -> Path:
    """Export what a trainer has, with what it reached on the validation points."""
    from models.export import export

    about: dict[str, Any] = {
        "about": trainer.config.about.strip(),
        "validation": trainer.history[-1] if trainer.history else {},
        "world": world_of(MUNICH6).key(),
        "points": len(trainer.samples),
        "config": asdict(trainer.config),
    }
    export(trainer, folder, about, compact=compact)
    report(f"exported to {folder}")
    return folder
