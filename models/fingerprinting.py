"""What a learned model must beat: the mean of the training places, and weighted nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_FINGERPRINTS = 20_000
"""Of a larger set, every so manieth training sample is kept."""
NEIGHBOURS = (1, 3, 5, 10, 20, 50, 100, 200)
"""To choose from; then twice as many each time, up to an eighth of the samples: places may hold hundreds."""
MOST_SHARE = 1 / 8
KINDS = ("gain", "gain and spectrum")
CHUNK = 200


@dataclass(frozen=True)
class Fingerprints:
    """Weighted nearest neighbours among the training samples.

    Attributes:
        kind: ``gain`` compares the power at each base station, ``gain and spectrum`` also its course over
            subcarriers.
        neighbours: How many are averaged, weighed by the inverse of their distance.
        points: Training samples as points of a space, ``[n, d]``.
        position_m: ``[n, 3]``.
    """

    kind: str
    neighbours: int
    points: Floats
    position_m: Floats

    def locate(self, points: Floats) -> Floats:
        """Positions ``[m, 3]`` of points ``[m, d]``."""
        found = [self._locate(points[start : start + CHUNK]) for start in range(0, len(points), CHUNK)]
        return np.concatenate(found)

    def _locate(self, points: Floats) -> Floats:
        index, distance = nearest(points, self.points, self.neighbours)
        return averaged(index, distance, self.position_m)


def nearest(points: Floats, among: Floats, count: int) -> tuple[NDArray[Any], Floats]:
    """Indices and distances of the nearest, nearest first, ``[m, count]``."""
    squared = (points**2).sum(1)[:, None] + (among**2).sum(1) - 2 * points @ among.T
    count = min(count, len(among))
    index = np.argpartition(squared, count - 1, axis=1)[:, :count]
    chosen = np.take_along_axis(squared, index, axis=1)
    order = np.argsort(chosen, axis=1, kind="stable")
    index = np.take_along_axis(index, order, axis=1)
    return index, np.sqrt(np.maximum(np.take_along_axis(chosen, order, axis=1), 0))


def averaged(index: NDArray[Any], distance: Floats, position_m: Floats) -> Floats:
    """Mean of the neighbours' positions, weighed by the inverse of their distances."""
    weight = 1 / (distance + 1e-6)
    result: Floats = (weight[..., None] * position_m[index]).sum(1) / weight.sum(1, keepdims=True)
    return result


@dataclass(frozen=True)
class FingerprintSpace:
    """How samples become points: levels in dB over the training data's mean, by its spread.

    Attributes:
        gain_mean_db, gain_spread_db, weakest_db: Of each base station over the training data, ``[bs]``;
            one that was not heard counts as the weakest.
        spectrum_mean, spectrum_spread: The same of magnitudes over subcarriers, ``[bs, antenna · band]``.
    """

    gain_mean_db: Floats
    gain_spread_db: Floats
    weakest_db: Floats
    spectrum_mean: Floats
    spectrum_spread: Floats

    @classmethod
    def of(cls, gain_db: Floats, spectrum: Floats, heard: NDArray[np.bool_]) -> FingerprintSpace:
        """From training samples: gains ``[n, bs]``, magnitudes in dB ``[n, bs, k]``, who was heard."""
        count = np.maximum(heard.sum(0), 1)
        mean = (gain_db * heard).sum(0) / count
        spread = np.sqrt((((gain_db - mean) ** 2) * heard).sum(0) / count)
        weakest = np.where(heard, gain_db, np.inf).min(0)
        level = (spectrum * heard[..., None]).sum(0) / count[:, None]
        width = np.sqrt((((spectrum - level) ** 2) * heard[..., None]).sum(0) / count[:, None])
        return cls(
            mean, np.maximum(spread, 1e-3), np.where(np.isfinite(weakest), weakest, 0.0),
            level, np.maximum(width, 1e-3),
        )  # fmt: skip

    def points(self, kind: str, gain_db: Floats, spectrum: Floats, heard: NDArray[np.bool_]) -> Floats:
        """Samples as points ``[n, d]``."""
        gain = (np.where(heard, gain_db, self.weakest_db) - self.gain_mean_db) / self.gain_spread_db
        if kind == "gain":
            return np.asarray(gain, dtype=np.float64)
        relative = (spectrum - self.spectrum_mean) / self.spectrum_spread * heard[..., None]
        flat = (relative / np.sqrt(relative.shape[-1])).reshape(len(gain), -1)
        return np.concatenate([gain, flat], axis=1).astype(np.float64)


def tuned(
    space: FingerprintSpace,
    training: tuple[Floats, Floats, NDArray[np.bool_]],
    validation: tuple[Floats, Floats, NDArray[np.bool_]],
    training_m: Floats,
    validation_m: Floats,
) -> Fingerprints:
    """Fingerprints with the kind and the number of neighbours that do best on the validation groups."""
    step = -(-len(training_m) // MOST_FINGERPRINTS)
    kept_m = training_m[::step]
    counts = counts_for(len(kept_m))
    best: tuple[float, Fingerprints] | None = None
    for kind in KINDS:
        among = space.points(kind, *training)[::step]
        asked = space.points(kind, *validation)
        missed_m = np.zeros(len(counts))
        for start in range(0, len(asked), CHUNK):
            index, distance = nearest(asked[start : start + CHUNK], among, counts[-1])
            for number, count in enumerate(counts):
                position_m = averaged(index[:, :count], distance[:, :count], kept_m)
                apart_m = np.linalg.norm(position_m - validation_m[start : start + CHUNK], axis=1)
                missed_m[number] += apart_m.sum() / len(asked)
        for count, mean_m in zip(counts, missed_m.tolist(), strict=True):
            if best is None or mean_m < best[0]:
                best = mean_m, Fingerprints(kind, min(count, len(kept_m)), among, kept_m)
    assert best is not None
    return best[1]


def counts_for(samples: int) -> tuple[int, ...]:
    """Numbers of neighbours to choose from among so many training samples."""
    counts = list(NEIGHBOURS)
    while 2 * counts[-1] <= MOST_SHARE * samples:
        counts.append(2 * counts[-1])
    return tuple(counts)
