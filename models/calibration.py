"""What covariances must be multiplied with to be honest: on validation points, with base stations missing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.quantiser import rescale_step, straight_through
from models.training import Trainer

DRAWS = 4
"""Of the base stations that are missing from a snapshot, where some are."""


@torch.no_grad()
def covariance_scales(trainer: Trainer) -> list[float]:
    """Factors for one, two, … all base stations heard, on the validation points: squared errors as claimed.

    A model that sends messages of several sizes gets the geometric mean of what the finest and the coarsest
    resolution need, for the central unit's network does not know which one it is looking at.

    Args:
        trainer: Holds the networks, their quantiser and the validation points.
    """
    config, sites = trainer.config, trainer.config.shape.num_bs
    latent, gain, truth = _encoded(trainer)
    generator = torch.Generator().manual_seed(config.seed)
    scales = []
    for heard in range(1, sites + 1):
        order = torch.rand(DRAWS if heard < sites else 1, len(truth), sites, generator=generator).argsort(-1)
        present = (order < heard).to(latent.device)
        needed = [
            np.mean([_needed(trainer, arrived, gain, truth, mask) for mask in present])
            for arrived in (_arrived(trainer, latent, bits) for bits in _finest_and_coarsest(trainer))
        ]
        scales.append(float(np.exp(np.mean(np.log(needed)))))
    return scales


@torch.no_grad()
def short_scales(trainer: Trainer) -> list[tuple[int, float]]:
    """Numbers in a message, from the shortest on in octaves, and what covariances need besides there.

    That is with all base stations heard, relative to whole messages, at the finest and at the coarsest
    resolution, the geometric mean of both. Empty for a model whose messages all have the same length.

    Args:
        trainer: Holds the networks, their quantiser and the validation points.
    """
    config = trainer.config
    if not config.short_share:
        return []
    latent, gain, truth = _encoded(trainer)
    everybody = torch.ones_like(gain, dtype=torch.bool)
    lengths = [config.shape.dims]
    while lengths[0] >= 2 * config.shortest_dims:
        lengths.insert(0, lengths[0] // 2)
    exponents = np.zeros(len(lengths))
    sizes = _finest_and_coarsest(trainer)
    for bits in sizes:
        arrived = _arrived(trainer, latent, bits)
        kept = torch.arange(config.shape.dims, device=latent.device).reshape(latent.shape[2:])
        needed = [_needed(trainer, arrived * (kept < length), gain, truth, everybody) for length in lengths]
        exponents += np.log(needed) / len(sizes)
    scales = np.exp(exponents - exponents[-1])
    return [(length, float(scale)) for length, scale in zip(lengths, scales, strict=True)]


def _finest_and_coarsest(trainer: Trainer) -> set[int]:
    """Bits of a number in messages."""
    config = trainer.config
    return {config.bits, min(config.short_bits) if config.short_share else config.bits}


def _encoded(trainer: Trainer) -> tuple[Tensor, Tensor, Tensor]:
    """Latents ``[n, L, N, d_z]``, gains ``[n, L]`` and positions ``[n, 3]`` of the validation points."""
    points = trainer.held_out
    points.reseed(trainer.config.seed + 2)
    trainer.networks.eval()
    parts = []
    for start in range(0, len(points), 250):
        csi, truth = points.at(torch.arange(start, min(start + 250, len(points)), device=trainer.device))
        features, side, gain = trainer.inputs(csi)
        parts.append((trainer.encoder(features, side).float(), trainer.audible(gain), truth))
    latent, gain, truth = (torch.cat(column) for column in zip(*parts, strict=True))
    return latent, gain, truth


def _arrived(trainer: Trainer, latent: Tensor, bits: int) -> Tensor:
    steps = [rescale_step(float(step), trainer.config.bits, bits) for step in trainer.steps]
    arrived: Tensor = straight_through(latent, bits, torch.tensor(steps, device=latent.device)[:, None, None])
    return arrived


def _needed(trainer: Trainer, latent: Tensor, gain: Tensor, truth: Tensor, present: Tensor) -> float:
    """Average of the normalised squared error, per dimension."""
    rows = [slice(start, start + 250) for start in range(0, len(latent), 250)]
    found = [trainer.fusion.estimate(latent[part], gain[part], present[part]) for part in rows]
    error: NDArray[np.float64] = (
        (truth - torch.cat([position for position, _ in found])).double().cpu().numpy()
    )
    claimed = torch.cat([covariance for _, covariance in found]).double().cpu().numpy()
    return float(np.einsum("ni,nij,nj->n", error, np.linalg.inv(claimed), error).mean() / 3)
