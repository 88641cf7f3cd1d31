"""What a report says in words, of results that are known."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pyarrow as pa
import pytest

from sim.study import analysis
from sim.study.analysis import (
    Results,
    age_in_words,
    availability_in_words,
    axes_of,
    error_in_words,
    in_words,
    latency_in_words,
    needs_in_words,
    rate,
)

Cells = Mapping[Any, float]
GOOD = {
    analysis.ERROR: 1.0,
    analysis.AVAILABILITY: 1.0,
    analysis.AGE: 0.1,
    analysis.LATENCY: 0.01,
    analysis.WIRE: 1e5,
}


def results(axes: Mapping[str, Sequence[Any]], seeds: int = 2, **cells: Cells) -> Results:
    """Results over some axes, of numbers or of words, with figures that differ from `GOOD` in some cells."""
    names = {"error": analysis.ERROR, "comes": analysis.AVAILABILITY, "age": analysis.AGE}
    names |= {"late": analysis.LATENCY, "wire": analysis.WIRE}
    rows = []
    for seed in range(seeds):
        for group, values in enumerate(product(*axes.values())):
            row = {"group": group, "repeat": seed, "error": None} | GOOD
            row |= dict(zip(axes, values, strict=True))
            row |= {names[name]: cell[values] for name, cell in cells.items() if values in cell}
            rows.append(row)
    told = [
        {
            "name": name,
            "numeric": not isinstance(values[0], str),
            "values": [[value if isinstance(value, str) else f"{value} kbit/s", value] for value in values],
        }
        for name, values in axes.items()
    ]
    return Results(pa.Table.from_pylist(rows), axes_of({"study": {"axes": told}}))


LINKS: dict[str, list[Any]] = {"link.capacity": [1.0, 2.0, 3.0, 4.0], "model.bits": ["few", "some", "many"]}


def test_needs_are_told_for_each_value_of_the_second_axis() -> None:
    comes = {(1.0, "some"): 0.5, (2.0, "some"): 0.98} | {
        (value, "many"): 0.2 for value in LINKS["link.capacity"]
    }
    found = results(LINKS, comes=comes)
    assert needs_in_words(found, *found.axes) == (
        "99 % of the fixes come, by capacity for each bits: "
        "always with few, from 3.0 kbit/s with some, never with many."
    )


def test_needs_may_have_an_upper_end() -> None:
    found = results(LINKS, comes={(3.0, "few"): 0.9, (4.0, "few"): 0.1})
    assert needs_in_words(found, *found.axes) == (
        "99 % of the fixes come, by capacity for each bits: "
        "up to 2.0 kbit/s with few, always with some, always with many."
    )


def test_nothing_is_needed_where_fixes_always_come() -> None:
    found = results(LINKS)
    assert needs_in_words(found, *found.axes) == ""


def test_ninety_nine_percent_are_enough() -> None:
    found = results(LINKS, comes={(1.0, "few"): 0.99, (2.0, "few"): 0.9899})
    assert "from 3.0 kbit/s with few" not in needs_in_words(
        results(LINKS, comes={(1.0, "few"): 0.99}), *found.axes
    )
    assert "with few" in needs_in_words(found, *found.axes)


@pytest.mark.parametrize(
    ("comes", "said"),
    [
        ({(1.0,): 0.5}, "From 2.0 kbit/s of capacity on, 99 % of the fixes come."),
        ({(4.0,): 0.5}, "Up to 3.0 kbit/s of capacity, 99 % of the fixes come."),
        (
            {(1.0,): 0.1, (2.0,): 0.2, (3.0,): 0.6, (4.0,): 0.5},
            "No capacity alone brings 99 % of the fixes; 3.0 kbit/s brings most of them, 60 %.",
        ),
        ({(1.0,): 0.5, (4.0,): 0.5}, ""),
        ({}, ""),
    ],
)
def test_availability_over_numbers(comes: Cells, said: str) -> None:
    found = results({"link.capacity": LINKS["link.capacity"]}, comes=comes)
    assert availability_in_words(found, found.axes[0]) == said


def test_availability_over_words_names_the_worst() -> None:
    found = results({"policy": ["a", "b", "c"]}, comes={("b",): 0.25})
    assert availability_in_words(found, found.axes[0]) == "Fewest fixes come with policy b: 25 %."


def test_age_is_told_over_words_where_it_matters() -> None:
    found = results({"policy": ["a", "b"]}, age={("b",): 0.16})
    said = "The median age of information goes from 100 ms with a to 160 ms with b, over all the rest."
    assert age_in_words(found, found.axes[0]) == said
    found = results({"policy": ["a", "b"]}, age={("b",): 0.149})
    assert age_in_words(found, found.axes[0]) == ""


def test_latency_is_told_where_errors_cannot_be_compared() -> None:
    found = results({"n.ues": [2.0, 5.0]}, late={(5.0,): 0.05}, error={(5.0,): 9.0}, wire={(5.0,): 2e5})
    said = (
        "99 % of the fixes are there within 10.0 ms with ues 2.0 kbit/s "
        "and within 50.0 ms with ues 5.0 kbit/s, "
        "over all the rest."
    )
    assert in_words(found, error=False) == [said]
    same = results({"n.ues": [2.0, 5.0]})
    assert latency_in_words(same, same.axes[0]) == "n.ues hardly matters to the latency of fixes."


def test_errors_over_words_have_no_knee() -> None:
    found = results({"policy": ["a", "b", "c"]}, error={("a",): 3.0, ("b",): 0.5})
    said = "Over policy the track's mean error goes from 0.50 m at b to 3.00 m at a."
    assert error_in_words(found, found.axes[0]) == said


def test_a_straight_line_has_no_knee() -> None:
    axis = LINKS["link.capacity"]
    found = results({"link.capacity": axis}, error={(at,): 5.0 - number for number, at in enumerate(axis)})
    assert error_in_words(found, found.axes[0]).endswith(
        "from 2.00 m at 4.0 kbit/s to 5.00 m at 1.0 kbit/s, without a knee."
    )


def test_errors_are_compared_only_where_fixes_come() -> None:
    comes = {(1.0, bits): 0.0 for bits in LINKS["model.bits"]}
    error = {(1.0, bits): 99.0 for bits in LINKS["model.bits"]}
    said = error_in_words(found := results(LINKS, comes=comes, error=error), found.axes[0])
    assert said == "link.capacity hardly matters, where fixes come at all, to the track's mean error: 0.0 %."


def test_the_front_is_told_with_what_is_enough() -> None:
    error = {("a",): 5.0, ("b",): 1.05, ("c",): 1.0}
    wire = {("a",): 1e3, ("b",): 20e3, ("c",): 3e6}
    told = in_words(results({"policy": ["a", "b", "c"]}, error=error, wire=wire))[-1]
    assert told == (
        "On the Pareto front 1 kbit/s (policy a) give 5.00 m and 3 Mbit/s give 1.00 m; "
        "20 kbit/s (policy b) are enough to stay within 10 % of the best."
    )


@pytest.mark.parametrize(
    ("bps", "said"),
    [
        (12.0, "12 bit/s"),
        (1e3, "1 kbit/s"),
        (343e3, "343 kbit/s"),
        (1.234e7, "12.3 Mbit/s"),
        (2e9, "2 Gbit/s"),
    ],
)
def test_rates_are_short(bps: float, said: str) -> None:
    assert rate(bps) == said
