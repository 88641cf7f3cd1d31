"""A climbing spiral around a vertical axis: the trajectory of the paper's tracking experiment."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.trajectory.path import Floats, Times


@dataclass(frozen=True)
class Spiral:
    """Circles at constant speed around ``centre_m`` while climbing at constant speed.

    Attributes:
        centre_m: x and y of the axis, m.
        radius_m: Radius, m.
        turns: Number of turns; negative turns clockwise.
        from_height_m: Height at the start, m.
        to_height_m: Height at the end, m.
        duration_s: Time from start to end, s.
        start_angle_rad: Direction from the axis to the first point, from x towards y, rad.
    """

    centre_m: tuple[float, float]
    radius_m: float
    turns: float
    from_height_m: float
    to_height_m: float
    duration_s: float
    start_angle_rad: float = 0.0

    @property
    def angular_speed_radps(self) -> float:
        """Angle per time, rad/s."""
        return 2 * math.pi * self.turns / self.duration_s

    def position_in_world_m(self, t_s: Times) -> Floats:
        """Position at times ``[n]``: ``[n, 3]``, m."""
        t = np.clip(np.asarray(t_s, dtype=np.float64), 0.0, self.duration_s)
        angle = self.start_angle_rad + self.angular_speed_radps * t
        climbed = (self.to_height_m - self.from_height_m) * (t / self.duration_s)
        return np.stack(
            [
                self.centre_m[0] + self.radius_m * np.cos(angle),
                self.centre_m[1] + self.radius_m * np.sin(angle),
                self.from_height_m + climbed,
            ],
            axis=-1,
        )

    def velocity_in_world_mps(self, t_s: Times) -> Floats:
        """Velocity at times ``[n]``: ``[n, 3]``, m/s."""
        t = np.asarray(t_s, dtype=np.float64)
        moving = (t >= 0.0) & (t < self.duration_s)
        angle = self.start_angle_rad + self.angular_speed_radps * t
        speed = self.radius_m * self.angular_speed_radps
        climb = (self.to_height_m - self.from_height_m) / self.duration_s
        velocity = np.stack([-speed * np.sin(angle), speed * np.cos(angle), np.full_like(t, climb)], axis=-1)
        return np.where(moving[..., None], velocity, 0.0)
