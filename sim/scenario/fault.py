"""Faults, as written in a scenario: at scripted or at random times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from sim.scenario.part import Part
from sim.scenario.units import Capacity, Duration, PositiveDuration, Share

ANY = "any"


class OfBs(Part):
    """A fault of a base station."""

    bs: str = Field(description="base station that fails; a random fault may say `any`")

    @property
    def target(self) -> str:
        """Id of the base station."""
        return self.bs


class OfLink(Part):
    """A fault of a link."""

    link: str = Field(
        description="base station or shared segment whose link fails; a random fault may say `any`"
    )

    @property
    def target(self) -> str:
        """Id of the link."""
        return self.link


class Scripted(Part):
    """A fault at a time."""

    at: Duration = Field(description="when it begins")
    lasts: PositiveDuration | None = Field(
        default=None, alias="for", description="how long; absent: to the end of the run"
    )


class Random(Part):
    """Faults again and again."""

    every: PositiveDuration = Field(description="mean time between two beginnings (exponential)")
    lasts: PositiveDuration = Field(alias="for", description="how long each lasts")


class BsDown(OfBs):
    """A base station sends nothing."""

    kind: Literal["bs_down"]


class LinkOutage(OfLink):
    """A link carries nothing; what is on it is lost."""

    kind: Literal["link_outage"]


class CapacityChange(OfLink):
    """A link has another capacity."""

    kind: Literal["capacity"]
    to: Capacity = Field(description="capacity while it lasts")


class LatencyChange(OfLink):
    """A link has another latency."""

    kind: Literal["latency"]
    to: Duration = Field(description="one-way latency while it lasts")


class LossBurst(OfLink):
    """A link loses frames at random."""

    kind: Literal["loss_burst"]
    rate: Share = Field(description="share of frames lost while it lasts")


class ScriptedBsDown(Scripted, BsDown):
    """A base station sends nothing from a time on."""


class ScriptedLinkOutage(Scripted, LinkOutage):
    """A link carries nothing from a time on."""


class ScriptedCapacityChange(Scripted, CapacityChange):
    """A link has another capacity from a time on."""


class ScriptedLatencyChange(Scripted, LatencyChange):
    """A link has another latency from a time on."""


class ScriptedLossBurst(Scripted, LossBurst):
    """A link loses frames from a time on."""


class RandomBsDown(Random, BsDown):
    """Base stations send nothing, at random times."""


class RandomLinkOutage(Random, LinkOutage):
    """Links carry nothing, at random times."""


class RandomCapacityChange(Random, CapacityChange):
    """Links have another capacity, at random times."""


class RandomLatencyChange(Random, LatencyChange):
    """Links have another latency, at random times."""


class RandomLossBurst(Random, LossBurst):
    """Links lose frames, at random times."""


RandomFault = Annotated[
    RandomBsDown | RandomLinkOutage | RandomCapacityChange | RandomLatencyChange | RandomLossBurst,
    Field(discriminator="kind"),
]


class RandomFaults(Part):
    """A fault that comes again and again at random times."""

    random: RandomFault = Field(description="the fault, with `every` instead of `at`")


def tag_of(value: Any) -> str | None:
    """Which kind of entry of the list ``faults`` a mapping is."""
    if isinstance(value, RandomFaults) or (isinstance(value, Mapping) and "random" in value):
        return "random"
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return kind if isinstance(kind, str) else None


ScriptedFault = (
    ScriptedBsDown | ScriptedLinkOutage | ScriptedCapacityChange | ScriptedLatencyChange | ScriptedLossBurst
)
AnyFault = Annotated[
    Annotated[ScriptedBsDown, Tag("bs_down")]
    | Annotated[ScriptedLinkOutage, Tag("link_outage")]
    | Annotated[ScriptedCapacityChange, Tag("capacity")]
    | Annotated[ScriptedLatencyChange, Tag("latency")]
    | Annotated[ScriptedLossBurst, Tag("loss_burst")]
    | Annotated[RandomFaults, Tag("random")],
    Discriminator(tag_of),
]
Fault = BsDown | LinkOutage | CapacityChange | LatencyChange | LossBurst
