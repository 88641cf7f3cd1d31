"""A direction at the head of a message: how a base station writes it into numbers that any quantiser carries.

How fine the quantiser will be is not known when a snapshot is encoded. So each component of a direction is
written thrice, ever finer: u, then where u is within one of twelve cells of its range, then within one of
their twelfths. What arrives is put together from the coarse to the fine. Four bits for each are enough to
tell the cells apart; more bits make the direction finer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.direction_update import DirectionUpdate
from models.intersection import Intersection
from models.length_scales import LengthScales, read_scales, scale_of_length
from models.music import Arrivals, Music, forward_backward, spatial_covariance
from models.quantiser import GAUSSIAN_STEPS

Floats = NDArray[np.float64]

CELLS = 12
"""How much finer each writing is than the one before."""
WRITINGS = 3
LEADING = 2 * WRITINGS + 2
"""Numbers at the head of a message: a direction, how far it is to be trusted, and a mark."""
LEAST_BITS = 4
"""Of a number, for directions to be read."""
LARGEST_TRUST = 8.0
NOT_ZERO = 1e-6
FEATURES = 10


@dataclass(frozen=True, eq=False)
class DirectionNumbers:
    """Directions and numbers, one to the other, for the base stations of a model.

    The last number is always the largest: fewer than four bits cannot say it, and in a message that is too
    short it is missing. So it tells whether there is a direction.

    Attributes:
        reach: What the numbers of each base station reach to, ``[num_bs]``: half of the range that its
            quantiser of four bits covers.
    """

    reach: Floats

    @staticmethod
    def of_steps(steps: Floats, bits: int) -> DirectionNumbers:
        """For quantisers with these steps ``[num_bs]`` at so many bits."""
        coarsest = steps * (GAUSSIAN_STEPS[LEAST_BITS - 1] / GAUSSIAN_STEPS[bits - 1])
        return DirectionNumbers(coarsest * 2 ** (LEAST_BITS - 1))

    def written(self, column: int, k: Floats, trust: Floats) -> NDArray[np.float32]:
        """The numbers ``[n, LEADING]`` of one base station.

        Args:
            column: Which one.
            k: Directions ``(k_y, k_z)``, ``[n, 2]``.
            trust: Log-odds that they are of a line of sight, ``[n]``.
        """
        finer = [_wrapped(k / 2 * CELLS**level) for level in range(1, WRITINGS)]
        level = np.clip(trust / LARGEST_TRUST, -1, 1) / 2
        shares = np.concatenate([k / 2, *finer, level[:, None], np.full((len(k), 1), 0.5)], axis=1)
        numbers = 2 * self.reach[column] * shares
        result: NDArray[np.float32] = np.where(numbers == 0, NOT_ZERO, numbers).astype(np.float32)
        return result

    def read(self, numbers: NDArray[Any]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Directions ``[n, num_bs, 2]``, log-odds ``[n, num_bs]`` and whether they arrived, ``[n, num_bs]``.

        Args:
            numbers: What arrives at the head of messages, ``[n, num_bs, LEADING]``.
        """
        shares = numbers.astype(np.float64) / (2 * self.reach[:, None])
        half = shares[..., :2]
        for level in range(1, WRITINGS):
            finer = shares[..., 2 * level : 2 * level + 2]
            half = half + _wrapped(finer - half * CELLS**level) / CELLS**level
        k = 2 * half
        k = k / np.maximum(np.sqrt(k[..., :1] ** 2 + k[..., 1:] ** 2), 1)
        # The largest of three bits is 3.5 of their steps, 0.38 of the whole range; of four bits 0.47.
        arrived = shares[..., -1] > 0.43
        return k, 2 * LARGEST_TRUST * shares[..., -2], arrived


@dataclass(frozen=True, eq=False)
class Directions:
    """What a model knows of directions: the ``directions`` section of its ``model.json``.

    Attributes:
        numbers: How they are sent.
        music: Finds them.
        update: Takes them into fixes.
        trust_weights: What base stations weigh features of a peak with, ``[FEATURES, kinds]``.
        covariance_scales: What covariances are multiplied with, where one, two, … all are heard.
        short_scales: And besides, where messages are short: numbers of the latent, ascending, and factors.
    """

    numbers: DirectionNumbers
    music: Music
    update: DirectionUpdate
    trust_weights: Floats
    covariance_scales: Floats
    short_scales: LengthScales = ()

    @staticmethod
    def from_json(section: Mapping[str, Any], steps: Sequence[float], bits: int) -> Directions:
        """Out of ``model.json``; raises KeyError, TypeError or ValueError where it is damaged."""
        columns = {
            name: np.asarray(section[name], dtype=np.float64)
            for name in (
                *("site_m", "look_at_m", "low_m", "high_m"),
                *("trust_weights", "share_weights", "covariance_scales"),
            )
        }
        sites, kinds = len(steps), 4
        shapes = ((sites, 3), (3,), (3,), (3,), (FEATURES, kinds), (6, kinds), (sites,))
        for (name, values), shape in zip(columns.items(), shapes, strict=True):
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(f"directions.{name} {list(values.shape)}")
        if not (columns["covariance_scales"] > 0).all():
            raise ValueError("directions.covariance_scales must be positive")
        short = read_scales(section.get("short_scales", ()))
        rows, array_columns = (int(count) for count in section["array"])
        lines = Intersection.looking_at(
            columns["site_m"], columns["look_at_m"], columns["low_m"], columns["high_m"]
        )
        return Directions(
            DirectionNumbers.of_steps(np.asarray(steps, dtype=np.float64), bits),
            Music(rows, array_columns),
            DirectionUpdate(lines, columns["share_weights"]),
            columns["trust_weights"],
            columns["covariance_scales"],
            short,
        )

    def of_pilots(self, column: int, pilots: NDArray[Any], noise_variance: float) -> NDArray[np.float32]:
        """Numbers ``[n, LEADING]`` of what one base station heard; NaN where that is not finite.

        Args:
            column: Which one.
            pilots: Of unit modulus when sent, ``[n, num_slots, num_ant, num_sc]``.
            noise_variance: Of one resource element, in the units of ``|pilots|^2``.
        """
        finite = np.asarray(np.isfinite(pilots).reshape(len(pilots), -1).all(axis=1))
        heard = pilots if finite.all() else np.where(finite[:, None, None, None], pilots, 0)
        arrivals, features = peaks(self.music, heard, noise_variance)
        numbers = self.numbers.written(
            column,
            np.stack([arrivals.k_y, arrivals.k_z], axis=-1),
            trust(features, self.trust_weights),
        )
        numbers[~finite] = np.nan
        return numbers

    def fix(
        self,
        position_m: Floats,
        covariance_m2: Floats,
        numbers: NDArray[Any],
        heard: NDArray[np.bool_],
        network_scale: Floats,
        lengths: Floats,
    ) -> tuple[Floats, Floats]:
        """Fixes of the network, sharper by the directions that arrived.

        Args:
            position_m: ``[n, 3]``, m.
            covariance_m2: ``[n, 3, 3]``, m^2, not scaled.
            numbers: At the head of messages, ``[n, num_bs, LEADING]``.
            heard: ``[n, num_bs]``.
            network_scale: Makes the network's covariances honest, ``[n]``.
            lengths: Numbers of the latent that arrived of each base station heard, on average, ``[n]``.
        """
        k, log_odds, arrived = self.numbers.read(np.where(heard[..., None], numbers, 0))
        arrived = arrived & heard
        scaled = covariance_m2 * network_scale[:, None, None]
        fix_m, spread = self.update.fix(position_m, scaled, k, log_odds, arrived)
        scale = self.covariance_scales[np.maximum(heard.sum(axis=1), 1) - 1]
        if self.short_scales:
            scale = scale * scale_of_length(self.short_scales, lengths)
        any_arrived = np.asarray(arrived.any(axis=1))
        return (
            np.where(any_arrived[:, None], fix_m, position_m),
            np.where(any_arrived[:, None, None], spread * scale[:, None, None], scaled),
        )


def peaks(music: Music, pilots: NDArray[Any], noise_variance: float) -> tuple[Arrivals, Floats]:
    """The strongest peaks ``[n]`` and what tells lines of sight from others, ``[n, FEATURES]``.

    How loud the peak is, how much of all that is heard it explains, how loud the second and third eigenvalue
    of the covariance are, and how sharp the peak is: among reflections there is more than one plane wave.
    Numbers do not depend on what else is in the batch: each link has matrices of its own.
    """
    snapshots = pilots.shape[-3] * pilots.shape[-1]
    covariance = forward_backward(spatial_covariance(pilots[:, None]))
    values, vectors = np.linalg.eigh(covariance)
    found = music.strongest(covariance, snapshots, noise_variance, (values, vectors))
    arrivals = Arrivals(
        *(values[:, 0] for values in (found.k_y, found.k_z, found.sigma_y, found.sigma_z, found.snr))
    )
    loud = values[:, 0] / noise_variance
    share = arrivals.snr / np.maximum(loud.mean(axis=-1), 1e-6)
    level_db = 10 * np.log10(arrivals.snr)
    first, second, third = (np.log(np.maximum(loud[:, -1 - at], 0) + 1e-3) for at in range(3))
    features = [
        np.ones_like(level_db),
        level_db,
        level_db**2 / 30,
        np.maximum(level_db - 25, 0),
        np.log(np.clip(1 - share, 1e-4, 1)),
        second - first,
        third - first,
        np.log(arrivals.sigma_y * arrivals.sigma_z * arrivals.snr),
        second,
        np.log(np.maximum(share, 1e-3)),
    ]
    return arrivals, np.stack(features, axis=-1)


def trust(features: Floats, weights: Floats) -> Floats:
    """Log-odds ``[n]`` that a direction says where the UE is; one among reflections counts in part."""
    level = (features[..., None] * weights).sum(axis=-2)
    share = np.exp(level - level.max(axis=-1, keepdims=True))
    share = share / share.sum(axis=-1, keepdims=True)
    believed = share[..., 0] + 0.3 * share[..., 1]
    result: Floats = np.log((believed + 1e-4) / (share[..., 2] + share[..., 3] + 1e-4))
    return result


def _wrapped(value: Floats) -> Floats:
    """To -1/2 … 1/2, by whole numbers."""
    result: Floats = value - np.round(value)
    return result
