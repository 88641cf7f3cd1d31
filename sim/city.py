"""How high the city is: what lies outdoors and what lies inside a building."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TRACES = Path(__file__).resolve().parents[1] / "scenarios" / "traces"


@dataclass(frozen=True, eq=False)
class HeightMap:
    """Height of the roof or ground at the nodes of a square grid.

    Attributes:
        height_m: ``[ny, nx]``; node ``[j, i]`` lies at ``(x0_m + i * step_m, y0_m + j * step_m)``.
        x0_m: x of the first column, m.
        y0_m: y of the first row, m.
        step_m: Distance of two nodes, m.
    """

    height_m: Floats
    x0_m: float
    y0_m: float
    step_m: float

    @staticmethod
    def load(scene: str) -> HeightMap | None:
        """The map shipped for a scene, or None if there is none."""
        file = TRACES / f"{scene}_height.npz"
        return read_height_map(file) if file.is_file() else None

    def corners_m(self, position_m: Floats) -> Floats:
        """Heights of the four nodes around each position: ``[n, 3]`` (or ``[n, 2]``) to ``[n, 4]``, m.

        Beyond the edge of the map the nearest node counts.
        """
        rows, columns = self.height_m.shape
        column = np.floor((position_m[:, 0] - self.x0_m) / self.step_m).astype(int)
        row = np.floor((position_m[:, 1] - self.y0_m) / self.step_m).astype(int)
        around = [
            self.height_m[np.clip(row + j, 0, rows - 1), np.clip(column + i, 0, columns - 1)]
            for j in (0, 1)
            for i in (0, 1)
        ]
        return np.stack(around, axis=1)

    def is_outdoor(self, position_m: Floats) -> NDArray[np.bool_]:
        """Whether each of ``[n, 3]`` surely lies above roof and ground: above all four nodes around it."""
        inside: NDArray[np.bool_] = position_m[:, 2] > self.corners_m(position_m).max(axis=1)
        return inside

    def is_indoor(self, position_m: Floats, tolerance_m: float = 0.5) -> NDArray[np.bool_]:
        """Whether each of ``[n, 3]`` surely lies in a building: well below all four nodes around it.

        A point within one step of a wall is neither surely outdoors nor surely indoors.
        """
        inside: NDArray[np.bool_] = position_m[:, 2] < self.corners_m(position_m).min(axis=1) - tolerance_m
        return inside

    def first_wall(self, position_m: Floats) -> int | None:
        """Index of the first of ``[n, 3]`` that lies inside a building, or None."""
        inside = np.flatnonzero(self.is_indoor(position_m))
        return int(inside[0]) if len(inside) else None


@cache
def read_height_map(file: Path) -> HeightMap:
    """The map in a file; read once, since every UE of a scenario asks for it."""
    with np.load(file) as stored:
        return HeightMap(
            height_m=stored["height_m"].astype(np.float64),
            x0_m=float(stored["x0_m"]),
            y0_m=float(stored["y0_m"]),
            step_m=float(stored["step_m"]),
        )
