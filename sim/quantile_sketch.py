"""Quantiles of any number of times in bounded memory, one per cent fine."""

import math

_GROWTH = 1.01
_SMALLEST_S = 1e-6


class QuantileSketch:
    """Counts times in bins whose width grows with them; negative and tiny ones count as zero."""

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}
        self.count = 0
        self.max_s = 0.0

    def add(self, seconds: float) -> None:
        """Take in a time."""
        number = 0 if seconds <= _SMALLEST_S else 1 + int(math.log(seconds / _SMALLEST_S, _GROWTH))
        self._bins[number] = self._bins.get(number, 0) + 1
        self.count += 1
        self.max_s = max(self.max_s, seconds)

    def quantile(self, probability: float) -> float | None:
        """The time that this share does not exceed, one per cent too long at most; None without any."""
        if not self.count:
            return None
        rank, seen = probability * self.count, 0
        for number in sorted(self._bins):
            seen += self._bins[number]
            if seen >= rank:
                return 0.0 if number == 0 else min(self.max_s, _SMALLEST_S * _GROWTH**number)
        return self.max_s

    def figures(self, prefix: str) -> dict[str, float | None]:
        """Median, 99 % quantile and maximum, in the keys of a summary."""
        return {
            f"{prefix}_p50_s": self.quantile(0.5),
            f"{prefix}_p99_s": self.quantile(0.99),
            f"{prefix}_max_s": self.max_s if self.count else None,
        }
