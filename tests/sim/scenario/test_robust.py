"""Whatever stands in a file, loading gives a scenario or a ScenarioError of one line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scenario import ScenarioError, load_scenario, parse_scenario

SPIRAL = Path(__file__).parents[3] / "scenarios" / "spiral.yaml"
RICH = {
    "faults": [
        {"at": "1 s", "kind": "capacity", "link": "bs1", "to": "1 Mbit/s", "for": "1 s"},
        {"random": {"kind": "bs_down", "bs": "any", "every": "5 s", "for": "1 s"}},
    ],
    "fronthaul.shared": {"core": {"members": ["bs1", "bs2"], "capacity": [["0 s", "1 Mbit/s"]]}},
    "fronthaul.links": {"bs2": {"outages": [{"at": "1 s", "for": "1 s"}]}},
    "model.per_bs": {"bs3": {"bits": 4}},
    "deployment.sites": {"bs7": {"position": ["1 m", "2 m", "3 m"]}},
}


def paths(value: Any, path: str = "") -> Iterator[str]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from paths(below, f"{path}.{key}".lstrip("."))


PATHS = sorted(paths(load_scenario(SPIRAL, RICH).to_mapping()))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["1 s", "0 s", "-1 m", "1e300 m", "1 Hz", "1e-300 s", "5 %", "bs1", "any", "unlimited", "none"]
    ),
)
values = st.recursive(
    scalars,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(
            st.sampled_from(["kind", "at", "bs1", "random", "trajectory", "x"]), below, max_size=3
        ),
    ),
    max_leaves=6,
)


def one_line(load: Callable[[], object]) -> str:
    """What is said if it does not load."""
    try:
        load()
    except ScenarioError as error:
        line = str(error)
    else:
        return ""
    assert len(line.splitlines()) == 1
    return line


@settings(deadline=None, max_examples=150)
@given(path=st.sampled_from(PATHS), value=values)
def test_any_value_anywhere(path: str, value: Any) -> None:
    line = one_line(lambda: load_scenario(SPIRAL, RICH | {path: value}))
    assert line == "" or line.startswith(("override ", str(SPIRAL)))


@settings(deadline=None)
@given(text=st.text(max_size=60))
def test_any_text(text: str) -> None:
    one_line(lambda: parse_scenario(text))


@settings(deadline=None)
@given(position=st.integers(0, 1000), text=st.text(alphabet=" \t\n:-[]{}#&*!|>'\"%@`,?0a", max_size=4))
def test_a_damaged_file(position: int, text: str) -> None:
    whole = SPIRAL.read_text(encoding="utf-8")
    one_line(lambda: parse_scenario(whole[:position] + text + whole[position + len(text) :]))


def test_aliases_of_aliases_are_not_followed_for_ever() -> None:
    """Five lines that say ten thousand million values."""
    lines = ["a0: &a0 [" + ", ".join(["1"] * 100) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 100) + "]" for n in range(1, 5)]
    with pytest.raises(ScenarioError, match=r"^s\.yaml:\d+:\d+ a\d.*: aliases make too much of it$"):
        parse_scenario("\n".join(lines), file="s.yaml")
