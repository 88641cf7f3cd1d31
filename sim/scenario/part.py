"""What all parts of a scenario have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from broker.frame import DEFAULT_LIMITS
from sim.scenario.errors import problem, suggestion

MOST_ID_CHARS = DEFAULT_LIMITS.name_chars
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=MOST_ID_CHARS)]
Count = Annotated[int, Field(strict=True)]


class Part(BaseModel):
    """A frozen piece of a scenario that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _knows_every_key(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            allowed = cls.keys()
            for key in value:
                if key not in allowed:
                    raise problem(f"unknown key; {suggestion(str(key), allowed)}", (key,), at_key=True)
        return value

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """The keys of the part in a scenario file."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())
