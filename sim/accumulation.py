"""Errors after each step of the frequency evidence accumulation (32) of the paper's central unit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.channel.held_out import held_out, shipped_pool
from sim.compare import Report, train_all
from sim.errors import UserError
from sim.scenario.scenario import Clock
from sim.train import TrainOptions, make_trainer, read_points
from sim.variants import folders, shortened_comparison

if TYPE_CHECKING:
    from models.training import Trainer

SYSTEM = "ecc-q10"
STEPS = (1, 2, 3, 6, 12, 24)
SEED = 1


def state_file() -> Path:
    """Where the state of the system is kept."""
    return folders()[1] / f"{SYSTEM}.pt"


def train_it(options: TrainOptions, report: Report = print) -> None:
    """Train the system, unless its state is there."""
    if state_file().is_file():
        return
    systems, trunks = shortened_comparison()
    train_all({SYSTEM: systems[SYSTEM]}, trunks, *folders(), options, report=report)


def restored(report: Report = print) -> Trainer:
    """The trained system with all its layers; raises UserError if it was not trained here."""
    if not state_file().is_file():
        raise UserError(f"{state_file()}: no such training; --train makes it")
    config, options = shortened_comparison()[0][SYSTEM], TrainOptions()
    return make_trainer(config, read_points(config, None, report), state_file(), options, report)


def judge_steps(trainer: Trainer, points: int | None = None) -> Iterator[dict[str, Any]]:
    """Rows of errors on the random test split, served points and all, after so many subcarriers each.

    Args:
        trainer: Has the central unit of the paper.
        points: At most so many snapshots.
    """
    snapshots = held_out("random", clock=Clock(kind="ue_unknown"))
    snapshots = snapshots if points is None else snapshots.thinned(points)
    rows = np.array([index for _, index in snapshots.snapshots])
    error_m = errors(trainer, rows)
    config = trainer.config
    for steps in STEPS:
        for subset in ("served", "all"):
            chosen = error_m[snapshots.served if subset == "served" else slice(None), steps - 1]
            yield {
                "system": config.name,
                "kind": config.name,
                "subcarriers": steps,
                "band": "steps",
                "subset": subset,
                "points": len(chosen),
                "payload_bits": config.shape.dims * config.bits,
                "samples_trained": trainer.seen,
                "mean_m": float(chosen.mean()),
                "e50_m": float(np.quantile(chosen, 0.5)),
                "e90_m": float(np.quantile(chosen, 0.9)),
                "interval_m": None,
            }


def errors(trainer: Trainer, rows: Any) -> Any:
    """3D errors of test points after each subcarrier, ``[n, num_sc]``, m."""
    import torch

    from models.layers import SCALE_M

    sampler = trainer.held_out
    sampler.use(shipped_pool("test-random"))
    sampler.reseed(SEED)
    trainer.networks.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), 250):
            csi, truth = sampler.at(torch.as_tensor(rows[start : start + 250]))
            features, side, gain = trainer.inputs(csi)
            latent = trainer.quantised(trainer.encoder(features, side).float())
            out = trainer.fusion(latent, trainer.audible(gain), torch.ones_like(gain, dtype=torch.bool))
            position_m = out["position"].float() * SCALE_M + trainer.centre
            parts.append((position_m - truth[:, None]).norm(dim=-1).numpy())
    return np.concatenate(parts)
