"""What every trajectory offers: position and velocity at any time."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.floating[Any]]


class Trajectory(Protocol):
    """A UE's way through the world.

    It starts at time 0 and ends at ``duration_s``; before and after it stands still at its ends.
    """

    @property
    def duration_s(self) -> float:
        """Time from the first to the last point, s."""
        ...

    def position_in_world_m(self, t_s: Times) -> Floats:
        """Position at times ``[n]``: ``[n, 3]``, m."""
        ...

    def velocity_in_world_mps(self, t_s: Times) -> Floats:
        """Velocity at times ``[n]``: ``[n, 3]``, m/s; at a corner that of the leg that begins there."""
        ...


class Delayed:
    """A trajectory that sets off later.

    Args:
        trajectory: Where to go.
        start_s: When to set off, s.
    """

    def __init__(self, trajectory: Trajectory, start_s: float) -> None:
        self.trajectory = trajectory
        self.start_s = start_s

    @property
    def duration_s(self) -> float:
        """Time at which the last point is reached, s."""
        return self.start_s + self.trajectory.duration_s

    def position_in_world_m(self, t_s: Times) -> Floats:
        """Position at times ``[n]``: ``[n, 3]``, m."""
        return self.trajectory.position_in_world_m(np.asarray(t_s) - self.start_s)

    def velocity_in_world_mps(self, t_s: Times) -> Floats:
        """Velocity at times ``[n]``: ``[n, 3]``, m/s."""
        return self.trajectory.velocity_in_world_mps(np.asarray(t_s) - self.start_s)
