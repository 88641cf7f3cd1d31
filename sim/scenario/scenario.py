"""A scenario: everything that decides what happens in a run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PlainSerializer, PrivateAttr, model_validator

from sim.city import HeightMap
from sim.clock import ns_from_s
from sim.deployment import MUNICH6, Deployment
from sim.scenario.errors import problem, quoted, suggestion
from sim.scenario.fault import ANY, AnyFault, OfBs, OfLink, RandomFaults
from sim.scenario.fronthaul import FronthaulPart
from sim.scenario.motion import Motion, RandomWalkMotion, Surroundings
from sim.scenario.part import MOST_ID_CHARS, Count, Id, Part
from sim.scenario.place import DeploymentPart, written
from sim.scenario.policy import FixedPolicy, Policy, by_kind
from sim.scenario.units import Duration, PositiveAcceleration, PositiveDuration, PositiveFrequency
from sim.trajectory import Delayed, NoWayError, Trajectory

if TYPE_CHECKING:
    DeploymentField = Deployment
else:
    DeploymentField = Annotated[
        DeploymentPart,
        AfterValidator(DeploymentPart.deployment),
        PlainSerializer(written),
    ]

WALL_CHECK_SPACING_M = 0.5
AREA_MARGIN_M = 0.5
MOST_POSITIONS_CHECKED = 1_000_000
MOST_SAMPLES = 1_000_000
MOST_FAULTS = 100_000
MOST_UES = 100_000


class Clock(Part):
    """What the base stations know about time."""

    kind: Literal["synchronised", "ue_unknown"] = Field(
        description="`synchronised`: no offsets; `ue_unknown`: one per UE and snapshot, common to all BSs"
    )
    ue_offset: Duration = Field(
        default=100e-9, description="`ue_unknown`: greatest offset of the UE's clock (uniform on both sides)"
    )
    bs_sync: Duration = Field(
        default=5e-9, description="`ue_unknown`: rms error of the clocks of the base stations"
    )

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


class Ue(Part):
    """One UE: where it goes and how often it sends pilots."""

    trajectory: Motion = Field(description="where it goes")
    rate: PositiveFrequency = Field(description="snapshots per second")
    start: Duration = Field(
        default=0.0, description="time of the first snapshot; the trajectory sets off then"
    )
    stop: PositiveDuration | None = Field(
        default=None, description="no snapshot at or after this time; absent: the end of the run"
    )
    count: Annotated[Count, Field(ge=1, le=MOST_UES)] | None = Field(
        default=None, description="so many such UEs, `<id>-1`, `<id>-2`, …; absent: one, `<id>`"
    )
    stagger: Duration | None = Field(
        default=None, description="with `count`: each starts so much later than the one before"
    )

    @model_validator(mode="after")
    def _stagger_needs_count(self) -> Ue:
        if self.stagger is not None and self.count is None:
            raise problem("stagger needs count", ("stagger",), at_key=True)
        return self

    def each(self, ue: str) -> Iterator[tuple[str, Ue]]:
        """The UEs that this describes, with their ids."""
        if self.count is None:
            yield ue, self
            return
        alone = self.model_copy(update={"count": None, "stagger": None})
        for number in range(self.count):
            start = self.start + number * (self.stagger or 0.0)
            yield f"{ue}-{number + 1}", alone.model_copy(update={"start": start})


class Message(Part):
    """What a base station's message is made of; a key left out: as the model was trained."""

    bits: Annotated[Count, Field(ge=1, le=16)] | None = Field(
        default=None, description="bits per number of the embedding"
    )
    dims: Annotated[Count, Field(ge=1, le=65535)] | None = Field(
        default=None, description="numbers of the embedding that are sent"
    )


class Model(Message):
    """The network that encodes at the base stations and fuses at the central unit."""

    name: str = Field(default="ecc-r", min_length=1, description="a shipped model's name, or a path")
    per_bs: dict[Id, Message] = Field(default_factory=dict, description="by base station: keys that differ")

    def message_of(self, bs: str) -> Message:
        """Bits and dims of one base station's messages."""
        own = self.per_bs.get(bs, Message())
        return Message(bits=own.bits or self.bits, dims=own.dims or self.dims)


class BaseStations(Part):
    """The base stations."""

    processing: Duration = Field(
        default=2e-3, description="time from a snapshot to its message's publication"
    )
    policy: Policy = Field(
        default=FixedPolicy(kind="fixed"), description="congestion control: a kind alone, or a mapping"
    )

    @model_validator(mode="before")
    @classmethod
    def _policy_by_kind(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "policy" in value:
            return {**value, "policy": by_kind(value["policy"])}
        return value


class CentralUnit(Part):
    """How the central unit collects and fuses."""

    deadline: PositiveDuration = Field(
        default=50e-3, description="after a snapshot's time: what has not arrived by then is not waited for"
    )
    min_bs: Count = Field(default=2, ge=1, description="least number of base stations for a fix")
    late: Literal["drop", "retrodict"] = Field(
        default="drop",
        description="what becomes of frames after the deadline: `drop`, or `retrodict` the track",
    )
    processing: Duration = Field(default=5e-3, description="time from a snapshot's closing to its fix")


class Tracker(Part):
    """How fixes become a track."""

    kind: Literal["constant_velocity"] = Field(
        default="constant_velocity", description="motion model of the Kalman filter"
    )
    acceleration: PositiveAcceleration = Field(
        default=1.0, description="standard deviation of the acceleration"
    )
    gate: float = Field(
        default=0.999, gt=0, lt=1, description="share of honest fixes that the gate lets through"
    )


class Scenario(Part):
    """A scenario file."""

    name: str = Field(
        default="scenario", min_length=1, description="name in reports; the file's name if absent"
    )
    description: str = Field(
        default="", pattern=r"^[^\n]*$", description="what the scenario shows, in one line"
    )
    seed: Count = Field(default=1, ge=0, description="root of all random numbers")
    duration: PositiveDuration = Field(description="length of the run")
    deployment: DeploymentField = Field(
        default=MUNICH6, description="a preset's name (`munich6`), or a mapping that may change a preset"
    )
    clock: Clock = Field(default=Clock(kind="ue_unknown"), description="a kind alone, or a mapping")
    ues: dict[Id, Ue] = Field(min_length=1, description="UEs by id")
    model: Model = Field(default=Model(), description="the network")
    bs: BaseStations = Field(default=BaseStations(), description="the base stations")
    fronthaul: FronthaulPart = Field(default=FronthaulPart(), description="links to the central unit")
    cu: CentralUnit = Field(default=CentralUnit(), description="the central unit")
    tracker: Tracker = Field(default=Tracker(), description="the tracker")
    faults: list[AnyFault] = Field(default_factory=list, description="faults at scripted or random times")
    transport: Literal["inproc", "ipc", "tcp"] = Field(
        default="inproc", description="how ZeroMQ carries the frames"
    )

    _folder: Path | None = PrivateAttr(None)

    @classmethod
    def load(
        cls, path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = (), **changes: Any
    ) -> Scenario:
        """Read a scenario file.

        Args:
            path: The YAML file.
            overrides: ``key.path=value`` texts, or a mapping from ``key.path`` to values.
            changes: The same as keywords, ``__`` for a dot: ``model__bits=6``.

        Raises:
            ScenarioError: What is wrong, and where.
        """
        from sim.scenario.load import load_scenario

        return load_scenario(path, overrides, **changes)

    @property
    def folder(self) -> Path | None:
        """The folder of the file it was read from."""
        return self._folder

    @property
    def bs_ids(self) -> tuple[str, ...]:
        """Ids of the base stations, in the order of all arrays indexed by BS."""
        return self.deployment.bs_ids

    @property
    def ue_ids(self) -> tuple[str, ...]:
        """Ids of the UEs, in the order of the file."""
        return tuple(self.ues)

    @property
    def duration_ns(self) -> int:
        """Length of the run, ns."""
        return ns_from_s(self.duration)

    def to_mapping(self) -> dict[str, Any]:
        """All keys as a scenario file would hold them, defaults and presets filled in."""
        mapping: dict[str, Any] = without_nothing(self.model_dump(mode="json", by_alias=True))
        return mapping

    def to_yaml(self) -> str:
        """The resolved scenario: loading it gives an equal one, without any other file."""
        from sim.scenario.document import dump

        return dump(self.to_mapping())

    def digest(self) -> str:
        """Hash of all that decides what happens, 32 hexadecimal digits; name and description do not."""
        mapping = self.to_mapping()
        del mapping["name"], mapping["description"]
        text = json.dumps(mapping, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def end_of(self, ue: str) -> float:
        """When a UE sends no more snapshots, s."""
        stop = self.ues[ue].stop
        return self.duration if stop is None else min(stop, self.duration)

    @property
    def num_snapshots(self) -> int:
        """Snapshots of all UEs."""
        return sum(len(self.sample_times_ns(ue)) for ue in self.ue_ids)

    def sample_times_ns(self, ue: str) -> NDArray[np.int64]:
        """Times of a UE's snapshots since the start of the run, ``[n]``, ns."""
        own = self.ues[ue]
        stop_ns = ns_from_s(self.end_of(ue))
        start_ns = ns_from_s(own.start)
        most = max(0, math.ceil((stop_ns - start_ns) * own.rate / 1e9) + 1)
        times: NDArray[np.int64] = start_ns + np.rint(np.arange(most) * (1e9 / own.rate)).astype(np.int64)
        return times[times < stop_ns]

    def trajectory(self, ue: str) -> Trajectory:
        """Where a UE is at any time of the run."""
        from broker.streams import stream

        own = self.ues[ue]
        around = Surroundings(
            area=self.deployment.area,
            city=HeightMap.load(self.deployment.scene),
            random=stream(self.seed, "trajectory", ue),
            duration_s=self.end_of(ue) - own.start,
        )
        return Delayed(own.trajectory.trajectory(around), own.start)

    @model_validator(mode="after")
    def _fits_together(self) -> Scenario:
        self._count_ues()
        self._check_base_stations()
        self._check_faults()
        on_way: dict[tuple[int, float], float] = {}
        for ue, own in self.ues.items():
            self._check_samples(ue)
            # UEs that are described together go the same way; who starts later goes less of it.
            way, length_s = (id(own.trajectory), own.rate), self.end_of(ue) - own.start
            if isinstance(own.trajectory, RandomWalkMotion) or on_way.get(way, 0.0) < length_s:
                self._check_way(ue)
                on_way[way] = length_s
        return self

    def _count_ues(self) -> None:
        """Put each of the UEs that are described together in its own place."""
        ues: dict[str, Ue] = {}
        for group, described in self.ues.items():
            for ue, own in described.each(group):
                if ue in ues or (ue != group and ue in self.ues):
                    raise problem(f"there are two UEs {quoted(ue)}", ("ues", group), at_key=True)
                if len(ue) > MOST_ID_CHARS:
                    text = f"takes at most {MOST_ID_CHARS} characters, has {len(ue)} with its number"
                    raise problem(text, ("ues", group), at_key=True)
                ues[ue] = own
        if len(ues) > MOST_UES:
            raise problem(f"{len(ues)} UEs are more than {MOST_UES}", ("ues",), at_key=True)
        self.__dict__["ues"] = ues

    def _check_base_stations(self) -> None:
        for bs in self.model.per_bs:
            self._check_bs(bs, ("model", "per_bs", bs), at_key=True)
        if self.cu.min_bs > len(self.bs_ids):
            raise problem(
                f"{self.cu.min_bs} is more than the {len(self.bs_ids)} base stations", ("cu", "min_bs")
            )
        complete = within(("fronthaul",), self.fronthaul.complete, self.bs_ids)
        self.__dict__["fronthaul"] = complete

    def _check_bs(self, bs: str, path: tuple[str | int, ...], *, at_key: bool = False) -> None:
        if bs not in self.bs_ids:
            raise problem(
                f"unknown base station {quoted(bs)}; {suggestion(bs, self.bs_ids)}", path, at_key=at_key
            )

    def _check_faults(self) -> None:
        links = (*self.bs_ids, *self.fronthaul.shared)
        for index, entry in enumerate(self.faults):
            path: tuple[str | int, ...] = ("faults", index)
            fault = entry.random if isinstance(entry, RandomFaults) else entry
            if isinstance(entry, RandomFaults):
                path = (*path, "random")
                if self.duration / entry.random.every > MOST_FAULTS:
                    raise problem(f"more than {MOST_FAULTS} faults", (*path, "every"))
                if fault.target == ANY:
                    continue
            elif entry.at >= self.duration:
                raise problem(f"begins at {entry.at:g} s, the run ends at {self.duration:g} s", (*path, "at"))
            if isinstance(fault, OfBs):
                self._check_bs(fault.bs, (*path, "bs"))
            if isinstance(fault, OfLink) and fault.link not in links:
                raise problem(
                    f"unknown link {quoted(fault.link)}; {suggestion(fault.link, links)}", (*path, "link")
                )

    def _check_samples(self, ue: str) -> None:
        own = self.ues[ue]
        end = self.end_of(ue)
        if own.start >= end:
            raise problem(f"has no snapshot: it starts at {own.start:g} s and ends at {end:g} s", ("ues", ue))
        if (end - own.start) * own.rate > MOST_SAMPLES:
            raise problem(f"more than {MOST_SAMPLES} snapshots", ("ues", ue, "rate"))

    def _check_way(self, ue: str) -> None:
        place = ("ues", ue, "trajectory")
        try:
            trajectory = self.trajectory(ue)
        except NoWayError as error:
            raise problem(str(error), place) from error
        t_s = self.sample_times_ns(ue) / 1e9
        position = trajectory.position_in_world_m(t_s)
        check_area(self.deployment, t_s, position, place)
        city = HeightMap.load(self.deployment.scene)
        if city is None:
            return
        t_s = with_times_between(t_s, position)
        position = trajectory.position_in_world_m(t_s)
        wall = city.first_wall(position)
        if wall is not None:
            raise problem(f"goes through a wall at {t_s[wall]:.2f} s, {at(position[wall])}", place)


def check_area(
    deployment: Deployment,
    t_s: NDArray[np.float64],
    position_m: NDArray[np.float64],
    place: tuple[str | int, ...],
) -> None:
    """Raise a validation error for the first position outside the deployment's area."""
    area = deployment.area
    low = np.array([area.x_m[0], area.y_m[0], area.z_m[0]]) - AREA_MARGIN_M
    high = np.array([area.x_m[1], area.y_m[1], area.z_m[1]]) + AREA_MARGIN_M
    outside = np.flatnonzero(((position_m < low) | (position_m > high)).any(axis=1))
    if len(outside):
        first = outside[0]
        spans = ", ".join(
            f"{axis} {span[0]:g} to {span[1]:g}"
            for axis, span in zip("xyz", (area.x_m, area.y_m, area.z_m), strict=True)
        )
        raise problem(
            f"leaves the area at {t_s[first]:.2f} s, {at(position_m[first])} (area: {spans} m)", place
        )


def with_times_between(t_s: NDArray[np.float64], position_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample times and more between them where the samples lie far apart."""
    gaps = np.linalg.norm(np.diff(position_m, axis=0), axis=1)
    spacing = max(WALL_CHECK_SPACING_M, gaps.sum() / MOST_POSITIONS_CHECKED)
    parts = np.ceil(gaps / spacing).astype(int)
    between = [
        np.linspace(t_s[i], t_s[i + 1], parts[i], endpoint=False)[1:] for i in np.flatnonzero(parts > 1)
    ]
    return np.sort(np.concatenate([t_s, *between]))


def at(position_m: NDArray[np.float64]) -> str:
    """A position as text."""
    x, y, z = position_m
    return f"({x:.1f}, {y:.1f}, {z:.1f}) m"


def within(path: tuple[str | int, ...], check: Any, *arguments: Any) -> Any:
    """Call ``check``; a validation error that it raises is placed below ``path``."""
    from pydantic_core import PydanticCustomError

    try:
        return check(*arguments)
    except PydanticCustomError as error:
        context = error.context or {}
        raise problem(error.message(), path + tuple(context["path"]), at_key=context["at_key"]) from error


def without_nothing(value: Any) -> Any:
    """A mapping without keys that hold null."""
    if isinstance(value, dict):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nothing(item) for item in value]
    return value
