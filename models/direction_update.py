"""A fix made sharper by directions: which of them are a line of sight is weighed, not decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intersection import SHORTEST_M, Intersection

Floats = NDArray[np.float64]

ERRORS = np.array([5e-4, 1e-2, 0.12, 0.6])
"""Standard deviations of k_y and k_z of four kinds of directions: those of a line of sight, those of one
among reflections, and those of something else."""
NOISE = ERRORS**2
BELIEVED = 2
"""So many of these kinds say where the UE is; the others are what a direction else may be."""


@dataclass(frozen=True, eq=False)
class DirectionUpdate:
    """Takes directions into Gaussian fixes, from the one most trusted to the least.

    Each direction splits every hypothesis: by each kind that says where the UE is, the Gaussian gets
    narrower, as in a Kalman filter; by the others, taken together, it stays as it is. The likelihood of the
    direction and the share of its kind make a hypothesis likelier or less likely, and the likeliest are kept.
    The fix is their mean; its covariance is theirs and what they differ by.

    All arithmetic is by element: a row's digits do not depend on the others.

    Attributes:
        lines: Where directions lead.
        share_weights: Of :func:`shares`, ``[6, kinds]``.
        hypotheses: So many are kept.
    """

    lines: Intersection
    share_weights: Floats
    hypotheses: int = 8

    def fix(
        self,
        position_m: Floats,
        covariance_m2: Floats,
        k: Floats,
        log_odds: Floats,
        present: NDArray[np.bool_],
    ) -> tuple[Floats, Floats]:
        """Sharper fixes ``[n, 3]``, m, and their covariances ``[n, 3, 3]``, m^2.

        Args:
            position_m: What is known without directions, ``[n, 3]``, m.
            covariance_m2: How well, ``[n, 3, 3]``, m^2.
            k: Directions ``(k_y, k_z)``, ``[n, num_bs, 2]``.
            log_odds: That they are of a line of sight, as base stations see it, ``[n, num_bs]``.
            present: Which of them count, ``[n, num_bs]``.
        """
        share = np.log(shares(features(log_odds, covariance_m2), self.share_weights))
        order = np.argsort(np.where(present, -log_odds, np.inf), axis=1, kind="stable")
        each = np.arange(len(position_m))[:, None]
        axes, site_m = self._axes(k)[each, order], self.lines.site_m[order]
        share, present = share[each, order], present[each, order]
        now = _Hypotheses.of_one(position_m, covariance_m2, self.hypotheses)
        for turn in range(order.shape[1]):
            if present[:, turn].any():
                now = now.split(axes[:, turn], site_m[:, turn], share[:, turn], present[:, turn])
        position, covariance = now.together()
        return self.lines.inside(position), covariance

    def _axes(self, k: Floats) -> Floats:
        """Of each direction, ``[n, num_bs, 3, 3]``: across in y, across in z, ahead; see `Intersection`."""
        ahead_k = np.sqrt(np.maximum(1 - k[..., 0] ** 2 - k[..., 1] ** 2, 0))
        rotation = self.lines.world_from_array
        ahead = _sum(rotation * np.concatenate([ahead_k[..., None], k], axis=-1)[..., None, :])[..., None, :]
        across = rotation.swapaxes(-1, -2)[:, 1:] - k[..., None] * ahead
        return np.concatenate([across, ahead], axis=-2)


@dataclass(frozen=True, eq=False)
class _Hypotheses:
    """Gaussians ``[n, hypotheses, ...]`` of positions, the likeliest first, and the logarithms of weights."""

    mean: Floats
    covariance: Floats
    weight: Floats

    @staticmethod
    def of_one(mean: Floats, covariance: Floats, most: int) -> _Hypotheses:
        """A Gaussian of each row, and room for more that are impossible yet."""
        weight = np.full((len(mean), most), -np.inf)
        weight[:, 0] = 0
        return _Hypotheses(
            np.broadcast_to(mean[:, None], (len(mean), most, 3)),
            np.broadcast_to(covariance[:, None], (len(mean), most, 3, 3)),
            weight,
        )

    def split(self, axes: Floats, site_m: Floats, share: Floats, present: NDArray[np.bool_]) -> _Hypotheses:
        """With one direction of each row, seen from its own site; the likeliest of them.

        Args:
            axes: Across in y and z and ahead, ``[n, 3, 3]``.
            site_m: ``[n, 3]``.
            share: Logarithm, ``[n, kinds]``.
            present: Rows in which the direction counts, ``[n]``.
        """
        offset = self.mean - site_m[:, None]
        distance = np.maximum(np.sqrt(_sum(offset * offset)), SHORTEST_M)
        turn = axes[:, None, :2] / distance[..., None, None]
        missed = -_sum(turn * offset[:, :, None])  # [n, h, 2]
        seen = _sum(self.covariance[:, :, None] * turn[..., None, :])  # [n, h, 2, 3]
        variance = _sum(seen[..., None, :] * turn[:, :, None])  # [n, h, 2, 2]

        missed_y, missed_z = missed[..., 0], missed[..., 1]
        y, z, yz, determinant = _noisy(variance, NOISE[:, None, None])  # [kinds, n, h]
        squared = (z * missed_y**2 - 2 * yz * missed_y * missed_z + y * missed_z**2) / determinant
        likelihood = share.T[:, :, None] - (squared + np.log(determinant)) / 2
        possible = (_sum(offset * axes[:, None, 2]) > 0) & present[:, None]
        believed = np.where(possible, self.weight + likelihood[:BELIEVED], -np.inf)
        other = np.where(present[:, None], np.logaddexp(likelihood[BELIEVED], likelihood[BELIEVED + 1]), 0)
        weight = np.concatenate([*believed, self.weight + other], axis=1)
        each, most = np.arange(len(weight))[:, None], self.weight.shape[1]
        best = np.argsort(-weight, axis=1, kind="stable")[:, :most]
        kind, parent = np.divmod(best, most)
        weight = weight[each, best]

        mean, covariance = self.mean[each, parent], self.covariance[each, parent]
        seen, missed = seen[each, parent], missed[each, parent][..., None]
        y, z, yz, determinant = _noisy(variance[each, parent], NOISE[kind])
        whose = (kind < BELIEVED) / determinant
        straight = np.stack([z, y], axis=-1) * whose[..., None]
        gain = straight[..., None] * seen - (yz * whose)[..., None, None] * seen[..., ::-1, :]
        moved = gain * missed
        known = gain[..., None] * seen[..., None, :]
        return _Hypotheses(
            mean + moved[..., 0, :] + moved[..., 1, :],
            covariance - known[..., 0, :, :] - known[..., 1, :, :],
            weight - weight[:, :1],
        )

    def together(self) -> tuple[Floats, Floats]:
        """Mean and covariance of the mixture of each row."""
        weight = np.exp(self.weight)
        weight = weight / weight.sum(axis=1, keepdims=True)
        mean = (weight[..., None] * self.mean).sum(axis=1)
        apart = self.mean - mean[:, None]
        spread = self.covariance + apart[..., None] * apart[..., None, :]
        covariance = (weight[..., None, None] * spread).sum(axis=1)
        return mean, (covariance + covariance.swapaxes(-1, -2)) / 2


def _noisy(variance: Floats, noise: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Elements y, z and yz of symmetric 2 × 2 matrices with noise on the diagonal; their determinants."""
    y, z, yz = variance[..., 0, 0] + noise, variance[..., 1, 1] + noise, variance[..., 0, 1]
    return y, z, yz, y * z - yz**2


def features(log_odds: Floats, covariance_m2: Floats) -> Floats:
    """What says of which kind a direction is, ``[n, num_bs, 6]``.

    A network that is uncertain of a position sees no line of sight, whatever one base station thinks.

    Args:
        log_odds: By the base station, ``[n, num_bs]``.
        covariance_m2: Of the network's fix, ``[n, 3, 3]``, m^2.
    """
    variance = covariance_m2[:, 0, 0] + covariance_m2[:, 1, 1] + covariance_m2[:, 2, 2]
    wide = np.broadcast_to(np.log(np.maximum(variance, 1e-6))[:, None] / 2, log_odds.shape)
    odds = log_odds / 3
    return np.stack([np.ones_like(odds), odds, odds**2, wide, wide * odds, wide**2 / 4], axis=-1)


def shares(features: Floats, weights: Floats) -> Floats:
    """How likely a direction is of each kind, ``[..., features]`` to ``[..., kinds]``: a softmax."""
    level = (features[..., None] * weights).sum(axis=-2)
    share = np.exp(np.maximum(level - level.max(axis=-1, keepdims=True), -20))
    result: Floats = share / share.sum(axis=-1, keepdims=True)
    return result


def _sum(terms: Floats) -> Floats:
    """Over the last axis, of three: by element, as everything here."""
    result: Floats = terms[..., 0] + terms[..., 1] + terms[..., 2]
    return result
