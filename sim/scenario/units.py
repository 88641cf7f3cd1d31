"""Quantities written as text with a unit (``10 Mbit/s``) and held as plain SI numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, Overflow, localcontext
from functools import lru_cache
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from sim.scenario.errors import problem, quoted

NUMBER_AND_UNIT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*")


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity.

    Attributes:
        name: What it is called in messages.
        units: Its units with their sizes in the one held inside.
        si: The unit held inside.
        example: A good value.
        written: Units used when writing a value, the one for zero first.
        synonyms: Other spellings of units.
        most: More than this, in SI units, no field can be; times are whole nanoseconds of 64 bits inside.
    """

    name: str
    units: tuple[tuple[str, str], ...]
    si: str
    example: str
    written: tuple[str, ...]
    synonyms: tuple[tuple[str, str], ...] = ()
    most: float = math.inf

    def size_of(self, unit: str) -> Decimal | None:
        """The unit in SI units, or None if this dimension has no such unit."""
        sizes = dict(self.units)
        name = dict(self.synonyms).get(unit, unit)
        return Decimal(sizes[name]) if name in sizes else None

    @property
    def allowed(self) -> str:
        """The units as one text, for messages and the reference page."""
        return ", ".join(name for name, _ in self.units)


TIME = Dimension(
    "time",
    (("ns", "1e-9"), ("us", "1e-6"), ("ms", "1e-3"), ("s", "1"), ("min", "60"), ("h", "3600")),
    "s",
    "2 ms",
    written=("s", "ms", "us", "ns"),
    synonyms=(("µs", "us"), ("μs", "us")),
    most=1e9,
)
LENGTH = Dimension(
    "length", (("mm", "1e-3"), ("cm", "1e-2"), ("m", "1"), ("km", "1e3")), "m", "6 m", written=("m",)
)
SPEED = Dimension(
    "speed",
    (("m/s", "1"), ("km/h", "0.2777777777777777777777777777777777777777")),
    "m/s",
    "1.5 m/s",
    written=("m/s",),
)
ACCELERATION = Dimension(
    "acceleration",
    (("m/s2", "1"),),
    "m/s2",
    "1 m/s2",
    written=("m/s2",),
    synonyms=(("m/s^2", "m/s2"), ("m/s²", "m/s2")),
)
FREQUENCY = Dimension(
    "frequency",
    (("Hz", "1"), ("kHz", "1e3"), ("MHz", "1e6"), ("GHz", "1e9")),
    "Hz",
    "10 Hz",
    written=("Hz", "kHz", "MHz", "GHz"),
)
DATA_RATE = Dimension(
    "data rate",
    (("bit/s", "1"), ("kbit/s", "1e3"), ("Mbit/s", "1e6"), ("Gbit/s", "1e9")),
    "bit/s",
    "10 Mbit/s",
    written=("bit/s", "kbit/s", "Mbit/s", "Gbit/s"),
)
SIZE = Dimension(
    "size",
    (("B", "1"), ("kB", "1e3"), ("KiB", "1024"), ("MB", "1e6"), ("MiB", "1048576")),
    "B",
    "64 kB",
    written=("B", "kB", "MB"),
    most=1e9,
)
SHARE = Dimension("share", (("%", "1e-2"),), "1", "0.1 %", written=("%",))
POWER = Dimension("power", (("dBm", "1"),), "dBm", "23 dBm", written=("dBm",))
LEVEL = Dimension("level", (("dB", "1"),), "dB", "5 dB", written=("dB",))
ANGLE = Dimension("angle", (("deg", "1"),), "deg", "90 deg", written=("deg",), synonyms=(("°", "deg"),))


@dataclass(frozen=True)
class Unit:
    """Annotation of a field: text with a unit of ``dimension`` outside, a float in SI inside.

    ``unlimited`` allows that word, held as None.
    """

    dimension: Dimension
    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    unlimited: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read,
            serialization=core_schema.plain_serializer_function_ser_schema(self.write, when_used="json"),
        )

    def read(self, value: object) -> float | None:
        """Parse and check one value; raises a validation error that says what would be allowed."""
        if self.unlimited and value == "unlimited":
            return None
        number = parse(value, self.dimension)
        if text := self.broken_bound(number):
            raise problem(f"{str(value).strip()} is not allowed: must be {text}")
        return number

    def write(self, value: float | None) -> str:
        """The text that reads back as exactly this value."""
        return "unlimited" if value is None else format_quantity(value, self.dimension)

    def broken_bound(self, number: float) -> str | None:
        """The bound that the number breaks, as text, or None."""
        if self.at_least is not None and number < self.at_least:
            return f"at least {format_quantity(self.at_least, self.dimension)}"
        if self.more_than is not None and number <= self.more_than:
            return f"more than {format_quantity(self.more_than, self.dimension)}"
        most = self.dimension.most if self.at_most is None else self.at_most
        if number > most:
            return f"at most {format_quantity(most, self.dimension)}"
        return None


def parse(value: object, dimension: Dimension) -> float:
    """The SI number of a text such as ``10 Mbit/s``, correctly rounded; raises a validation error."""
    advice = f"write for example {dimension.example} (units: {dimension.allowed})"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise problem(f"must be a {dimension.name}: {advice}")
    if isinstance(value, int | float):
        raise problem(f"{value} has no unit: {advice}")
    match = NUMBER_AND_UNIT.fullmatch(value)
    if not match:
        raise problem(f"{quoted(value)} is not a {dimension.name}: {advice}")
    number, unit = match.groups()
    if not unit:
        raise problem(f"{number} has no unit: {advice}")
    size = dimension.size_of(unit)
    if size is None:
        raise problem(f"{quoted(unit)} is not a unit of {dimension.name}: {advice}")
    return in_si(number, size)


def in_si(number: str, size: Decimal) -> float:
    """``number`` times ``size`` as the nearest float; raises a validation error beyond the floats' range."""
    try:
        with localcontext(prec=60):
            result = float(Decimal(number) * size)
    except (InvalidOperation, Overflow, OverflowError) as error:
        raise problem(f"{number} is too large") from error
    if not math.isfinite(result):
        raise problem(f"{number} is too large")
    return result


@lru_cache(maxsize=1 << 14)
def format_quantity(value: float, dimension: Dimension) -> str:
    """A short text in one of the dimension's written units that parses back to exactly ``value``."""
    if value == 0:
        return f"0 {dimension.written[0]}"
    exact = Decimal(repr(float(value)))
    texts = []
    for unit in dimension.written:
        size = dimension.size_of(unit)
        assert size is not None
        with localcontext(prec=40):
            number = (exact / size).normalize()
        if in_si(f"{number}", size) == value:
            texts.append((abs(number) < 1, len(f"{number:f}"), f"{number:f} {unit}"))
    return min(texts)[2] if texts else f"{exact} {dimension.si}"


Duration = Annotated[float, Unit(TIME, at_least=0.0)]
PositiveDuration = Annotated[float, Unit(TIME, more_than=0.0)]
Length = Annotated[float, Unit(LENGTH)]
PositiveLength = Annotated[float, Unit(LENGTH, more_than=0.0)]
PositiveSpeed = Annotated[float, Unit(SPEED, more_than=0.0)]
PositiveAcceleration = Annotated[float, Unit(ACCELERATION, more_than=0.0)]
PositiveFrequency = Annotated[float, Unit(FREQUENCY, more_than=0.0)]
DataRate = Annotated[float, Unit(DATA_RATE, at_least=0.0)]
PositiveDataRate = Annotated[float, Unit(DATA_RATE, more_than=0.0)]
Capacity = Annotated[float | None, Unit(DATA_RATE, more_than=0.0, unlimited=True)]
Size = Annotated[float, Unit(SIZE, at_least=0.0)]
PositiveSize = Annotated[float, Unit(SIZE, at_least=1.0)]
QueueSize = Annotated[float | None, Unit(SIZE, at_least=0.0, unlimited=True)]
Share = Annotated[float, Unit(SHARE, at_least=0.0, at_most=1.0)]
PositiveShare = Annotated[float, Unit(SHARE, more_than=0.0, at_most=1.0)]
Power = Annotated[float, Unit(POWER)]
Level = Annotated[float, Unit(LEVEL)]
Angle = Annotated[float, Unit(ANGLE)]
PointOnMap = tuple[Length, Length]
Point = tuple[Length, Length, Length]
