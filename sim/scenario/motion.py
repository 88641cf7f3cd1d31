"""How a UE moves, as written in a scenario."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, model_validator

from sim.city import HeightMap
from sim.deployment import Area
from sim.scenario.errors import problem
from sim.scenario.part import Part
from sim.scenario.units import (
    Angle,
    Length,
    Point,
    PointOnMap,
    PositiveDuration,
    PositiveLength,
    PositiveSpeed,
)
from sim.trajectory import Polyline, RandomWalk, Spiral, Trajectory, at_constant_speed
from sim.trajectory.csv import CsvError, read_csv


@dataclass(frozen=True)
class Surroundings:
    """What a trajectory may depend on besides its own keys."""

    area: Area
    city: HeightMap | None
    random: np.random.Generator
    duration_s: float


class SpiralMotion(Part):
    """A climbing spiral around a vertical axis."""

    kind: Literal["spiral"]
    centre: PointOnMap = Field(description="x and y of the axis")
    radius: PositiveLength = Field(description="radius")
    turns: float = Field(description="number of turns; negative: clockwise")
    from_height: Length = Field(description="height at the start")
    to_height: Length = Field(description="height at the end")
    duration: PositiveDuration = Field(description="time from start to end")
    start_angle: Angle = Field(
        default=0.0, description="direction from the axis to the first point, from x to y"
    )

    def trajectory(self, around: Surroundings) -> Trajectory:
        """The way this describes."""
        return Spiral(
            centre_m=self.centre,
            radius_m=self.radius,
            turns=self.turns,
            from_height_m=self.from_height,
            to_height_m=self.to_height,
            duration_s=self.duration,
            start_angle_rad=math.radians(self.start_angle),
        )


class LineMotion(Part):
    """A straight line, at a speed or in a time."""

    kind: Literal["line"]
    start: Point = Field(alias="from", description="first point")
    end: Point = Field(alias="to", description="last point")
    speed: PositiveSpeed | None = Field(default=None, description="speed; either this or `duration`")
    duration: PositiveDuration | None = Field(default=None, description="time from start to end")

    @model_validator(mode="after")
    def _speed_or_duration(self) -> LineMotion:
        if (self.speed is None) == (self.duration is None):
            raise problem("needs exactly one of speed and duration")
        return self

    def trajectory(self, around: Surroundings) -> Trajectory:
        """The way this describes."""
        if self.speed is not None:
            return at_constant_speed([self.start, self.end], self.speed)
        assert self.duration is not None
        return Polyline([0.0, self.duration], [self.start, self.end])


class WaypointsMotion(Part):
    """Straight legs through points at one speed."""

    kind: Literal["waypoints"]
    points: Annotated[list[Point], Field(min_length=2)] = Field(description="points to pass, in order")
    speed: PositiveSpeed = Field(description="speed on all legs")

    def trajectory(self, around: Surroundings) -> Trajectory:
        """The way this describes."""
        return at_constant_speed(self.points, self.speed)


class RandomWalkMotion(Part):
    """A random walk at constant height that stays outdoors and inside the area."""

    kind: Literal["random_walk"]
    height: Length = Field(description="height, constant")
    speed: PositiveSpeed = Field(description="speed, constant")
    leg: PositiveLength = Field(default=10.0, description="mean length of a straight leg (exponential)")
    turn: Angle = Field(default=60.0, description="greatest turn between two legs (uniform on both sides)")
    start: PointOnMap | None = Field(
        default=None, alias="from", description="x and y of the first point; drawn if absent"
    )

    def trajectory(self, around: Surroundings) -> Trajectory:
        """The way this describes; raises NoWayError."""
        walk = RandomWalk(
            height_m=self.height,
            speed_mps=self.speed,
            leg_m=self.leg,
            turn_rad=math.radians(self.turn),
            start_m=self.start,
            duration_s=around.duration_s,
        )
        return walk.draw(around.random, around.area, around.city)


class Samples(Part):
    """Columns of a recorded trajectory; plain numbers in the unit that the key names."""

    t_s: list[float] = Field(description="times; the first is where the trajectory sets off")
    x_m: list[float] = Field(description="x at each time")
    y_m: list[float] = Field(description="y at each time")
    z_m: list[float] = Field(description="height at each time")

    @model_validator(mode="after")
    def _fit(self) -> Samples:
        if not self.t_s or len({len(self.t_s), len(self.x_m), len(self.y_m), len(self.z_m)}) != 1:
            raise problem("t_s, x_m, y_m and z_m must be of one length, at least 1")
        if any(b <= a for a, b in zip(self.t_s, self.t_s[1:], strict=False)):
            raise problem("times must increase", ("t_s",))
        return self


class CsvMotion(Part):
    """Recorded points with times; straight and even between them."""

    kind: Literal["csv"]
    file: str | None = Field(
        default=None,
        exclude=True,
        description="CSV file with columns t, x, y, z in s and m, found relative to the scenario",
    )
    samples: Samples | None = Field(
        default=None, description="the same inline, as columns of numbers: t_s, x_m, y_m, z_m"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("file"), str) or "samples" in value:
            return value
        folder = (info.context or {}).get("folder", ".")
        try:
            rows = read_csv(Path(folder) / value["file"])
        except CsvError as error:
            raise problem(str(error), ("file",)) from error
        t, x, y, z = (list(column) for column in zip(*rows, strict=True))
        return {**value, "samples": {"t_s": t, "x_m": x, "y_m": y, "z_m": z}}

    @model_validator(mode="after")
    def _has_samples(self) -> CsvMotion:
        if self.samples is None:
            raise problem("needs file or samples")
        return self

    def trajectory(self, around: Surroundings) -> Trajectory:
        """The way this describes; its first point is at time 0, whatever the file's first time is."""
        assert self.samples is not None
        t = np.array(self.samples.t_s)
        points = np.column_stack([self.samples.x_m, self.samples.y_m, self.samples.z_m])
        return Polyline(t - t[0], points)


Motion = Annotated[
    SpiralMotion | LineMotion | WaypointsMotion | RandomWalkMotion | CsvMotion, Field(discriminator="kind")
]
