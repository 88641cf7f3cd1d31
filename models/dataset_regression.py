"""Kernel regression of positions on gains: what few places teach best, beside the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.dataset_network import PlaceFusion

Floats = NDArray[np.float64]

MOST_POINTS = 1_000
"""Of a larger set, every so manieth training sample is kept."""
FARTHEST_DB = 40.0
"""A base station this much weaker than the loudest counts as silent."""
PLACE_SHARE = 0.02
"""Of the area's extent: a group that is not wider (or than 2 cm) is one place."""
REACHES = (0.4, 0.8, 1.6, 3.2)
"""Squared reach of the kernel for each base station, to choose from."""
NOISES = (0.03, 0.1, 0.3)
"""Variance of noise relative to that of positions, to choose from."""
ALIKE = 0.5
"""Squared reach, in standard deviations, within which places are alike when a gain is missing."""
SHARES = (0.5, 0.75, 0.25, 1.0, 0.0)
"""Shares of the network to choose from; a later one must be better by WORTH than those before it, since the
groups that judge here have already chosen the network."""
WORTH = 0.05


STANDARDS = ("gain_mean", "gain_spread", "loud_mean", "loud_spread")
LEAST, MOST = ("weakest_db", "loud_least"), ("loudest_db", "loud_most")
"""Of each base station over the training samples: means and spreads, and the outermost levels."""


@dataclass(frozen=True)
class Left:
    """How a regression does on groups that are left out of it in turn, in closed form.

    Attributes:
        mean_m: Mean error.
        reach, noise: With which.
    """

    mean_m: float
    reach: float
    noise: float


class GainRegression(nn.Module):
    """Positions from gains alone: kernel ridge regression over the training places.

    A sample is a point: of each base station its gain in dB and its loudness beside the loudest, both
    standardised. In training one that was not heard counts as the weakest that was. Later it may be gone for
    other reasons than that it is far, so it counts as at the training places whose other gains are alike:
    weak where it was weak there. What is beyond all that training saw counts as the outermost that it saw.

    Args:
        points: Training places, K.
        sites: Base stations, L.
    """

    gain_mean: Tensor
    gain_spread: Tensor
    weakest_db: Tensor
    loudest_db: Tensor
    loud_least: Tensor
    loud_most: Tensor
    loud_mean: Tensor
    loud_spread: Tensor
    places: Tensor
    weight_m: Tensor
    centre_m: Tensor
    reach: Tensor

    def __init__(self, points: int, sites: int) -> None:
        super().__init__()
        for name in (*STANDARDS, *LEAST, *MOST):
            start = -math.inf if name in LEAST else math.inf if name in MOST else 1.0
            self.register_buffer(name, torch.full((sites,), start))
        self.register_buffer("places", torch.zeros(points, 2 * sites))
        self.register_buffer("weight_m", torch.zeros(points, 3))
        self.register_buffer("centre_m", torch.zeros(3))
        self.register_buffer("reach", torch.ones(()))

    def filled(self, gain_db: Tensor, heard: Tensor) -> Tensor:
        """Gains ``[B, L]``, dB, none of them outside what training saw; the weakest where not heard (0)."""
        gain = torch.where(heard > 0, gain_db, self.weakest_db)
        return torch.minimum(torch.maximum(gain, self.weakest_db), self.loudest_db)

    def expected(self, gain_db: Tensor, present: Tensor) -> Tensor:
        """As :meth:`filled`, but what is missing is as at the places where what is there is alike."""
        present = present.to(gain_db.dtype)
        gain = self.filled(gain_db, present)
        level = (gain - self.gain_mean) / self.gain_spread
        places = self.places[:, : level.shape[-1]] * math.sqrt(2)
        there = level * present
        squared = (there * level).sum(-1)[:, None] + present @ places.square().T - 2 * there @ places.T
        alike = torch.softmax(-squared / (2 * ALIKE), -1)
        return torch.where(present > 0, gain, alike @ places * self.gain_spread + self.gain_mean)

    def points(self, gain_db: Tensor) -> Tensor:
        """Gains ``[B, L]``, dB, as points ``[B, 2 L]``."""
        level = (gain_db - self.gain_mean) / self.gain_spread
        loud = torch.minimum(torch.maximum(loudness(gain_db), self.loud_least), self.loud_most)
        loud = (loud - self.loud_mean) / self.loud_spread
        return torch.cat([level, loud], -1) * math.sqrt(0.5)

    def forward(self, gain_db: Tensor, present: Tensor) -> Tensor:
        """Positions ``[B, 3]``, m, from gains ``[B, L]``, dB, of links that are there (1) or not (0)."""
        points = self.points(self.expected(gain_db, present))
        lengths = points.square().sum(-1)[:, None] + self.places.square().sum(-1)
        squared = (lengths - 2 * points @ self.places.T).clamp(min=0)
        position: Tensor = torch.exp(-squared / (2 * self.reach)) @ self.weight_m + self.centre_m
        return position


def loudness(gain_db: Tensor) -> Tensor:
    """Amplitudes relative to the loudest base station's, ``[B, L]``."""
    below = gain_db - gain_db.amax(-1, keepdim=True)
    amplitude: Tensor = torch.exp(below.clamp(min=-FARTHEST_DB) * (np.log(10) / 20))
    return amplitude


@torch.no_grad()
def fitted(gain_db: Tensor, heard: Tensor, position_m: Tensor, group: Any) -> tuple[GainRegression, Left]:
    """A regression on training samples, its reach and noise chosen by leaving out group after group.

    Args:
        gain_db: ``[n, L]``.
        heard: ``[n, L]``, bool.
        position_m: ``[n, 3]``.
        group: Name of each sample's group, ``[n]``; of those where one holds one place, the mean is taken.
    """
    device = gain_db.device
    gain, there, place = gain_db.double().cpu(), heard.cpu(), position_m.double().cpu()
    names, number = np.unique(np.asarray(group), return_inverse=True)
    space = GainRegression(0, gain.shape[1]).double()
    infinite = torch.full_like(gain, float("inf"))
    weakest = torch.where(there, gain, infinite).amin(0)
    space.weakest_db = torch.where(torch.isfinite(weakest), weakest, weakest.min())
    filled = torch.where(there, gain, space.weakest_db)
    space.gain_mean, space.gain_spread = filled.mean(0), filled.std(0, correction=0).clamp(min=1e-3)
    space.loudest_db = filled.amax(0)
    loud = loudness(filled)
    space.loud_least, space.loud_most = loud.amin(0), loud.amax(0)
    space.loud_mean, space.loud_spread = loud.mean(0), loud.std(0, correction=0).clamp(min=1e-3)
    points, places = space.points(space.filled(gain, there)).numpy(), place.numpy()
    points, places, number = _thinned(points, places, number, len(names))
    weight, best = _chosen(points, places - places.mean(0), number, gain.shape[1])
    result = GainRegression(len(points), gain.shape[1])
    for name in (*STANDARDS, *LEAST, *MOST):
        setattr(result, name, getattr(space, name).float())
    result.places, result.weight_m = torch.tensor(points).float(), torch.tensor(weight).float()
    result.centre_m, result.reach = torch.tensor(places.mean(0)).float(), torch.tensor(best.reach).float()
    return result.to(device), best


def _thinned(
    points: Floats, places: Floats, number: NDArray[np.int64], groups: int
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Means of groups that are one place each; otherwise every so manieth sample."""
    held = [np.flatnonzero(number == group) for group in range(groups)] if groups <= MOST_POINTS else []
    wide = max(0.02, PLACE_SHARE * float(np.ptp(places, axis=0).max()))
    if held and all(np.ptp(places[rows], axis=0).max() < wide for rows in held):
        means = [np.stack([values[rows].mean(0) for rows in held]) for values in (points, places)]
        return means[0], means[1], np.arange(groups)
    step = -(-len(points) // MOST_POINTS)
    return points[::step], places[::step], number[::step]


def _chosen(points: Floats, target: Floats, number: NDArray[np.int64], sites: int) -> tuple[Floats, Left]:
    """Weights of the points, and with which reach and noise groups that are left out are found best."""
    norm = (points**2).sum(1)
    squared = np.maximum(norm[:, None] + norm - 2 * points @ points.T, 0)
    held = [np.flatnonzero(number == group) for group in np.unique(number)]
    best: tuple[Floats, Left] | None = None
    for per_site, noise in product(REACHES, NOISES):
        reach = per_site * sites
        inverse = np.linalg.inv(np.exp(-squared / (2 * reach)) + noise * np.eye(len(points)))
        weight = inverse @ target
        missed = [np.linalg.solve(inverse[np.ix_(rows, rows)], weight[rows]) for rows in held]
        mean_m = float(np.linalg.norm(np.concatenate(missed), axis=1).mean())
        if best is None or mean_m < best[1].mean_m:
            best = weight, Left(mean_m, reach, noise)
    assert best is not None
    return best


class BlendedFusion(nn.Module):
    """What the network says and what the gains alone say, averaged with fixed shares.

    Args:
        network: Central unit of the network.
        gains: The regression.
        share: Of the network, 0 … 1.
    """

    def __init__(self, network: PlaceFusion, gains: GainRegression, share: float) -> None:
        super().__init__()
        self.network, self.gains, self.share = network, gains, share

    def estimate(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`PlaceFusion.estimate`; where the two disagree, the covariance is larger."""
        position, covariance = self.network.estimate(latent, gain_db, present)
        apart = position - self.gains(gain_db, present)
        spread = self.share * (1 - self.share) * apart[..., :, None] * apart[..., None, :]
        return position - (1 - self.share) * apart, covariance + spread


def best_share(network_m: Floats, gains_m: Floats, truth_m: Floats) -> float:
    """Share of the network in the mean of two estimates ``[n, 3]``: half, unless others do clearly better."""
    found = {
        share: float(np.linalg.norm(share * network_m + (1 - share) * gains_m - truth_m, axis=1).mean())
        for share in SHARES
    }
    best = SHARES[0]
    for share in SHARES[1:]:
        if found[share] < (1 - WORTH) * found[best]:
            best = share
    return best
