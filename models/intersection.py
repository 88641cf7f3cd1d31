"""Where lines of sight meet: a position from the directions in which base stations hear a UE."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from models.music import Arrivals
from models.synthesis import world_from_array

Floats = NDArray[np.float64]

RANGE_STEPS = 4
"""How often a fix is made anew with the distances out of the last one."""
SHORTEST_M = 5.0
ROBUST_STEPS = 12
ROBUST_RADIUS = 6.0
"""Standard deviations from where on a direction counts less and less."""
MODEL_ERROR = 2e-4
"""Standard deviation of k_y and k_z that no direction falls below; chosen on validation points."""
BACKWARDS = 1e3
"""Standard deviations that a direction misses a point behind the array by."""


@dataclass(frozen=True, eq=False)
class Intersection:
    """Intersects directions of base stations in an area.

    A direction (k_y, k_z) with standard deviations σ_y and σ_z puts a position p at distance r from the site
    s onto a line: ((e_y - k_y k)·(p - s) / (r σ_y))^2, with the array's axes e, and the same in z are small.
    The weighted sum of such squares is least where p solves three linear equations, but for r, which is taken
    from the solution before. Beside the lines stands the area: weakly, as the Gaussian with the moments of
    its box, so that parallel lines have a solution too; and strictly, for no fix is outside.

    Attributes:
        site_m: Where base stations stand, ``[num_bs, 3]``, m.
        world_from_array: Rotations of their arrays, ``[num_bs, 3, 3]``.
        low_m: Corner of the area, ``[3]``, m.
        high_m: The opposite corner.
    """

    site_m: Floats
    world_from_array: Floats
    low_m: Floats
    high_m: Floats

    @staticmethod
    def looking_at(site_m: Floats, look_at_m: Floats, low_m: Floats, high_m: Floats) -> Intersection:
        """Of arrays that all look at one point."""
        rotation = np.stack([world_from_array(site, look_at_m) for site in site_m])
        return Intersection(site_m, rotation, low_m, high_m)

    def plain(self, arrivals: Arrivals, present: NDArray[np.bool_]) -> Floats:
        """Weighted least squares, ``[n, 3]``, m: weights grow as the square of the SNR, and as 1/σ^2.

        Args:
            arrivals: ``[n, num_bs]``.
            present: Which of them count, ``[n, num_bs]``.
        """
        sharpness = np.stack([arrivals.sigma_y, arrivals.sigma_z], axis=-1) ** -2.0
        precision = sharpness * (arrivals.snr * present)[..., None]
        return self.inside(self._solved(_directions(arrivals), precision, RANGE_STEPS))

    def robust(self, arrivals: Arrivals, present: NDArray[np.bool_]) -> Floats:
        """The point that most of the louder directions agree on, ``[n, 3]``, m.

        The sum of ω c^2 log(1 + z^2/c^2) is made small: z says by how many standard deviations a direction is
        missed, c is the radius within which errors are normal, and ω the root of the SNR over that of the
        loudest. The sum has many minima, so every pair of base stations proposes a start, and :meth:`plain`
        another. The best one is kept, and iteratively reweighted least squares go on from there.

        Args:
            arrivals: ``[n, num_bs]``.
            present: Which of them count, ``[n, num_bs]``.
        """
        k = _directions(arrivals)
        sigma = np.stack([arrivals.sigma_y, arrivals.sigma_z], axis=-1)
        precision = 1 / (sigma**2 + MODEL_ERROR**2)
        loud = np.sqrt(arrivals.snr) * present
        loud = loud / np.maximum(loud.max(axis=-1, keepdims=True), 1e-12)
        position = self.plain(arrivals, present)
        least = self._cost(position, k, precision, loud)
        for pair in combinations(range(len(self.site_m)), 2):
            of_pair = np.zeros(len(self.site_m))
            of_pair[list(pair)] = 1
            start = self._solved(k, precision * (of_pair * present)[..., None], RANGE_STEPS)
            cost = self._cost(start, k, precision, loud)
            better = cost < least
            position, least = np.where(better[:, None], start, position), np.where(better, cost, least)
        for _ in range(ROBUST_STEPS):
            weight = loud / (1 + self._squared(position, k, precision) / ROBUST_RADIUS**2)
            position = self._solved(k, precision * weight[..., None], 1, position)
        return self.inside(position)

    def _cost(self, position_m: Floats, k: Floats, precision: Floats, loud: Floats) -> Floats:
        missed = np.log1p(self._squared(position_m, k, precision) / ROBUST_RADIUS**2) * ROBUST_RADIUS**2
        mean, variance = self._moments
        total: Floats = (loud * missed).sum(axis=-1) + ((position_m - mean) ** 2 / variance).sum(axis=-1)
        return total

    def _squared(self, position_m: Floats, k: Floats, precision: Floats) -> Floats:
        """z^2: squared deviations of directions from those to a position, ``[n, num_bs]``."""
        towards = position_m[:, None] - self.site_m
        towards = towards / np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-9)
        expected = np.einsum("lji,nlj->nli", self.world_from_array, towards)
        missed = ((expected[..., 1:] - k) ** 2 * precision).sum(axis=-1)
        squared: Floats = missed + BACKWARDS**2 * (expected[..., 0] < 0)
        return squared

    def _solved(self, k: Floats, precision: Floats, steps: int, position_m: Floats | None = None) -> Floats:
        """Least squares with these weights ``[n, num_bs, 2]``; distances first as to the area's middle."""
        mean, variance = self._moments
        position = np.broadcast_to(mean, (len(k), 3)) if position_m is None else position_m
        across, _ = self._across(k)
        for _ in range(steps):
            distance = np.maximum(np.linalg.norm(position[:, None] - self.site_m, axis=-1), SHORTEST_M)
            weighted = across * (precision / distance[..., None] ** 2)[..., None]
            each = weighted.swapaxes(-1, -2) @ across  # [n, num_bs, 3, 3]
            information = each.sum(axis=1) + np.diag(1 / variance)
            right = (each @ self.site_m[..., None]).sum(axis=1) + (mean / variance)[:, None]
            position = np.linalg.solve(information, right)[..., 0]
        return position

    def across(self, arrivals: Arrivals) -> tuple[Floats, Floats]:
        """What a direction says in the world's axes.

        Args:
            arrivals: ``[n, num_bs]``.

        Returns:
            Derivatives of its k_y and k_z over the position, times the distance, ``[n, num_bs, 2, 3]``; its
            unit vector, ``[n, num_bs, 3]``.
        """
        return self._across(_directions(arrivals))

    def _across(self, k: Floats) -> tuple[Floats, Floats]:
        k_x = np.sqrt(np.maximum(1 - (k**2).sum(axis=-1), 0))
        towards = np.concatenate([k_x[..., None], k], axis=-1)
        across = np.eye(3)[1:] - k[..., None] * towards[..., None, :]  # e - k_e k, for e = y and z
        return (
            np.einsum("lij,nlej->nlei", self.world_from_array, across),
            np.einsum("lij,nlj->nli", self.world_from_array, towards),
        )

    @property
    def _moments(self) -> tuple[Floats, Floats]:
        """Mean and variances of a point somewhere in the area."""
        return (self.low_m + self.high_m) / 2, (self.high_m - self.low_m) ** 2 / 12

    def inside(self, position_m: Floats) -> Floats:
        """The nearest point of the area."""
        inside: Floats = np.clip(position_m, self.low_m, self.high_m)
        return inside


def _directions(arrivals: Arrivals) -> Floats:
    return np.stack([arrivals.k_y, arrivals.k_z], axis=-1)
