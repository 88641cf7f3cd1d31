from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from sim.scenario import ScenarioError
from sim.study.axis import axis_of
from sim.study.spec import Study, decides_embeddings, load_study, split

SPIRAL = Path(__file__).resolve().parents[3] / "scenarios" / "spiral.yaml"


def labels(study: Study) -> list[tuple[str, ...]]:
    return [tuple(value.label for value in group) for group in study.groups]


def test_commas_on_the_command_line_make_a_grid() -> None:
    study = load_study(
        SPIRAL, ["model.bits=4,6", "fronthaul.default.capacity=100kbit/s,1Mbit/s", "seed=7"], 3
    )
    assert labels(study) == [(a, b) for a in ("4", "6") for b in ("100kbit/s", "1Mbit/s")]
    assert [value.number for value in study.groups[1]] == [4.0, 1e6]
    points = list(study.points())
    assert len(points) == 12
    scenario = study.scenario(points[-1])
    assert (scenario.seed, scenario.model.bits, scenario.fronthaul.default.capacity) == (9, 6, 1e6)


def test_commas_within_brackets_do_not_part() -> None:
    assert split("[1 m, 2 m],[3 m, 4 m]") == ["[1 m, 2 m]", "[3 m, 4 m]"]
    assert split("'a,b',c") == ["'a,b'", "c"]


def test_ranges_have_round_values_in_units() -> None:
    axis = axis_of("x", {"from": "50 kbit/s", "to": "10 Mbit/s", "steps": 4, "scale": "log"})
    assert [value.label for value in axis.values] == ["50 kbit/s", "292 kbit/s", "1.71 Mbit/s", "10 Mbit/s"]
    assert [value.changes["x"] for value in axis_of("x", {"from": 1, "to": 4, "steps": 9}).values] == [
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({"from": 1000, "to": 1005, "steps": 6}, ["1000", "1001", "1002", "1003", "1004", "1005"]),
        ({"from": "3.502 GHz", "to": "3.508 GHz", "steps": 3}, ["3502 MHz", "3505 MHz", "3508 MHz"]),
        ({"from": "99.95 %", "to": "99.99 %", "steps": 3}, ["99.95 %", "99.97 %", "99.99 %"]),
        ({"from": "1234 kbit/s", "to": "5678 kbit/s"}, ["1234 kbit/s", "5678 kbit/s"]),
        ({"from": 10, "to": 1, "steps": 4}, ["10", "7", "4", "1"]),
    ],
)
def test_ranges_have_the_values_that_were_asked_for(given: dict[str, Any], labels: list[str]) -> None:
    assert [value.label for value in axis_of("x", given).values] == labels


def test_whole_numbers_of_a_range_are_drawn_alike() -> None:
    span = axis_of("x", {"from": 4, "to": 10}).span
    assert span is not None
    drawn = [span.drawn((k + 0.5) / 700).label for k in range(700)]
    assert {label: drawn.count(label) for label in drawn} == {str(number): 100 for number in range(4, 11)}


@pytest.mark.parametrize("steps", [1, 100_001, True])
def test_a_range_has_a_number_of_steps(steps: int) -> None:
    with pytest.raises(PydanticCustomError, match="must be a whole number from 2 to 100,000"):
        axis_of("x", {"from": 1, "to": 2, "steps": steps})


def test_a_seed_that_is_none_is_one_line() -> None:
    with pytest.raises(ScenarioError, match="seed"):
        load_study(SPIRAL, ["seed=1,abc"])


def test_one_value_can_go_to_several_keys() -> None:
    axis = axis_of("a", {"values": [1, 2], "also": ["b"]})
    assert axis.values[1].changes == {"a": 2, "b": 2}


@pytest.mark.parametrize("method", ["random", "latin_hypercube"])
def test_samples_are_the_same_again_and_cover_the_range(tmp_path: Path, method: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        f"""
study:
  scenario: {SPIRAL}
  sample: {{method: {method}, points: 20, seed: 3}}
  sweep:
    cu.deadline: {{from: 10 ms, to: 110 ms}}
    model.bits: [4, 6, 8, 10]
"""
    )
    study, again = load_study(file), load_study(file)
    assert labels(study) == labels(again)
    deadlines = sorted(value.number or 0 for value, _ in study.groups)
    assert len(deadlines) == 20
    if method == "latin_hypercube":
        assert all(0.01 + 0.005 * k <= at <= 0.0151 + 0.005 * k for k, at in enumerate(deadlines))
        assert sorted(bits.label for _, bits in study.groups) == sorted(["4", "6", "8", "10"] * 5)


def test_an_axis_that_is_added_does_not_shift_the_others(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    text = f"study:\n  scenario: {SPIRAL}\n  sample: {{points: 5}}\n  sweep:\n"
    text += "    cu.deadline: {from: 10 ms, to: 99 ms}\n"
    file.write_text(text)
    one = [group[0].label for group in load_study(file).groups]
    file.write_text(text + "    model.bits: [4, 6]\n")
    assert [group[0].label for group in load_study(file).groups] == one


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("{cu.deadlin: [1 ms]}", "override cu.deadlin cu.deadlin: unknown key; did you mean 'deadline'?"),
        ("{cu.deadline: []}", "study.yaml:3:24 study.sweep.cu.deadline: needs at least one value"),
        ("{cu.deadline: {from: 1 ms}}", "study.sweep.cu.deadline.to: required, but missing"),
        ("{cu.deadline: {from: 1 ms, to: 3 m}}", "is of another dimension than `from`"),
        ("{cu.deadline: {from: 1 ms, to: 2 ms, stepz: 3}}", "unknown key; allowed: from, to, steps"),
        ("{model.bits: [4, 6, 4]}", "study.yaml:3:30 study.sweep.model.bits[2]: '4' is there already"),
        (
            "{cu.deadline: {values: [0.1 s, 100 ms], also: [tracker.max_coast]}}",
            "study.sweep.cu.deadline.values[1]: '100 ms' is there already, as '0.1 s'",
        ),
        ("{}", "needs at least 1, has 0"),
    ],
)
def test_mistakes_are_one_line_with_their_place(tmp_path: Path, sweep: str, message: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(f"study:\n  scenario: {SPIRAL}\n  sweep: {sweep}\n")
    with pytest.raises(ScenarioError) as caught:
        load_study(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.bits=4,4", "model.bits: '4' is there already"),
        ("model.bits=4,6, 4", "model.bits: '4' is there already"),
        ("seed=7,0x7", "seed: '7' is there already"),
        (
            "fronthaul.default.capacity=1 Mbit/s,1000 kbit/s",
            "fronthaul.default.capacity: '1000 kbit/s' is there already, as '1 Mbit/s'",
        ),
        ("ues.ue1.rate=10 Hz,nan,nan", "ues.ue1.rate: 'nan' is there already"),
    ],
)
def test_a_value_that_comes_twice_on_the_command_line_is_one_line(override: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_study(SPIRAL, [override])
    assert str(caught.value) == f"override {override} {said}"


def test_nothing_to_vary_is_a_mistake() -> None:
    with pytest.raises(ScenarioError, match="nothing to vary"):
        load_study(SPIRAL, ["seed=2"])


def test_only_what_comes_before_quantisation_decides_embeddings() -> None:
    assert not decides_embeddings("model.bits")
    assert not decides_embeddings("fronthaul.links.bs1.capacity")
    assert decides_embeddings("model.name")
    assert decides_embeddings("seed")
    assert decides_embeddings("ues.ue1.rate")
