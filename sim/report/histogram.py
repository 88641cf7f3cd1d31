"""Counts in logarithmic bins: the distribution of a positive quantity in bounded memory."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS_PER_DECADE = 500


class LogHistogram:
    """Counts values between `low` and `high` in bins 0.5 % wide; values outside go to the first or last bin.

    Args:
        low: smallest value told apart, > 0.
        high: largest value told apart.
    """

    def __init__(self, low: float, high: float) -> None:
        num_bins = round(np.log10(high / low) * BINS_PER_DECADE)
        self.edges: NDArray[np.float64] = np.geomspace(low, high, num_bins + 1)
        self.counts: NDArray[np.int64] = np.zeros(num_bins, dtype=np.int64)

    def add(self, values: ArrayLike) -> None:
        """Count values of any shape; those that are not a number are left out."""
        finite = np.asarray(values, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        bins = np.searchsorted(self.edges, finite, side="right") - 1
        self.counts += np.bincount(np.clip(bins, 0, len(self.counts) - 1), minlength=len(self.counts))

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float:
        """The value that `share` (0 to 1) of all values do not exceed; not a number when there are none."""
        if self.total == 0:
            return float("nan")
        reached = np.searchsorted(np.cumsum(self.counts), share * self.total)
        return float(self.edges[min(int(reached), len(self.counts) - 1) + 1])

    def cumulative(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values and the share (0 to 1) that does not exceed each, only where the share changes."""
        if self.total == 0:
            return np.zeros(0), np.zeros(0)
        used = np.flatnonzero(self.counts)
        shares = np.cumsum(self.counts)[used] / self.total
        return (
            np.concatenate(([self.edges[used[0]]], self.edges[used + 1])),
            np.concatenate(([0.0], shares)),
        )
