"""What a study varies: axes, each with values that change one key of the scenario or several together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sim.scenario.errors import problem, quoted
from sim.scenario.units import (
    ACCELERATION,
    ANGLE,
    DATA_RATE,
    FREQUENCY,
    LENGTH,
    LEVEL,
    NUMBER_AND_UNIT,
    POWER,
    SHARE,
    SIZE,
    SPEED,
    TIME,
    Dimension,
    format_quantity,
    parse,
)

DIMENSIONS = (
    TIME,
    LENGTH,
    SPEED,
    ACCELERATION,
    FREQUENCY,
    DATA_RATE,
    SIZE,
    SHARE,
    POWER,
    LEVEL,
    ANGLE,
)
DRAWN_PARTS = 100
MOST_STEPS = 100_000
RANGE_KEYS = ("from", "to", "steps", "scale", "also")


@dataclass(frozen=True)
class Value:
    """One value of an axis: what it is called, its number in SI units if it has one, and what it changes."""

    label: str
    number: float | None
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Range:
    """A span of values of a key, to be sampled or divided into steps.

    Its ends are what they are; values between them have three digits, or more where a tenth of a step, or for
    drawn ones a thousandth of the span, needs more.
    """

    keys: tuple[str, ...]
    low: float
    high: float
    log: bool
    whole: bool
    dimension: Dimension | None
    steps: int = 2

    def at(self, share: float) -> Value:
        """The value that so much of the span lies below; `share` in [0, 1]."""
        return self._value(self._between(self.low, self.high, share, self.steps - 1))

    def drawn(self, share: float) -> Value:
        """The same for a share that was drawn from [0, 1): all whole numbers of a span are as likely."""
        low, high = sorted((self.low, self.high))
        if not self.whole:
            return self._value(self._between(low, high, share, DRAWN_PARTS))
        return self._value(min(math.floor(self._between(low, high + 1, share, DRAWN_PARTS)), high))

    def _between(self, low: float, high: float, share: float, steps: int) -> float:
        if share in (0, 1):
            return low if share == 0 else high
        if self.log:
            span = math.log(high) - math.log(low)
            number = math.exp(math.log(low) + share * span)
            finest = number * abs(span) / steps / 10
        else:
            number = low + share * (high - low)
            finest = abs(high - low) / steps / 10
        if not finest or not number:
            return number
        return round(number, -math.floor(math.log10(min(finest, abs(number) / 100))))

    def _value(self, number: float) -> Value:
        if self.whole:
            number = round(number)
        plain: Any = int(number) if self.whole else number
        value = plain if self.dimension is None else format_quantity(number, self.dimension)
        return Value(str(value), float(number), dict.fromkeys(self.keys, value))


@dataclass(frozen=True)
class Axis:
    """A name and its values; with a span, values between them can be sampled."""

    name: str
    values: tuple[Value, ...]
    span: Range | None = field(default=None)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the scenario that it changes."""
        return tuple(dict.fromkeys(key for value in self.values for key in value.changes))


def dimension_of(text: object) -> Dimension | None:
    """The dimension of a quantity such as ``10 Mbit/s``; None for anything else."""
    match = NUMBER_AND_UNIT.fullmatch(text) if isinstance(text, str) else None
    if match is None or not match[2]:
        return None
    return next((known for known in DIMENSIONS if known.size_of(match[2]) is not None), None)


def number_of(value: object) -> float | None:
    """A number or quantity in SI units; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    dimension = dimension_of(value)
    if dimension is not None:
        return parse(value, dimension)
    try:
        return float(str(value))
    except ValueError:
        return None


def value_of(value: Any, keys: Sequence[str]) -> Value:
    """A value of an axis that sets each key to it."""
    label = str(value).lower() if isinstance(value, bool) else str(value)
    return Value(label, number_of(value), dict.fromkeys(keys, value))


def axis_of(name: str, given: Any) -> Axis:
    """An axis from what a study file says: a list, a range, or labels with changes.

    Raises a validation error, placed below the axis.
    """
    if isinstance(given, list):
        if not given:
            raise problem("needs at least one value")
        return Axis(name, each_once([value_of(value, [name]) for value in given]))
    if not isinstance(given, Mapping):
        return Axis(name, (value_of(given, [name]),))
    if "from" in given or "to" in given:
        return range_axis(name, given)
    if "values" in given:
        keys = [name, *listed(given, "also")]
        unknown(given, ("values", "also"))
        if not isinstance(given["values"], list) or not given["values"]:
            raise problem("must be a list of values", ("values",))
        return Axis(name, each_once([value_of(value, keys) for value in given["values"]], ("values",)))
    values = []
    for label, changes in given.items():
        if not isinstance(changes, Mapping):
            raise problem("must be a mapping of keys to values, {} for no change", (label,))
        values.append(Value(label, number_of(label), dict(changes)))
    if not values:
        raise problem("needs at least one value")
    return Axis(name, tuple(values))


def each_once(values: Sequence[Value], below: tuple[str, ...] = ()) -> tuple[Value, ...]:
    """The values of a list; raises a validation error for one that comes twice, also in other words."""
    known: dict[str | float, Value] = {}
    for index, value in enumerate(values):
        names: list[str | float] = [value.label, *([] if value.number is None else [value.number])]
        first = next((known[name] for name in names if name in known), None)
        if first is not None:
            other = "" if first.label == value.label else f", as {quoted(first.label)}"
            raise problem(f"{quoted(value.label)} is there already{other}", (*below, index))
        known |= dict.fromkeys(names, value)
    return tuple(values)


def range_axis(name: str, given: Mapping[str, Any]) -> Axis:
    """An axis from ``{from: ..., to: ..., steps: ..., scale: log}``; raises a validation error."""
    unknown(given, RANGE_KEYS)
    ends = []
    for end in ("from", "to"):
        if end not in given:
            raise problem("required, but missing", (end,))
        number = number_of(given[end])
        if number is None:
            raise problem(f"must be a number or a quantity, not '{given[end]}'", (end,))
        ends.append(number)
    dimension = dimension_of(given["from"])
    if dimension is not dimension_of(given["to"]):
        raise problem("is of another dimension than `from`", ("to",))
    scale = given.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise problem(f"'{scale}' is not allowed; allowed: linear, log", ("scale",))
    if scale == "log" and min(ends) <= 0:
        raise problem("a logarithmic scale needs positive ends", ("scale",))
    steps = given.get("steps", 2)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 2 <= steps <= MOST_STEPS:
        raise problem(f"must be a whole number from 2 to {MOST_STEPS:,}, not {steps}", ("steps",))
    whole = all(isinstance(given[end], int) for end in ("from", "to"))
    span = Range((name, *listed(given, "also")), ends[0], ends[1], scale == "log", whole, dimension, steps)
    values = {
        value.label: value for value in (span.at(step / (steps - 1)) for step in range(steps))
    }  # whole numbers may come twice
    return Axis(name, tuple(values.values()), span)


def listed(given: Mapping[str, Any], key: str) -> list[str]:
    """A key's list of texts, or nothing; raises a validation error."""
    found = given.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise problem("must be a list of keys", (key,))
    return list(found)


def unknown(given: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Raise a validation error for a key that is not allowed."""
    for key in given:
        if key not in allowed:
            raise problem(f"unknown key; allowed: {', '.join(allowed)}", (key,), at_key=True)
