"""A fix made sharper by directions: which of them are a line of sight is weighed, not decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intersection import SHORTEST_M, Intersection
from models.music import Arrivals

Floats = NDArray[np.float64]

ERRORS = np.array([5e-4, 1e-2, 0.12, 0.6])
"""Standard deviations of k_y and k_z, beside that of noise, of four kinds of directions: those of a line of
sight, those of one among reflections, and those of something else."""
BELIEVED = 2
"""So many of these kinds say where the UE is; the others are what a direction else may be."""
SNR_EDGES_DB = np.array([0.0, 10.0, 20.0, 25.0, 30.0, 35.0])
SHARES = np.array(
    [
        [0.006, 0.005, 0.060, 0.929],
        [0.008, 0.015, 0.625, 0.352],
        [0.047, 0.019, 0.537, 0.397],
        [0.131, 0.072, 0.417, 0.380],
        [0.168, 0.133, 0.308, 0.391],
        [0.558, 0.083, 0.268, 0.091],
        [0.561, 0.234, 0.192, 0.013],
    ]
)
"""How many directions of an SNR are of each kind, in 1,000 training points: ``scripts/fit_directions``."""
COVARIANCE_SCALE = 2.3
"""What covariances are multiplied with: makes the normalised squared error 3 on 1,000 validation points."""
FIT_STEPS = 100


@dataclass(frozen=True, eq=False)
class DirectionUpdate:
    """Takes directions into Gaussian fixes, from the loudest to the faintest.

    Each direction splits every hypothesis in as many as there are kinds of directions. Of a kind that says
    where the UE is, the Gaussian gets narrower, as in a Kalman filter. The likelihood of the direction and
    the share of its kind make a hypothesis likelier or less likely, and the likeliest are kept. The fix is
    their mean; its covariance is theirs and what they differ by.

    Attributes:
        lines: Where directions lead.
        hypotheses: So many are kept.
        scale: What covariances are multiplied with.
    """

    lines: Intersection
    hypotheses: int = 32
    scale: float = COVARIANCE_SCALE

    def fix(
        self, position_m: Floats, covariance_m2: Floats, arrivals: Arrivals, present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Sharper fixes ``[n, 3]``, m, and their covariances ``[n, 3, 3]``, m^2.

        Args:
            position_m: What is known without directions, ``[n, 3]``, m.
            covariance_m2: How well, ``[n, 3, 3]``, m^2.
            arrivals: ``[n, num_bs]``.
            present: Which of them count, ``[n, num_bs]``.
        """
        across, ahead = self.lines.across(arrivals)
        variance = np.stack([arrivals.sigma_y, arrivals.sigma_z], axis=-1)[:, :, None] ** 2
        variance = variance + (ERRORS**2)[:, None]  # [n, num_bs, kinds, 2]
        share = np.log(shares(arrivals.snr))
        order = np.argsort(np.where(present, -arrivals.snr, np.inf), axis=1)
        each = np.arange(len(position_m))
        now = _Hypotheses(
            np.array(position_m[:, None], dtype=np.float64),
            np.array(covariance_m2[:, None], dtype=np.float64),
            np.zeros((len(position_m), 1)),
        )
        for bs in order.T:
            split = now.split(
                self.lines.site_m[bs], across[each, bs], ahead[each, bs], variance[each, bs], share[each, bs]
            )
            now = now.widened(split.likeliest(self.hypotheses), present[each, bs])
        position, covariance = now.together()
        return self.lines.inside(position), covariance * self.scale


@dataclass(frozen=True, eq=False)
class _Hypotheses:
    """Gaussians ``[n, hypotheses, ...]`` of positions and the logarithms of their weights."""

    mean: Floats
    covariance: Floats
    weight: Floats

    def split(
        self, site_m: Floats, across: Floats, ahead: Floats, variance: Floats, share: Floats
    ) -> _Hypotheses:
        """With one direction of each row: ``kinds`` hypotheses out of each."""
        offset = self.mean - site_m[:, None]
        distance = np.maximum(np.linalg.norm(offset, axis=-1), SHORTEST_M)
        turn = across[:, None] / distance[..., None, None]  # [n, h, 2, 3]
        missed = -(turn @ offset[..., None])[..., 0]
        seen = turn @ self.covariance
        spread = (seen @ turn.swapaxes(-1, -2))[:, :, None] + _diagonal(variance)[
            :, None
        ]  # [n, h, kinds, 2, 2]
        inverse, determinant = _inverse(spread)
        believed = (np.arange(len(ERRORS)) < BELIEVED)[:, None, None]
        gain = seen.swapaxes(-1, -2)[:, :, None] @ inverse * believed
        mean = self.mean[:, :, None] + (gain @ missed[:, :, None, :, None])[..., 0]
        covariance = self.covariance[:, :, None] - gain @ seen[:, :, None]
        squared = (missed[:, :, None, None, :] @ inverse @ missed[:, :, None, :, None])[..., 0, 0]
        weight = self.weight[:, :, None] + share[:, None] - (squared + np.log(determinant)) / 2
        forward = ((mean - site_m[:, None, None]) @ ahead[:, None, :, None])[..., 0] > 0
        weight = np.where(forward | ~believed[:, 0, 0], weight, -np.inf)
        rows = len(mean)
        return _Hypotheses(
            mean.reshape(rows, -1, 3), covariance.reshape(rows, -1, 3, 3), weight.reshape(rows, -1)
        )

    def likeliest(self, count: int) -> _Hypotheses:
        """The most likely of each row, weights relative to the best."""
        best = np.argsort(-self.weight, axis=1)[:, :count]
        weight = np.take_along_axis(self.weight, best, axis=1)
        return _Hypotheses(
            np.take_along_axis(self.mean, best[..., None], axis=1),
            np.take_along_axis(self.covariance, best[..., None, None], axis=1),
            weight - weight[:, :1],
        )

    def widened(self, other: _Hypotheses, taken: NDArray[np.bool_]) -> _Hypotheses:
        """The other ones in rows that are taken; these, with others of no weight, where they are not."""
        fill = other.weight.shape[1] - self.weight.shape[1]
        rows = len(taken)
        mean = np.concatenate([self.mean, np.zeros((rows, fill, 3))], axis=1)
        covariance = np.concatenate([self.covariance, np.broadcast_to(np.eye(3), (rows, fill, 3, 3))], axis=1)
        weight = np.concatenate([self.weight, np.full((rows, fill), -np.inf)], axis=1)
        return _Hypotheses(
            np.where(taken[:, None, None], other.mean, mean),
            np.where(taken[:, None, None, None], other.covariance, covariance),
            np.where(taken[:, None], other.weight, weight),
        )

    def together(self) -> tuple[Floats, Floats]:
        """Mean and covariance of the mixture of each row."""
        weight = np.exp(self.weight - self.weight.max(axis=1, keepdims=True))
        weight = weight / weight.sum(axis=1, keepdims=True)
        mean = (weight[..., None] * self.mean).sum(axis=1)
        apart = self.mean - mean[:, None]
        each = self.covariance + apart[..., :, None] * apart[..., None, :]
        covariance = (weight[..., None, None] * each).sum(axis=1)
        return mean, (covariance + covariance.swapaxes(-1, -2)) / 2


def shares(snr: Floats) -> Floats:
    """How likely a direction of an SNR is of each kind, ``[...]`` to ``[..., kinds]``."""
    result: Floats = SHARES[np.digitize(10 * np.log10(snr), SNR_EDGES_DB)]
    return result


def fit_shares(arrivals: Arrivals, error: Floats) -> Floats:
    """The table of :data:`SHARES` that makes errors likeliest: expectation maximisation.

    Args:
        arrivals: ``[...]``.
        error: Of k_y and k_z, found minus true, ``[..., 2]``.
    """
    level = np.digitize(10 * np.log10(arrivals.snr).reshape(-1), SNR_EDGES_DB)
    noise = np.stack([arrivals.sigma_y, arrivals.sigma_z], axis=-1).reshape(-1, 1, 2) ** 2
    variance = noise + (ERRORS**2)[:, None]
    squared = error.reshape(-1, 1, 2) ** 2
    likelihood = np.exp(-(squared / variance + np.log(variance)).sum(axis=-1) / 2) + 1e-300
    table = np.full((len(SNR_EDGES_DB) + 1, len(ERRORS)), 1 / len(ERRORS))
    for _ in range(FIT_STEPS):
        of_kind = likelihood * table[level]
        of_kind = of_kind / of_kind.sum(axis=1, keepdims=True)
        for row in range(len(table)):
            table[row] = of_kind[level == row].sum(axis=0) + 1.0
        table = table / table.sum(axis=1, keepdims=True)
    return table


def _diagonal(values: Floats) -> Floats:
    return values[..., None] * np.eye(values.shape[-1])


def _inverse(matrix: Floats) -> tuple[Floats, Floats]:
    """Inverse and determinant of 2 × 2 matrices: many small ones are slow in LAPACK."""
    (a, b), (c, d) = np.moveaxis(matrix, (-2, -1), (0, 1))
    determinant = a * d - b * c
    inverse = np.stack([np.stack([d, -b], axis=-1), np.stack([-c, a], axis=-1)], axis=-2)
    return inverse / determinant[..., None, None], determinant
