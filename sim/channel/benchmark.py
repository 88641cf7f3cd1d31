"""The points of the ``munich6`` benchmark: where it is trained, validated and tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

AREA_LOW_M = (-80.0, -90.0, 0.5)
AREA_HIGH_M = (140.0, 210.0, 30.0)
SQUARE_M = 20.0
BLOCKED_SHARE = 0.06
BENCHMARK_SEED = 20_24
SIGHT_STEP_M = 0.5
SIGHT_END = 0.985
CLEARANCE_M = 0.25
"""No test point lies closer to a training point."""


@dataclass(frozen=True)
class Pool:
    """A named set of random outdoor points.

    Attributes:
        name: Also the purpose of its random stream, so that pools never share draws.
        points: How many; in a pool with ``shadow_after``, how many are looked at.
        blocked: Whether the points lie in the held-out squares (True) or outside of them (False).
        shadow_after: The pool takes those points of the pool ``train``, behind its first so many thousands,
            that lie in the shadow of most sites: one or two see them, by the height map. None: it draws anew.
    """

    name: str
    points: int
    blocked: bool = False
    shadow_after: int | None = None


POOLS = {
    pool.name: pool
    for pool in (
        Pool("train", 80_000),
        Pool("train-shadow", 37_000, shadow_after=43),
        Pool("validation", 3_000),
        Pool("test-random", 3_000),
        Pool("test-blocked", 1_500, blocked=True),
    )
}
SHADOW_SITES = (1, 2)
"""So many sites see a point in shadow. Points that none sees are seldom heard by three, and left out."""
CHUNK = 1_000
"""Points per chunk: the unit of tracing, caching and resuming."""


def _draws(purpose: str, chunk: int = 0) -> np.random.Generator:
    """The benchmark's own streams: fixed for good, whatever a run's seed is."""
    return np.random.Generator(np.random.Philox([BENCHMARK_SEED, *purpose.encode(), chunk]))


def blocked_squares() -> Array:
    """Which squares of 20 m are never trained on, ``[rows, columns]``, from the low corner of the area."""
    columns = int(np.ceil((AREA_HIGH_M[0] - AREA_LOW_M[0]) / SQUARE_M))
    rows = int(np.ceil((AREA_HIGH_M[1] - AREA_LOW_M[1]) / SQUARE_M))
    result: Array = _draws("held-out squares").random((rows, columns)) < BLOCKED_SHARE
    return result


def in_blocked_square(position_m: Array) -> Array:
    """Whether each position ``[n, 3]`` lies in a held-out square."""
    result: Array = blocked_squares().ravel()[square_of(position_m)]
    return result


def square_of(position_m: Array) -> Array:
    """Number of the square that each position ``[n, 3]`` lies in, row after row."""
    rows, columns = blocked_squares().shape
    column = np.clip(((position_m[:, 0] - AREA_LOW_M[0]) // SQUARE_M).astype(int), 0, columns - 1)
    row = np.clip(((position_m[:, 1] - AREA_LOW_M[1]) // SQUARE_M).astype(int), 0, rows - 1)
    result: Array = row * columns + column
    return result


def num_chunks(pool: Pool) -> int:
    """Chunks that a pool has, the last perhaps shorter."""
    return -(-pool.points // CHUNK)


def chunk_positions(
    pool: Pool, chunk: int, height_m: Array, x0_m: float, y0_m: float, step_m: float
) -> Array:
    """Positions of one chunk of a pool that draws its own, ``[CHUNK, 3]``, m; the same on every call.

    The other arguments are the height map of the scene, see :class:`sim.city.HeightMap`.
    """
    draws = _draws(f"points/{pool.name}", chunk)
    found: list[Array] = []
    count = 0
    wanted = min(CHUNK, pool.points - chunk * CHUNK)
    while count < wanted:
        candidates = draws.uniform(AREA_LOW_M, AREA_HIGH_M, (4 * CHUNK, 3))
        fit = outdoor(height_m, x0_m, y0_m, step_m, candidates) & (
            in_blocked_square(candidates) == pool.blocked
        )
        found.append(candidates[fit])
        count += int(fit.sum())
    return np.concatenate(found)[:wanted]


def outdoor(height_m: Array, x0_m: float, y0_m: float, step_m: float, position_m: Array) -> Array:
    """Whether each position ``[n, 3]`` lies above the roof or ground of the nearest node of a height map."""
    column = np.clip(np.rint((position_m[:, 0] - x0_m) / step_m).astype(int), 0, height_m.shape[1] - 1)
    row = np.clip(np.rint((position_m[:, 1] - y0_m) / step_m).astype(int), 0, height_m.shape[0] - 1)
    result: Array = position_m[:, 2] > height_m[row, column]
    return result


def sites_in_sight_by_map(
    height_m: Array, x0_m: float, y0_m: float, step_m: float, position_m: Array, site_m: Array
) -> Array:
    """How many sites ``[L, 3]`` each position ``[n, 3]`` sees over the nodes of a height map, ``[n]``.

    The line is looked at in steps of at most :data:`SIGHT_STEP_M`, but for its end at the site: sites stand
    on roofs. Of the benchmark's points 95 % have as many sites in sight as the ray tracer finds.
    """
    count = np.zeros(len(position_m), dtype=np.int64)
    for site in site_m:
        longest_m = float(np.linalg.norm(site - position_m, axis=1).max(initial=0.0))
        along = np.linspace(0.0, SIGHT_END, 1 + int(np.ceil(longest_m / SIGHT_STEP_M)))[1:]
        on_line = position_m[:, None] + (site - position_m)[:, None] * along[:, None]
        free = outdoor(height_m, x0_m, y0_m, step_m, on_line.reshape(-1, 3))
        count += free.reshape(len(position_m), -1).all(axis=1)
    return count


def clear_of(position_m: Array, other_m: Array, distance_m: float = CLEARANCE_M) -> Array:
    """Whether each position ``[n, 3]`` is farther than ``distance_m`` from all others ``[m, 3]``."""
    by_x = other_m[np.argsort(other_m[:, 0], kind="stable")]
    first = np.searchsorted(by_x[:, 0], position_m[:, 0] - distance_m)
    last = np.searchsorted(by_x[:, 0], position_m[:, 0] + distance_m, side="right")
    return np.array(
        [
            not (((by_x[low:high] - point) ** 2).sum(axis=1) <= distance_m**2).any()
            for point, low, high in zip(position_m, first, last, strict=True)
        ],
        dtype=bool,
    )
