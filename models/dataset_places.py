"""Which positions are of one place: single linkage over a grid, and how far apart places are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

TOLERANCES_M = (0.02, 0.04, 0.08, 0.16, 0.32)
"""Positions that a chain of steps no longer than this connects are one place; which of them, the data say."""
WIDEST_PLACE_M = 1.0
WIDEST_PLACE = 20
"""Of the tolerance. What is wider than this, or than a metre, is a way and no place."""
WAYS_SHARE = 0.25
"""Of the samples. If ways hold more, the samples are not of places."""
JOINED_SHARE = 0.1
"""Of the places. If twice the tolerance joins more of them, it does not tell places apart."""
PAIRS = 1 << 21
"""Pairs of positions that are worked on at a time."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def linked(position_m: Floats, within_m: float) -> Ints:
    """Number of each position's cluster: positions are of one if steps up to the tolerance connect them.

    Exact, and the same for the same positions.

    Args:
        position_m: ``[n, 3]``, m.
        within_m: Longest step, m, above zero.

    Returns:
        ``[n]``, from zero.
    """
    number: Ints = np.arange(len(position_m))
    for finer in (16, 4, 1):  # connects what is dense while few pairs are near
        number = _linked(position_m, within_m / finer, number)
    return number


def _linked(position_m: Floats, within_m: float, number: Ints) -> Ints:
    """Clusters out of those of a smaller tolerance.

    Positions are sorted into cubes whose diagonal is the tolerance, so only pairs in different cubes that are
    not connected yet are compared.
    """
    cell = np.floor((position_m - position_m.min(axis=0)) / (within_m / np.sqrt(3) * (1 - 1e-9)))
    key, strides = _keys(cell)
    order = np.argsort(key, kind="stable")
    keys, first, inverse, count = np.unique(
        key[order], return_index=True, return_inverse=True, return_counts=True
    )
    cubes = _Cubes(position_m[order], first, count, within_m**2)
    alike = np.argsort(number[order], kind="stable")
    same = np.diff(number[order][alike]) == 0
    root = _joined(np.arange(len(keys)), inverse[alike[:-1]][same], inverse[alike[1:]][same])
    steps = [step for step in product(range(-2, 3), repeat=3) if step > (0, 0, 0)]
    for step in sorted(steps, key=lambda one: sum(abs(axis) for axis in one)):
        wanted = keys + np.dot(step, strides)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        one = np.flatnonzero((keys[place] == wanted) & (root[place] != root))
        root = _joined(root, *cubes.near(one, place[one]))
    result = np.empty(len(key), dtype=np.int64)
    result[order] = np.unique(root, return_inverse=True)[1][inverse]
    return result


def _keys(cell: Floats) -> tuple[Ints, Ints]:
    """One number for each cube, and what a step along each axis adds to it; wide gaps are shortened."""
    columns, sizes = [], []
    for axis in cell.T:
        values, inverse = np.unique(axis, return_inverse=True)
        short = np.concatenate([[0], np.cumsum(np.minimum(np.diff(values), 3))]).astype(np.int64)
        columns.append(short[inverse])
        sizes.append(int(short[-1]) + 5)
    strides = np.array([sizes[1] * sizes[2], sizes[2], 1], dtype=np.int64)
    return np.stack(columns, axis=1) @ strides, strides


class _Cubes:
    """Positions sorted by cube.

    Args:
        position_m: Sorted.
        first, count: Where each cube's begin, and how many they are.
        squared_m2: Of the longest step.
    """

    def __init__(self, position_m: Floats, first: Ints, count: Ints, squared_m2: float) -> None:
        self.position_m, self.first, self.count, self.squared_m2 = position_m, first, count, squared_m2

    def near(self, one: Ints, other: Ints) -> tuple[Ints, Ints]:
        """Those of the pairs of cubes in which two positions are within the tolerance."""
        pair, own = _spread(self.first[one], self.count[one])
        theirs = self.count[other][pair]
        near = np.zeros(len(one), dtype=bool)
        for start, end in _portions(theirs):
            asked, found = _spread(self.first[other][pair[start:end]], theirs[start:end])
            apart = self.position_m[own[start:end][asked]] - self.position_m[found]
            near[pair[start:end][asked[(apart**2).sum(axis=1) <= self.squared_m2]]] = True
        return one[near], other[near]


def _spread(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Ranges one after the other: the number of each element's range, and the element."""
    number = np.repeat(np.arange(len(first)), count)
    before = np.cumsum(count) - count
    return number, np.arange(len(number)) - np.repeat(before - first, count)


def _portions(sizes: Ints) -> list[tuple[int, int]]:
    """Bounds of runs whose sizes add up to about ``PAIRS``."""
    reached = np.cumsum(sizes) // PAIRS
    bounds = [0, *(np.flatnonzero(np.diff(reached)) + 1).tolist(), len(sizes)]
    return [(start, end) for start, end in pairwise(bounds) if start < end]


def _joined(root: Ints, one: Ints, other: Ints) -> Ints:
    """Roots after pairs were joined; every root is its own."""
    while (root[one] != root[other]).any():
        low, high = np.minimum(root[one], root[other]), np.maximum(root[one], root[other])
        np.minimum.at(root, high, low)
        while (root[root] != root).any():
            root = root[root]
    return root


def ways(position_m: Floats, number: Ints, within_m: float) -> NDArray[np.bool_]:
    """Which samples ``[n]`` are in clusters that are too wide for a place: those of a UE that moved."""
    size = int(number.max()) + 1
    low, high = np.full((size, 3), np.inf), np.full((size, 3), -np.inf)
    np.minimum.at(low, number, position_m)
    np.maximum.at(high, number, position_m)
    wide = np.linalg.norm(high - low, axis=1) > min(WIDEST_PLACE_M, WIDEST_PLACE * within_m)
    result: NDArray[np.bool_] = wide[number]
    return result


@dataclass(frozen=True)
class Apart:
    """What tells places apart.

    Attributes:
        within_m: Tolerance, m; zero if none is needed.
        places: How many there are; None if no tolerance tells them apart, since the UE moved or places lie as
            close as each one's positions.
        largest_m: The largest tolerance that was tried and makes few ways, m.
    """

    within_m: float
    places: int | None
    largest_m: float


def told_apart(position_m: Floats, first: int) -> Apart:
    """The tolerance at which twice as much would join the smallest share of places, the smallest of those.

    Larger ones are not tried once twice as much joins none, and each place has two samples on average.

    Args:
        position_m: ``[n, 3]``, m.
        first: Places without any tolerance.
    """
    best: tuple[float, float, int] | None = None
    before, count, fit, largest_m = 0.0, first, True, 0.0
    number: Ints = np.arange(len(position_m))
    for within_m in (*TOLERANCES_M, 2 * TOLERANCES_M[-1]):
        number = _linked(position_m, within_m, number) if before else linked(position_m, within_m)
        found = int(number.max()) + 1
        share = (count - found) / count
        if fit:
            largest_m = before
            if share <= JOINED_SHARE and (best is None or share < best[0]):
                best = share, before, count
            if share <= 0 and 2 * count <= len(position_m):
                break
        if found == 1:
            break
        before, count = within_m, found
        fit = float(ways(position_m, number, within_m).mean()) <= WAYS_SHARE
    if best is None:
        return Apart(0.0, None, largest_m)
    return Apart(best[1], best[2], largest_m)


def closest_m(one_m: Floats, other_m: Floats) -> float:
    """Smallest distance between a position of one set ``[n, 3]`` and one of another ``[m, 3]``, m."""
    one, other = np.unique(one_m, axis=0), np.unique(other_m, axis=0)
    axis = int(np.argmax(np.ptp(other, axis=0)))
    one, other = one[np.argsort(one[:, axis])], other[np.argsort(other[:, axis])]
    some = one[:: max(1, len(one) // 100)]
    best = min(float(np.linalg.norm(other - position, axis=1).min()) for position in some)
    low = np.searchsorted(other[:, axis], one[:, axis] - best)
    high = np.searchsorted(other[:, axis], one[:, axis] + best, side="right")
    for start, end in _portions(high - low):
        asked, found = _spread(low[start:end], (high - low)[start:end])
        if len(asked):
            best = min(best, float(np.linalg.norm(one[start:end][asked] - other[found], axis=1).min()))
    return best
