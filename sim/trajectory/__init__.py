"""Ways for a UE to move: position and velocity at any time."""

from sim.trajectory.path import Delayed, Trajectory
from sim.trajectory.polyline import Polyline, at_constant_speed
from sim.trajectory.spiral import Spiral
from sim.trajectory.walk import NoWayError, RandomWalk

__all__ = ["Delayed", "NoWayError", "Polyline", "RandomWalk", "Spiral", "Trajectory", "at_constant_speed"]
