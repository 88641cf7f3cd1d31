"""The outline of a city's buildings from its height map, as SVG paths."""

import numpy as np
from numpy.typing import NDArray

from sim.city import HeightMap
from sim.report.plan import Box
from sim.report.svg import line_path

ATTRIBUTION = "map data © OpenStreetMap contributors"
DRAWN_FROM_M = (2.0, 14.0, 24.0)
"""Heights from which a building is drawn one shade stronger."""
TOLERANCE_STEPS = 0.75
"""How far a drawn wall may be from the map's, in steps of the map."""


def outlines(city: HeightMap, box: Box) -> list[str]:
    """A path around all that is higher, for each of `DRAWN_FROM_M`; the even-odd rule fills it."""
    part = _cut(city, box)
    return [_outline(part, box, above_m) for above_m in DRAWN_FROM_M]


def _outline(city: HeightMap, box: Box, above_m: float) -> str:
    rings = [_simplified(ring, TOLERANCE_STEPS) for ring in _rings(city.height_m > above_m)]
    return "".join(
        line_path(box.x(city.x0_m + city.step_m * ring[:, 0]), box.y(city.y0_m + city.step_m * ring[:, 1]))
        + "z"
        for ring in rings
        if len(ring) > 2
    )


def _cut(city: HeightMap, box: Box) -> HeightMap:
    """The part of a height map inside a square of the world, and one step around it."""
    x_m = city.x0_m + city.step_m * np.arange(city.height_m.shape[1])
    y_m = city.y0_m + city.step_m * np.arange(city.height_m.shape[0])
    columns = np.flatnonzero(
        (x_m >= box.left_m - city.step_m) & (x_m <= box.left_m + box.side_m + city.step_m)
    )
    rows = np.flatnonzero(
        (y_m >= box.bottom_m - city.step_m) & (y_m <= box.bottom_m + box.side_m + city.step_m)
    )
    if len(columns) == 0 or len(rows) == 0:
        return HeightMap(np.zeros((0, 0)), box.left_m, box.bottom_m, city.step_m)
    part = city.height_m[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return HeightMap(part, float(x_m[columns[0]]), float(y_m[rows[0]]), city.step_m)


def _rings(inside: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed rings (column, row) around the true elements, by marching squares through edge midpoints."""
    if inside.size == 0:
        return []
    padded = np.pad(inside, 1)
    corner = padded.astype(np.int64)
    case = corner[:-1, :-1] + 2 * corner[:-1, 1:] + 4 * corner[1:, 1:] + 8 * corner[1:, :-1]
    following: dict[tuple[int, int], tuple[int, int]] = {}
    for row, column in np.argwhere((case != 0) & (case != 15)).tolist():
        middles = (  # of the square's four edges, doubled so that they are integers
            (2 * column + 1, 2 * row),
            (2 * column + 2, 2 * row + 1),
            (2 * column + 1, 2 * row + 2),
            (2 * column, 2 * row + 1),
        )
        for start, stop in _SEGMENTS[int(case[row, column])]:
            following[middles[start]] = middles[stop]
    rings: list[NDArray[np.float64]] = []
    while following:
        first, point = following.popitem()
        ring = [first]
        while point != first:
            ring.append(point)
            point = following.pop(point)
        rings.append(np.array(ring, dtype=np.float64) / 2.0 - 1.0)
    return rings


# For each square of four neighbours, the edges (0 low row, 1 right, 2 high row, 3 left) that the outline
# enters and leaves by, the inside kept on one hand: each midpoint is left exactly once, so rings close.
_SEGMENTS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, 3),),
    2: ((1, 0),),
    3: ((1, 3),),
    4: ((2, 1),),
    5: ((0, 3), (2, 1)),
    6: ((2, 0),),
    7: ((2, 3),),
    8: ((3, 2),),
    9: ((0, 2),),
    10: ((1, 0), (3, 2)),
    11: ((1, 2),),
    12: ((3, 1),),
    13: ((0, 1),),
    14: ((3, 0),),
}


def _simplified(ring: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """The ring with fewer corners, none of the old ones further away than `tolerance` (Douglas, Peucker)."""
    keep = np.zeros(len(ring), dtype=np.bool_)
    far = int(np.argmax(np.hypot(*(ring - ring[0]).T)))
    closed = np.concatenate((ring, ring[:1]))
    keep[[0, far]] = True
    pending = [(0, far), (far, len(ring))]
    while pending:
        start, stop = pending.pop()
        if stop - start < 2:
            continue
        between = closed[start + 1 : stop] - closed[start]
        chord = closed[stop] - closed[start]
        length = float(np.hypot(*chord))
        if length == 0.0:
            distance = np.hypot(between[:, 0], between[:, 1])
        else:
            distance = np.abs(between[:, 0] * chord[1] - between[:, 1] * chord[0]) / length
        worst = int(np.argmax(distance))
        if distance[worst] > tolerance:
            middle = start + 1 + worst
            keep[middle] = True
            pending += [(start, middle), (middle, stop)]
    return ring[keep]
