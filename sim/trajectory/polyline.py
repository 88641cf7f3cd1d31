"""Straight legs between points: what a line, waypoints, a random walk and a CSV file come down to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sim.trajectory.path import Floats, Times


class Polyline:
    """Moves at constant speed from each point to the next.

    Args:
        t_s: Times of the points, strictly increasing, the first 0: ``[n]``, s.
        position_m: The points, ``[n, 3]``, m.

    Raises:
        ValueError: Shapes or times do not fit.
    """

    def __init__(self, t_s: ArrayLike, position_m: ArrayLike) -> None:
        self.t_s: Floats = np.array(t_s, dtype=np.float64)
        self.points_m: Floats = np.array(position_m, dtype=np.float64)
        if self.t_s.ndim != 1 or len(self.t_s) == 0 or self.points_m.shape != (len(self.t_s), 3):
            raise ValueError(
                f"points must be [n, 3] for n times, not {self.points_m.shape} for {self.t_s.shape}"
            )
        if not (np.isfinite(self.t_s).all() and np.isfinite(self.points_m).all()):
            raise ValueError("times and points must be finite")
        if self.t_s[0] != 0.0 or (np.diff(self.t_s) <= 0).any():
            raise ValueError("times must start at 0 and increase")
        legs = np.diff(self.points_m, axis=0) / np.diff(self.t_s)[:, None]
        self._leg_velocity_mps = np.concatenate([legs, np.zeros((1, 3))])

    @property
    def duration_s(self) -> float:
        """Time from the first to the last point, s."""
        return float(self.t_s[-1])

    def position_in_world_m(self, t_s: Times) -> Floats:
        """Position at times ``[n]``: ``[n, 3]``, m."""
        return np.stack([np.interp(t_s, self.t_s, self.points_m[:, axis]) for axis in range(3)], axis=-1)

    def velocity_in_world_mps(self, t_s: Times) -> Floats:
        """Velocity at times ``[n]``: ``[n, 3]``, m/s; at a corner that of the leg that begins there."""
        t = np.asarray(t_s, dtype=np.float64)
        leg = np.searchsorted(self.t_s, t, side="right") - 1
        return np.where((leg >= 0)[..., None], self._leg_velocity_mps[np.maximum(leg, 0)], 0.0)


def at_constant_speed(points_m: Sequence[Sequence[float]] | Floats, speed_mps: float) -> Polyline:
    """The polyline through points ``[n, 3]`` at one speed.

    Points are passed without a stop where they are repeated, or so close that no time passes between them.
    """
    points = np.array(points_m, dtype=np.float64)
    length = np.linalg.norm(np.diff(points, axis=0), axis=1)
    t_s = np.concatenate([[0.0], np.cumsum(length) / speed_mps])
    later = np.diff(t_s, prepend=-1.0) > 0
    return Polyline(t_s[later], points[later])
