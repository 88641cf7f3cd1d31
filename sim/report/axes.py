"""Axes of a figure: where a value lies on them and where their ticks are."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

TIME_STEPS_S = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    43200,
    86400,
)
CLOCK_FROM_S = 120.0
"""Times are written as minutes and seconds when the axis is longer than this."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis from `low` to `high` with labelled ticks."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, values: ArrayLike) -> NDArray[np.float64]:
        """Where values lie: 0 at the low end, 1 at the high end."""
        shares: NDArray[np.float64] = (np.asarray(values, dtype=np.float64) - self.low) / (
            self.high - self.low
        )
        return shares


def linear_axis(
    low: float, high: float, about: int = 5, label: Callable[[float], str] | None = None, whole: bool = False
) -> Axis:
    """An axis from `low` to `high` with `about` ticks at round values, or at integers (`whole`).

    Where the ends do not differ, or are no numbers, it is one unit long.
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = 0.0, 1.0
    if high <= low:
        high = low + 1.0
    step = round_step((high - low) / about)
    if whole:
        step = float(math.ceil(step))
    decimals = len(f"{step:g}".partition(".")[2])
    values = [
        step * index for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
    ticks = tuple((value, label(value) if label else f"{value + 0.0:.{decimals}f}") for value in values)
    return Axis(low, high, ticks)


def time_axis(duration_s: float, about: int = 6) -> Axis:
    """An axis from 0 to the end of a run with ticks at round times."""
    step = next(
        (step for step in TIME_STEPS_S if step * about >= duration_s),
        86400 * np.ceil(duration_s / 86400 / about),
    )
    values = [float(step * index) for index in range(int(duration_s / step + 1e-9) + 1)]
    return Axis(0.0, duration_s, tuple((value, clock(value, duration_s)) for value in values))


def clock(t_s: float, duration_s: float) -> str:
    """A time of a run as text: seconds in a short run, m:ss or h:mm:ss in a long one."""
    if duration_s <= CLOCK_FROM_S:
        return f"{t_s:g}"
    minutes, seconds = divmod(round(t_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if duration_s >= 3600 else f"{minutes}:{seconds:02d}"


def round_step(step: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `step`."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(
        next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= step * (1 - 1e-9))
    )
