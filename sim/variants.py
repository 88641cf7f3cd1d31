"""Systems of the comparison with one thing changed: bits, subcarriers or the seed.

They, and what they are set against, are trained for a thirteenth of the comparison's samples.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.systems.compared import COMPARED, ESTIMATOR
from sim.channel.traces import traces_cache
from sim.compare import Report, read_folder, train_all
from sim.train import TrainOptions

if TYPE_CHECKING:
    from models.config import TrainingConfig

CONFIGS = Path(__file__).resolve().parents[1] / "models" / "configs" / "compare"
SHORTER = 13
"""A variant, and what it is a variant of, sees this part of the samples that the comparison's systems see."""
POINTS = 29_000
"""Traced points that variants are trained on."""
STRATEGIES = ("ecc-q10", "ecc-q10-scratch", "ecc-q10-split")
BITS = (10, 8, 6, 4)
ENDS = (10, 4)
"""The bits that every strategy is trained for."""
BETWEEN = ("ecc-q8", "ecc-q6", "ecc-lossless")
"""Drawn beside them."""
BY_SUBCARRIERS = ("ecc-r-equal",)
SUBCARRIERS = 24
SPREAD = ((3, 8), (6, 4), (12, 2))
"""How many, and how many apart: over the same band."""
NARROW = ((1, 1), (3, 1), (6, 1), (12, 1))
"""The middle of the band alone."""
SEEDED = ("ecc-r-equal",)
SEEDS = (2,)

Configs = dict[str, "TrainingConfig"]


def at_bits(name: str, bits: int) -> str:
    """The name of a strategy at another Q."""
    return name.replace("q10", f"q{bits}")


def with_subcarriers(name: str, count: int, step: int) -> str:
    """The name of a system that sees fewer subcarriers."""
    return f"{name}-{count}x{step}"


def with_seed(name: str, seed: int) -> str:
    """The name of a system that was trained again."""
    return f"{name}-seed-{seed}"


def shortened(config: TrainingConfig) -> TrainingConfig:
    """A training of the comparison with all that lasts so many samples shorter, but for the rise of rates."""
    local, joint = config.local, config.joint
    return replace(
        config,
        points=POINTS,
        local=None if local is None else replace(local, samples=local.samples // SHORTER),
        joint=replace(joint, samples=joint.samples // SHORTER, decay=joint.decay // SHORTER),
        quantise_from=None if config.quantise_from is None else config.quantise_from // SHORTER,
        recalibrate=config.recalibrate // SHORTER,
    )


def shortened_comparison() -> tuple[Configs, Configs]:
    """Systems of the comparison and the trunks they go on from, `shortened`."""
    systems, trunks = read_folder(CONFIGS), read_folder(CONFIGS / "trunks")
    return (
        {name: shortened(config) for name, config in systems.items()},
        {name: shortened(config) for name, config in trunks.items()},
    )


def strategies(systems: Configs) -> Configs:
    """Every training strategy at both ends, and what is drawn beside them."""
    found: Configs = {name: systems[name] for name in BETWEEN}
    for bits in ENDS:
        for name in STRATEGIES:
            other = at_bits(name, bits)
            found[other] = systems.get(other) or replace(systems[name], name=other, bits=bits)
    return found


def by_subcarriers(systems: Configs, names: tuple[str, ...] = BY_SUBCARRIERS) -> Configs:
    """Systems that see all subcarriers, or fewer: over the whole band and in its middle."""
    found: Configs = {}
    for name in names:
        found[name] = systems[name]
        for count, step in (*SPREAD, *NARROW):
            other, config = with_subcarriers(name, count, step), systems[name]
            shape = replace(config.shape, subcarriers=count)
            found[other] = replace(config, name=other, shape=shape, subcarrier_step=step)
    return found


def seeded(configs: Mapping[str, TrainingConfig], seed: int) -> Configs:
    """The same trainings with another seed, each after its own trunk."""
    found: Configs = {}
    for name, config in configs.items():
        after = None if config.after is None else with_seed(config.after, seed)
        other = with_seed(name, seed)
        found[other] = replace(config, name=other, after=after, seed=seed)
    return found


def variants(part: str) -> tuple[Configs, Configs]:
    """Systems of one part, ``strategies``, ``subcarriers`` or ``seeds``, and the trunks they go on from."""
    systems, trunks = shortened_comparison()
    if part == "strategies":
        return strategies(systems), trunks
    if part == "subcarriers":
        return by_subcarriers(systems), trunks
    chosen = {name: systems[name] for name in SEEDED}
    again: Configs = {}
    trunks_again: Configs = {}
    for seed in SEEDS:
        again |= seeded(chosen, seed)
        trunks_again |= seeded(trunks, seed)
    return chosen | again, trunks | trunks_again


def folders() -> tuple[Path, Path]:
    """Where trained variants and their states are kept: in the user's cache."""
    training = traces_cache().parent / "training"
    return training / "variants", training / "variant-states"


def train_variants(part: str, options: TrainOptions, only: str = "", report: Report = print) -> list[Path]:
    """Train all variants of a part that are not there yet; those alone whose names begin with ``only``.

    Raises:
        UserError: Points or the training stack are missing.
    """
    systems, trunks = variants(part)
    out, states = folders()
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(COMPARED / ESTIMATOR, out / ESTIMATOR)  # of the traced world: the same for all
    chosen = {name: config for name, config in systems.items() if name.startswith(only)}
    return train_all(chosen, trunks, out, states, options, report=report)
