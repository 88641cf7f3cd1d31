"""What `scripts/compare` does: train all systems of the comparison on one budget, and export them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.channel.traces import traces_cache
from sim.channel.world import world_of
from sim.deployment import MUNICH6
from sim.errors import UserError
from sim.train import (
    EVERY_S,
    TrainOptions,
    denormals_flushed,
    make_trainer,
    read_points,
    renamed,
    require_training_stack,
)

if TYPE_CHECKING:
    from models.config import TrainingConfig
    from models.path_table import PathTable
    from models.training import Trainer

Report = Callable[[str], None]
LINES = 8
"""Of a training's history that a shipped page keeps."""
Points = tuple["PathTable", "PathTable"]


def compare(
    configs: Path,
    out: Path,
    options: TrainOptions,
    *,
    only: Sequence[str] = (),
    states: Path | None = None,
    points: Callable[[TrainingConfig], Points] | None = None,
    report: Report = print,
) -> list[Path]:
    """Train what a folder of configurations describes, each after the one it goes on from.

    What is trained to its end already is not trained again; what was interrupted goes on, unless its
    configuration has changed, or that of a trunk it went on from: then it starts anew, and the state is
    renamed. Trunks, which other trainings go on from, lie in ``configs/trunks`` and are not exported.

    Args:
        configs: Folder with ``*.yaml`` and, if there are any, ``trunks/*.yaml``.
        out: Folder for the systems.
        options: Threads, chunks and minutes for each training; the rest is not looked at.
        only: Names of systems; empty: all.
        states: Where states are kept; None: in the user's cache.
        points: Gives the points to train and to validate on; None: those that `sim train` takes.
        report: Gets lines of progress.

    Returns:
        The folders of the systems exported.

    Raises:
        UserError: There is no such system, or points are missing.
        ConfigError: A configuration is wrong.
    """
    systems = read_folder(configs)
    trunks = read_folder(configs / "trunks") if (configs / "trunks").is_dir() else {}
    unknown = sorted(set(only) - systems.keys())
    if unknown:
        raise UserError(f"no system '{unknown[0]}' (there are: {', '.join(systems)})")
    chosen = {name: systems[name] for name in only} if only else systems
    states = states or traces_cache().parent / "training" / "compare"
    return train_all(chosen, {**systems, **trunks}, out, states, options, points=points, report=report)


def train_all(
    systems: Mapping[str, TrainingConfig],
    trunks: Mapping[str, TrainingConfig],
    out: Path,
    states: Path,
    options: TrainOptions,
    *,
    points: Callable[[TrainingConfig], Points] | None = None,
    report: Report = print,
) -> list[Path]:
    """Train systems, each after the trunk that it goes on from, and export them: see :func:`compare`."""
    require_training_stack()
    kept: dict[int, Points] = {}

    def points_of(config: TrainingConfig) -> Points:
        if points is not None:
            return points(config)
        if config.points not in kept:
            kept[config.points] = read_points(config, options.chunks, report)
        return kept[config.points]

    def trained(name: str) -> Trainer:
        config = trunks.get(name) or systems[name]
        state = states / f"{name}.pt"
        if changed := changed_since(state, config, trunks):
            # Going on would not give what the configuration says: rates have fallen for another end, and
            # budgets would differ.
            of = "" if changed == name else f" of {changed}"
            report(
                f"{name}: starting anew; what another configuration{of} has trained is now {renamed(state)}"
            )
        fresh = not state.is_file()
        if fresh and config.after is not None and not trained(config.after).ended:
            raise UserError(f"{name}: out of time before {config.after}, which it goes on from, has ended")
        trainer = make_trainer(config, points_of(config), state, options, report)
        if fresh and config.after is not None:
            trainer.branch(states / f"{config.after}.pt")
        if trainer.ended:
            return trainer
        with denormals_flushed():
            trainer.train(float("inf") if options.minutes is None else options.minutes, EVERY_S)
        return trainer

    folders = []
    for name in systems:
        if is_exported(out / name, systems[name], trunks):
            report(f"{name}: there already")
            continue
        trainer = trained(name)
        if trainer.stage == "local":
            report(f"{name}: out of time in stage I, nothing to export")
            continue
        folders.append(export(trainer, out / name, report))
    return folders


def read_folder(folder: Path) -> dict[str, TrainingConfig]:
    """Configurations of a folder by name; raises UserError if a file and its training differ in name."""
    from models.config import read_config

    found = {}
    for path in sorted(folder.glob("*.yaml")):
        config = read_config(path)
        if config.name != path.stem:
            raise UserError(f"{path}: name is {config.name}, the file's is {path.stem}")
        found[config.name] = config
    if not found:
        raise UserError(f"{folder}: no configurations there")
    return found


def changed_since(state: Path, config: TrainingConfig, trunks: Mapping[str, TrainingConfig]) -> str | None:
    """Which training, a state's own or a trunk it went on from, is configured otherwise than it was then.

    Args:
        state: Of a training; None has changed if it is not there.
        config: Of the training now.
        trunks: Those that trainings go on from, by name.

    Returns:
        The name of the training; None: all are as they were. What is `about` them does not matter.

    Raises:
        ConfigError: The state is damaged.
    """
    from models.config import ConfigError
    from models.training_state import take_state

    changed: list[str | None] = []

    def look(found: dict[str, Any]) -> None:
        trunk = found.get("trunk")
        if differs(json.loads(found["config"]), config):
            changed.append(config.name)
        elif config.after is not None and trunk is None:  # an earlier version: its trunk's state is beside it
            before = state.with_name(f"{config.after}.pt")
            changed.append(changed_since(before, trunks[config.after], trunks))
        else:
            changed.append(changed_trunk(trunk, config, trunks))

    if not state.is_file():
        return None
    take_state(state, "cpu", look, ConfigError)
    return changed[0]


def changed_trunk(
    trunk: Mapping[str, Any] | None, config: TrainingConfig, trunks: Mapping[str, TrainingConfig]
) -> str | None:
    """Which of the trunks that a training went on from is configured otherwise now.

    Args:
        trunk: What the training said of them, :attr:`models.training.Trainer.trunk`; None: nothing.
        config: Of the training now.
        trunks: Trunks now, by name.
    """
    if trunk is None or config.after is None:
        return None
    after = trunks[config.after]
    return after.name if differs(trunk["config"], after) else changed_trunk(trunk["trunk"], after, trunks)


def differs(kept: dict[str, Any], config: TrainingConfig) -> bool:
    """Whether a kept configuration is another; what is `about` it does not matter."""
    from models.config import config_from

    return replace(config_from(kept), about=config.about) != config


def is_exported(folder: Path, config: TrainingConfig, trunks: Mapping[str, TrainingConfig]) -> bool:
    """Whether a system was trained to its end by just this configuration, after just these trunks.

    Of a page that does not say after which trunk, it is taken that it was this one.
    """
    from models.config import config_from

    try:
        page = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if not page["ended"] or config_from(page["config"]) != config:
            return False
        return changed_trunk(page.get("trunk"), config, trunks) is None
    except (OSError, ValueError, KeyError):
        return False


def short_history(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A training's history for a page: at most `LINES` of it, the first and the last too, in millimetres."""
    last, lines = len(history) - 1, min(LINES, len(history))
    kept = [round(last * line / max(lines - 1, 1)) for line in range(lines)]
    return [
        {key: round(value, 3) if isinstance(value, float) else value for key, value in history[at].items()}
        for at in kept
    ]


def export(trainer: Trainer, folder: Path, report: Report) -> Path:
    """Export what a trainer has, with what it reached on the validation points."""
    from models.systems.export import export_system

    about: dict[str, Any] = {
        "about": trainer.config.about.strip(),
        "samples_trained": trainer.seen,
        "seconds": round(trainer.seconds),
        "ended": trainer.ended,
        "world": world_of(MUNICH6).key(),
        "points": len(trainer.samples),
        "trunk": trainer.trunk,
        "history": short_history(trainer.history),
    }
    export_system(trainer, folder, about)
    report(f"exported to {folder}")
    return folder
