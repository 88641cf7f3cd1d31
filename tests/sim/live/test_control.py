"""Commands: what is accepted, and what it does to the world."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.faults import FaultEvent
from sim.live.control import Command, CommandError, command_of
from tests.sim.kit import scenario_of

SCENARIO = scenario_of({})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"do": "bs_down", "target": "bs3"}, FaultEvent(7, "bs", "bs3", False)),
        ({"do": "bs_up", "target": "bs3"}, FaultEvent(7, "bs", "bs3", True)),
        ({"do": "link_down", "target": "bs1"}, FaultEvent(7, "link", "bs1", False)),
        ({"do": "throttle", "target": "bs1", "to": 100_000}, FaultEvent(7, "capacity", "bs1", 100_000.0)),
        ({"do": "throttle", "target": "bs1", "to": None}, FaultEvent(7, "capacity", "bs1", 10_000_000)),
        ({"do": "pause"}, None),
        ({"do": "speed", "to": 2}, None),
    ],
)
def test_a_command_becomes_a_fault_or_concerns_the_pace(
    content: dict[str, Any], fault: FaultEvent | None
) -> None:
    assert command_of(content, SCENARIO).fault(SCENARIO, 7) == fault


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"do": "shut_down"},
        {"do": ["bs_down"], "target": "bs1"},
        {"do": "bs_down"},
        {"do": "bs_down", "target": "bs9"},
        {"do": "bs_down", "target": ["bs1"]},
        {"do": "bs_down", "target": "bs1", "to": 1},
        {"do": "bs_down", "target": "bs1", "why": "fun"},
        {"do": "throttle", "target": "bs1", "to": 0},
        {"do": "throttle", "target": "bs1", "to": "1 Mbit/s"},
        {"do": "throttle", "target": "bs1", "to": float("nan")},
        {"do": "throttle", "target": "bs1", "to": float("inf")},
        {"do": "throttle", "target": "bs1", "to": True},
        {"do": "speed"},
        {"do": "speed", "to": 1e9},
        {"do": "speed", "to": -1},
        {"do": "pause", "target": "bs1"},
    ],
)
def test_anything_else_is_refused(content: Any) -> None:
    with pytest.raises(CommandError):
        command_of(content, SCENARIO)


@given(st.dictionaries(st.sampled_from(["do", "target", "to"]), json_values) | json_values)
def test_no_content_does_more_than_be_refused(content: Any) -> None:
    with suppress(CommandError):
        assert isinstance(command_of(content, SCENARIO), Command)
