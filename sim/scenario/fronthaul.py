"""The fronthaul, as written in a scenario: one link per base station, shared segments, the tree they form."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from broker import law as broker_law
from sim.clock import ns_from_s
from sim.scenario.errors import problem, quoted, suggestion
from sim.scenario.part import Id, Part
from sim.scenario.units import (
    Capacity,
    DataRate,
    Duration,
    PositiveDataRate,
    PositiveDuration,
    PositiveShare,
    PositiveSize,
    QueueSize,
    Share,
    Size,
)


class NoJitter(Part):
    """Every frame travels exactly the latency."""

    kind: Literal["none"]

    def law(self) -> broker_law.Jitter:
        """The same for the fronthaul."""
        return broker_law.NoJitter()


class UniformJitter(Part):
    """Uniform within latency ± spread, cut off at 0."""

    kind: Literal["uniform"]
    spread: Duration = Field(description="greatest deviation from the latency")

    def law(self) -> broker_law.Jitter:
        """The same for the fronthaul."""
        return broker_law.UniformJitter(ns_from_s(self.spread))


class NormalJitter(Part):
    """Normal about the latency, truncated at 0."""

    kind: Literal["normal"]
    sigma: Duration = Field(description="standard deviation")

    def law(self) -> broker_law.Jitter:
        """The same for the fronthaul."""
        return broker_law.NormalJitter(ns_from_s(self.sigma))


class ExponentialJitter(Part):
    """Latency plus an exponential extra."""

    kind: Literal["exponential"]
    mean: Duration = Field(description="mean of the extra")

    def law(self) -> broker_law.Jitter:
        """The same for the fronthaul."""
        return broker_law.ExponentialJitter(ns_from_s(self.mean))


class LognormalJitter(Part):
    """Latency plus a log-normal extra, which has a heavy tail."""

    kind: Literal["lognormal"]
    median: Duration = Field(description="median of the extra")
    shape: float = Field(ge=0, le=10, description="standard deviation of the extra's logarithm")

    def law(self) -> broker_law.Jitter:
        """The same for the fronthaul."""
        return broker_law.LognormalJitter(ns_from_s(self.median), self.shape)


Jitter = Annotated[
    NoJitter | UniformJitter | NormalJitter | ExponentialJitter | LognormalJitter, Field(discriminator="kind")
]


class NoLoss(Part):
    """Nothing is lost."""

    kind: Literal["none"]

    def law(self) -> broker_law.Loss:
        """The same for the fronthaul."""
        return broker_law.NoLoss()


class BernoulliLoss(Part):
    """Each frame is lost with the same probability."""

    kind: Literal["bernoulli"]
    rate: Share = Field(description="probability")

    def law(self) -> broker_law.Loss:
        """The same for the fronthaul."""
        return broker_law.BernoulliLoss(self.rate)


class GilbertElliottLoss(Part):
    """Losses in bursts: a good and a bad state that turn into each other from frame to frame."""

    kind: Literal["gilbert_elliott"]
    to_bad: Share = Field(description="probability per frame to turn from good to bad")
    to_good: PositiveShare = Field(description="probability per frame to turn from bad to good")
    loss_in_bad: Share = Field(default=1.0, description="probability of a loss in the bad state")
    loss_in_good: Share = Field(default=0.0, description="probability of a loss in the good state")

    def law(self) -> broker_law.Loss:
        """The same for the fronthaul."""
        return broker_law.GilbertElliottLoss(self.to_bad, self.to_good, self.loss_in_bad, self.loss_in_good)


Loss = Annotated[NoLoss | BernoulliLoss | GilbertElliottLoss, Field(discriminator="kind")]


class CrossTraffic(Part):
    """Other people's packets, which take their place in the queue and on the link."""

    kind: Literal["poisson", "constant"] = Field(description="`poisson`: random gaps; `constant`: equal gaps")
    rate: PositiveDataRate = Field(description="data rate")
    packet: PositiveSize = Field(default=1500.0, description="size of one packet")

    def law(self) -> broker_law.CrossTraffic:
        """The same for the fronthaul."""
        return broker_law.CrossTraffic(self.kind, max(1, round(self.rate)), max(1, round(self.packet)))


class Outage(Part):
    """A time in which a link carries nothing."""

    at: Duration = Field(description="when it begins")
    lasts: PositiveDuration = Field(alias="for", description="how long it lasts")


def shape_of(value: Any) -> str:
    """Whether a capacity is a trace over time or constant."""
    return "trace" if isinstance(value, list | tuple) else "constant"


CapacityTrace = Annotated[list[tuple[Duration, DataRate]], Field(min_length=1)]
CapacityOrTrace = Annotated[
    Annotated[Capacity, Tag("constant")] | Annotated[CapacityTrace, Tag("trace")], Discriminator(shape_of)
]


class LawPart(Part):
    """What a link does to frames; a key left out does nothing."""

    capacity: CapacityOrTrace = Field(
        default=None,
        description="capacity, `unlimited`, or a list of `[time, capacity]`, each holding until the next",
    )
    latency: Duration = Field(default=0.0, description="one-way latency")
    jitter: Jitter = Field(default=NoJitter(kind="none"), description="how the delay of a frame varies")
    loss: Loss = Field(default=NoLoss(kind="none"), description="random loss")
    queue: QueueSize = Field(default=None, description="room for waiting frames, or `unlimited`")
    burst: Size = Field(default=0.0, description="what a token bucket lets through at once after a rest")
    discipline: Literal["fifo", "freshest"] = Field(
        default="fifo",
        description="`fifo`: a full queue drops what comes; `freshest`: a newer snapshot of the same UE "
        "takes a waiting one's place",
    )
    outages: list[Outage] = Field(default_factory=list, description="times in which it carries nothing")
    cross_traffic: CrossTraffic | None = Field(default=None, description="other traffic on it")
    keep_order: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="whether jitter may not make a frame overtake an earlier one"
    )

    @model_validator(mode="after")
    def _times_increase(self) -> LawPart:
        if isinstance(self.capacity, list):
            times = [ns_from_s(t) for t, _ in self.capacity]
            if times[0] != 0:
                raise problem("the first time must be 0 s", ("capacity", 0, 0))
            for index, (earlier, later) in enumerate(pairwise(times), start=1):
                if later <= earlier:
                    raise problem("times must increase", ("capacity", index, 0))
        for index, outage in enumerate(self.outages):
            if not ns_from_s(outage.lasts):
                raise problem("must be at least 1 ns", ("outages", index, "for"))
        for index, (earlier_one, later_one) in enumerate(pairwise(self.outages), start=1):
            if ns_from_s(later_one.at) <= ns_from_s(earlier_one.at + earlier_one.lasts):
                raise problem("must begin after the end of the one before", ("outages", index, "at"))
        return self

    def law(self) -> broker_law.FronthaulLaw:
        """The same for the fronthaul."""
        return broker_law.FronthaulLaw(
            capacity_bps=self.capacity_bps,
            latency_ns=ns_from_s(self.latency),
            jitter=self.jitter.law(),
            loss=self.loss.law(),
            queue_bytes=None if self.queue is None else round(self.queue),
            burst_bytes=round(self.burst),
            discipline=self.discipline,
            outages=tuple((ns_from_s(out.at), ns_from_s(out.at + out.lasts)) for out in self.outages),
            cross_traffic=None if self.cross_traffic is None else self.cross_traffic.law(),
            keep_order=self.keep_order,
        )

    @property
    def capacity_bps(self) -> broker_law.Capacity:
        """The capacity for the fronthaul."""
        if not isinstance(self.capacity, list):
            return self.capacity
        times_ns = tuple(ns_from_s(t) for t, _ in self.capacity)
        return broker_law.CapacityTrace(times_ns, tuple(round(rate) for _, rate in self.capacity))


class SharedPart(LawPart):
    """A segment that several links share on their way to the central unit."""

    members: list[str] = Field(
        min_length=1, description="base stations and shared segments whose frames pass through it"
    )


class FronthaulPart(Part):
    """Everything between the base stations and the central unit."""

    overhead: Size = Field(default=54.0, description="transport overhead per frame (Ethernet and eCPRI)")
    default: LawPart = Field(default=LawPart(), description="law of every base station's own link")
    links: dict[Id, LawPart] = Field(
        default_factory=dict, description="by base station: keys that differ from `default`"
    )
    shared: dict[Id, SharedPart] = Field(
        default_factory=dict, description="shared segments by name; `default` does not apply to them"
    )

    @model_validator(mode="after")
    def _is_a_tree(self) -> FronthaulPart:
        parents = self.parents()
        for name in self.shared:
            way = [name]
            while (parent := parents.get(way[-1])) is not None:
                if parent in way:
                    circle = " > ".join([*way[way.index(parent) :], parent])
                    raise problem(f"shared segments form a circle: {circle}", ("shared", name))
                way.append(parent)
        return self

    def parents(self) -> dict[str, str]:
        """The shared segment that each member leads into; raises a validation error if it has two."""
        parents: dict[str, str] = {}
        for name, segment in self.shared.items():
            for index, member in enumerate(segment.members):
                if member in parents:
                    other = parents[member]
                    raise problem(
                        f"{quoted(member)} is already a member of {quoted(other)}",
                        ("shared", name, "members", index),
                    )
                parents[member] = name
        return parents

    def complete(self, bs_ids: tuple[str, ...]) -> FronthaulPart:
        """The same with the full law of every base station's link; raises a validation error."""
        for bs in self.links:
            if bs not in bs_ids:
                raise problem(
                    f"unknown base station {quoted(bs)}; {suggestion(bs, bs_ids)}", ("links", bs), at_key=True
                )
        for name, segment in self.shared.items():
            if name in bs_ids:
                raise problem(f"{quoted(name)} is a base station already", ("shared", name), at_key=True)
            known = [other for other in (*bs_ids, *self.shared) if other != name]
            for index, member in enumerate(segment.members):
                if member not in known:
                    raise problem(
                        f"unknown member {quoted(member)}; {suggestion(member, known)}",
                        ("shared", name, "members", index),
                    )
        return self.model_copy(update={"links": {bs: self.law_of(bs) for bs in bs_ids}})

    def law_of(self, bs: str) -> LawPart:
        """The law of a base station's own link: ``default`` with what its entry in ``links`` changes."""
        changes = self.links.get(bs)
        if changes is None:
            return self.default
        given = {name: getattr(changes, name) for name in changes.model_fields_set}
        return self.default.model_copy(update=given)

    def laws(self) -> tuple[dict[str, tuple[broker_law.FronthaulLaw, str | None]], dict[str, str]]:
        """The tree of segments ``{segment: (law, parent)}`` and ``{bs: segment}``, for ``broker.Fronthaul``.

        Only of the fronthaul of a loaded scenario: it has the law of every base station's link.
        """
        parents = self.parents()
        segments: dict[str, LawPart] = {**self.links, **self.shared}
        tree = {name: (segment.law(), parents.get(name)) for name, segment in segments.items()}
        return tree, {bs: bs for bs in self.links}
