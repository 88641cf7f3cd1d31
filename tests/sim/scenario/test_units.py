import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sim.scenario import units
from sim.scenario.reference import DIMENSIONS
from sim.scenario.units import Dimension, Unit, format_quantity, parse


@pytest.mark.parametrize(
    ("text", "dimension", "expected"),
    [
        ("10 Mbit/s", units.DATA_RATE, 10e6),
        ("500 kbit/s", units.DATA_RATE, 500e3),
        ("2 ms", units.TIME, 2e-3),
        ("2ms", units.TIME, 2e-3),
        ("0.2 µs", units.TIME, 0.2e-6),
        ("1.5 h", units.TIME, 5400.0),
        ("3.5 GHz", units.FREQUENCY, 3.5e9),
        ("64 kB", units.SIZE, 64_000.0),
        ("64 KiB", units.SIZE, 65_536.0),
        ("0.1 %", units.SHARE, 0.001),
        ("-1.1 m", units.LENGTH, -1.1),
        ("1e-3 km", units.LENGTH, 1.0),
        ("36 km/h", units.SPEED, 10.0),
        ("1 m/s²", units.ACCELERATION, 1.0),
        ("23 dBm", units.POWER, 23.0),
    ],
)
def test_reads_a_number_with_its_unit(text: str, dimension: Dimension, expected: float) -> None:
    assert parse(text, dimension) == expected


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda dimension: dimension.name)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_reads_back_exactly(dimension: Dimension, value: float) -> None:
    assert parse(format_quantity(value, dimension), dimension) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 s"), (2e-3, "2 ms"), (30.0, "30 s"), (1e-7, "100 ns"), (1.5, "1.5 s"), (5400.0, "5400 s")],
)
def test_writes_short(value: float, text: str) -> None:
    assert format_quantity(value, units.TIME) == text


@given(text=st.text(max_size=20))
def test_any_text_is_a_number_or_a_validation_error(text: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(units.Duration)
    with contextlib.suppress(ValidationError):
        assert math.isfinite(adapter.validate_python(text))


@pytest.mark.parametrize(
    ("unit", "value", "message"),
    [
        (
            Unit(units.DATA_RATE, more_than=0.0),
            "-5 Mbit/s",
            "-5 Mbit/s is not allowed: must be more than 0 bit/s",
        ),
        (
            Unit(units.SHARE, at_least=0.0, at_most=1.0),
            "101 %",
            "101 % is not allowed: must be at most 100 %",
        ),
        (Unit(units.TIME), 5, "5 has no unit: write for example 2 ms (units: ns, us, ms, s, min, h)"),
        (Unit(units.TIME), "5", "5 has no unit: write for example 2 ms (units: ns, us, ms, s, min, h)"),
        (
            Unit(units.SIZE),
            "64 kbit",
            "'kbit' is not a unit of size: write for example 64 kB (units: B, kB, KiB, MB, MiB)",
        ),
        (
            Unit(units.LENGTH),
            "far",
            "'far' is not a length: write for example 6 m (units: mm, cm, m, km)",
        ),
        (Unit(units.LENGTH), True, "must be a length: write for example 6 m (units: mm, cm, m, km)"),
        (Unit(units.LENGTH), "1e400 m", "1e400 is too large"),
    ],
)
def test_says_what_is_wrong(unit: Unit, value: object, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        unit.read(value)
    assert str(raised.value) == message


def test_a_word_stands_for_no_limit() -> None:
    unit = Unit(units.DATA_RATE, unlimited=True)
    assert unit.read("unlimited") is None
    assert unit.write(None) == "unlimited"
