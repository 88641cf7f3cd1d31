"""Congestion control at the base stations, as written in a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, model_validator

from sim.scenario.errors import problem
from sim.scenario.part import Count, Part
from sim.scenario.units import Duration, PositiveDuration, PositiveLength, Share


class FixedPolicy(Part):
    """Every message as `model` says."""

    kind: Literal["fixed"]


class FitPolicy(Part):
    """Messages shortened to what the link can carry before the deadline; nothing is sent if none fits."""

    kind: Literal["fit"]
    min_bits: Annotated[Count, Field(ge=1, le=16)] = Field(
        default=2, description="least bits per number of the embedding"
    )
    reserve: Duration = Field(default=1e-3, description="time to spare before the deadline")


class DeltaPolicy(Part):
    """Messages only when the embedding has moved away from the one last sent."""

    kind: Literal["delta"]
    bound: Share = Field(default=0.5, description="how far, over the length of the one last sent")
    at_least_every: PositiveDuration = Field(default=1.0, description="longest silence about a UE")


class InnovationPolicy(Part):
    """Messages only when a tracker fed with those sent so far would be wrong by more than a bound."""

    kind: Literal["innovation"]
    bound: PositiveLength = Field(default=1.0, description="how wrong its prediction may be")
    at_least_every: PositiveDuration = Field(
        default=1.0, description="silence about a UE ends with each multiple of it"
    )


class FilePolicy(Part):
    """A policy of one's own: a Python file with `policy(heard)` or `make_policy(bs, link)`."""

    kind: Literal["file"]
    file: str | None = Field(
        default=None, exclude=True, description="Python file, found relative to the scenario; it is run"
    )
    source: str | None = Field(default=None, description="the same inline, as text")

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("file"), str) or "source" in value:
            return value
        path = Path((info.context or {}).get("folder", ".")) / value["file"]
        try:
            return {**value, "source": path.read_text(encoding="utf-8")}
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise problem(f"{path}: cannot be read: {reason}", ("file",)) from error

    @model_validator(mode="after")
    def _has_source(self) -> FilePolicy:
        if self.source is None:
            raise problem("needs a file", ("file",))
        return self


def by_kind(value: Any) -> Any:
    """A kind alone stands for a mapping with it."""
    return {"kind": value} if isinstance(value, str) else value


Policy = Annotated[
    FixedPolicy | FitPolicy | InnovationPolicy | DeltaPolicy | FilePolicy, Field(discriminator="kind")
]
