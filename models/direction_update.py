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
        each = np.arange(len(position_m))
        now = _Hypotheses(
            np.asarray(position_m, dtype=np.float64)[:, None],
            np.asarray(covariance_m2, dtype=np.float64)[:, None],
            np.zeros((len(position_m), 1)),
        )
        for bs in order.T:
            site_m, rotation = self.lines.site_m[bs], self.lines.world_from_array[bs]
            now = now.split(
                site_m, rotation, k[each, bs], share[each, bs], present[each, bs], self.hypotheses
            )
        position, covariance = now.together()
        return self.lines.inside(position), covariance


@dataclass(frozen=True, eq=False)
class _Hypotheses:
    """Gaussians ``[n, hypotheses, ...]`` of positions and the logarithms of their weights."""

    mean: Floats
    covariance: Floats
    weight: Floats

    def split(
        self,
        site_m: Floats,
        rotation: Floats,
        k: Floats,
        share: Floats,
        present: NDArray[np.bool_],
        most: int,
    ) -> _Hypotheses:
        """With one direction of each row, seen from its own site; the likeliest of them.

        Args:
            site_m: ``[n, 3]``.
            rotation: World from array, ``[n, 3, 3]``.
            k: ``[n, 2]``.
            share: Logarithm, ``[n, kinds]``.
            present: Rows in which the direction counts, ``[n]``.
            most: Hypotheses that are kept.
        """
        ahead_k = np.sqrt(np.maximum(1 - k[:, 0] ** 2 - k[:, 1] ** 2, 0))
        ahead = rotation[:, :, 0] * ahead_k[:, None] + _combined(rotation[:, :, 1:], k)
        offset = self.mean - site_m[:, None]
        distance = np.maximum(np.sqrt(_dot(offset, offset)), SHORTEST_M)[..., None]
        turn_y, turn_z = (
            (rotation[:, :, axis] - k[:, axis - 1, None] * ahead)[:, None] / distance for axis in (1, 2)
        )
        missed_y, missed_z = -_dot(turn_y, offset), -_dot(turn_z, offset)
        seen_y, seen_z = _product(self.covariance, turn_y), _product(self.covariance, turn_z)
        var_y, var_yz, var_z = _dot(seen_y, turn_y), _dot(seen_y, turn_z), _dot(seen_z, turn_z)
        noise = (ERRORS**2)[:, None, None]
        y, z = var_y + noise, var_z + noise  # [kinds, n, h]
        determinant = y * z - var_yz**2
        squared = (z * missed_y**2 - 2 * var_yz * missed_y * missed_z + y * missed_z**2) / determinant
        likelihood = share.T[:, :, None] - (squared + np.log(determinant)) / 2
        possible = (_dot(offset, ahead[:, None]) > 0) & present[:, None]
        believed = np.where(possible, self.weight + likelihood[:BELIEVED], -np.inf)
        other = self.weight + np.where(
            present[:, None], np.logaddexp(likelihood[BELIEVED], likelihood[BELIEVED + 1]), 0
        )
        weight = np.concatenate([*believed, other], axis=1)
        best = np.argsort(-weight, axis=1, kind="stable")[:, :most]
        kind, parent = np.divmod(best, self.weight.shape[1])

        def of(values: Floats) -> Floats:
            at = parent.reshape(*parent.shape, *[1] * (values.ndim - 2))
            return np.take_along_axis(values, at, axis=1)

        noise = np.where(kind == 0, ERRORS[0] ** 2, ERRORS[1] ** 2)
        y, z, yz = of(var_y) + noise, of(var_z) + noise, of(var_yz)
        inverse = ((kind < BELIEVED) / (y * z - yz**2))[..., None]
        seen_y, seen_z = of(seen_y), of(seen_z)
        gain_y = (z[..., None] * seen_y - yz[..., None] * seen_z) * inverse
        gain_z = (y[..., None] * seen_z - yz[..., None] * seen_y) * inverse
        mean = of(self.mean) + gain_y * of(missed_y)[..., None] + gain_z * of(missed_z)[..., None]
        covariance = of(self.covariance) - _outer(gain_y, seen_y) - _outer(gain_z, seen_z)
        weight = np.take_along_axis(weight, best, axis=1)
        return _Hypotheses(mean, covariance, weight - weight[:, :1])

    def together(self) -> tuple[Floats, Floats]:
        """Mean and covariance of the mixture of each row."""
        weight = np.exp(self.weight)
        weight = weight / weight.sum(axis=1, keepdims=True)
        mean = (weight[..., None] * self.mean).sum(axis=1)
        apart = self.mean - mean[:, None]
        covariance = (weight[..., None, None] * (self.covariance + _outer(apart, apart))).sum(axis=1)
        return mean, (covariance + covariance.swapaxes(-1, -2)) / 2


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


def _dot(one: Floats, other: Floats) -> Floats:
    result: Floats = one[..., 0] * other[..., 0] + one[..., 1] * other[..., 1] + one[..., 2] * other[..., 2]
    return result


def _product(matrix: Floats, vector: Floats) -> Floats:
    """Of symmetric 3 × 3 matrices with vectors."""
    return np.stack([_dot(matrix[..., row, :], vector) for row in range(3)], axis=-1)


def _combined(columns: Floats, k: Floats) -> Floats:
    result: Floats = columns[:, :, 0] * k[:, 0, None] + columns[:, :, 1] * k[:, 1, None]
    return result


def _outer(one: Floats, other: Floats) -> Floats:
    result: Floats = one[..., :, None] * other[..., None, :]
    return result
