"""A random walk that stays outdoors and inside an area."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.city import HeightMap
from sim.deployment import Area
from sim.trajectory.path import Floats
from sim.trajectory.polyline import Polyline, at_constant_speed

SPACING_M = 0.5
TRIES = 200
MOST_LEGS = 100_000
CLOSE_M = 1e-6
DECIMALS = 3  # of corners, in m: machines differ in the last bit of a cosine


class NoWayError(ValueError):
    """The walk cannot start or cannot go on; the message says where."""


@dataclass(frozen=True)
class RandomWalk:
    """How to walk: straight legs, and a turn after each.

    Attributes:
        height_m: Constant height, m.
        speed_mps: Constant speed, m/s.
        leg_m: Mean length of a leg (exponential), m.
        turn_rad: Greatest turn between two legs (uniform), rad; where buildings leave no way, any turn.
        start_m: x and y of the first point, m; None draws one.
        duration_s: How long to walk, s.
    """

    height_m: float
    speed_mps: float
    leg_m: float
    turn_rad: float
    start_m: tuple[float, float] | None
    duration_s: float

    def draw(self, random: np.random.Generator, area: Area, city: HeightMap | None) -> Polyline:
        """One walk.

        Raises:
            NoWayError: The start lies outside or in a building, the walk is walled in, or it has no end.
        """
        if self.speed_mps * self.duration_s > MOST_LEGS * max(self.leg_m, SPACING_M):
            raise NoWayError(f"more than {MOST_LEGS} legs in {self.duration_s:g} s")
        ground = Ground(area, city, self.height_m)
        here = self._first_point(random, ground)
        heading = random.uniform(-math.pi, math.pi)
        points = [here]
        to_go = self.speed_mps * self.duration_s
        while to_go > CLOSE_M:
            here, heading, length = self._next_point(random, ground, here, heading, to_go)
            points.append(here)
            to_go -= length
        at_height = [(x, y, self.height_m) for x, y in points]
        return at_constant_speed(at_height, self.speed_mps)

    def _first_point(self, random: np.random.Generator, ground: Ground) -> tuple[float, float]:
        if self.start_m is not None:
            if not ground.is_free(np.array([self.start_m])):
                raise NoWayError(
                    f"cannot start at ({self.start_m[0]:g}, {self.start_m[1]:g}) m: {ground.why}"
                )
            return self.start_m
        for _ in range(TRIES):
            point = (random.uniform(*ground.area.x_m), random.uniform(*ground.area.y_m))
            if ground.is_free(np.array([point])):
                return point
        raise NoWayError(f"found no free place to start: {ground.why}")

    def _next_point(
        self,
        random: np.random.Generator,
        ground: Ground,
        here: tuple[float, float],
        heading: float,
        to_go: float,
    ) -> tuple[tuple[float, float], float, float]:
        for attempt in range(TRIES):
            widest = self.turn_rad if attempt < TRIES // 4 else math.pi
            turned = heading + random.uniform(-widest, widest)
            length = min(max(random.exponential(self.leg_m), SPACING_M), to_go)
            there = (
                round(here[0] + length * math.cos(turned), DECIMALS),
                round(here[1] + length * math.sin(turned), DECIMALS),
            )
            if ground.is_free(between(here, there, length)):
                return there, turned, length
        raise NoWayError(f"walled in at ({here[0]:.1f}, {here[1]:.1f}) m")


@dataclass(frozen=True)
class Ground:
    """Where one may walk at a height."""

    area: Area
    city: HeightMap | None
    height_m: float
    why: str = "not outdoors inside the area"

    def is_free(self, point_m: Floats) -> bool:
        """Whether all of ``[n, 2]`` lie inside the area and outdoors."""
        x, y = point_m[:, 0], point_m[:, 1]
        area = self.area
        inside = ((x >= area.x_m[0]) & (x <= area.x_m[1]) & (y >= area.y_m[0]) & (y <= area.y_m[1])).all()
        if not inside or self.city is None:
            return bool(inside)
        at_height = np.column_stack([point_m, np.full(len(point_m), self.height_m)])
        return bool(self.city.is_outdoor(at_height).all())


def between(here: tuple[float, float], there: tuple[float, float], length_m: float) -> Floats:
    """Points on the leg, both ends included, at most ``SPACING_M`` apart: ``[n, 2]``, m."""
    share = np.linspace(0.0, 1.0, math.ceil(length_m / SPACING_M) + 1)[:, None]
    return np.array(here) * (1 - share) + np.array(there) * share
