"""The parts of the report's figures: axes, histograms, the 90 % radius, the outline of the city."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.city import HeightMap
from sim.report.axes import clock, linear_axis, time_axis
from sim.report.city import TOLERANCE_STEPS, outlines
from sim.report.histogram import LogHistogram
from sim.report.plan import PLANE_90, UNITS, Box, Plan
from sim.report.svg import band_path, element, line_path, text
from sim.report.view import radius_90


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0, 37.0, ["0", "10", "20", "30"]),
        (-0.5, 0.5, ["-0.4", "-0.2", "0.0", "0.2", "0.4"]),
        (0.0, 12.0, ["0.0", "2.5", "5.0", "7.5", "10.0"]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, labels: list[str]) -> None:
    axis = linear_axis(low, high)
    assert [label for _, label in axis.ticks] == labels
    assert (axis.low, axis.high) == (low, high)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_any_axis_has_a_few_ticks_inside(low: float, length: float) -> None:
    axis = linear_axis(low, low + length)
    assert 1 <= len(axis.ticks) <= 7
    near = 1e-6 * length
    assert all(axis.low - near <= value <= axis.high + near for value, _ in axis.ticks)


@pytest.mark.parametrize("ends", [(3.0, 3.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_axis_without_extent_is_one_long(ends: tuple[float, float]) -> None:
    axis = linear_axis(*ends)
    assert axis.high - axis.low == 1.0


@pytest.mark.parametrize(
    ("duration_s", "labels"),
    [
        (30.0, ["0", "5", "10", "15", "20", "25", "30"]),
        (0.5, ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        (600.0, ["0:00", "2:00", "4:00", "6:00", "8:00", "10:00"]),
        (3600.0, ["0:00:00", "0:10:00", "0:20:00", "0:30:00", "0:40:00", "0:50:00", "1:00:00"]),
    ],
)
def test_time_ticks(duration_s: float, labels: list[str]) -> None:
    assert [label for _, label in time_axis(duration_s).ticks] == labels


def test_clock() -> None:
    assert clock(12.5, 30.0) == "12.5"
    assert clock(75.0, 600.0) == "1:15"
    assert clock(3725.0, 7200.0) == "1:02:05"


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=50), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_histogram_knows_quantiles_to_half_a_percent(values: list[float], share: float) -> None:
    histogram = LogHistogram(1e-3, 1e3)
    histogram.add([*values, float("nan")])
    assert histogram.total == len(values)
    exact = np.quantile(values, share, method="inverted_cdf")
    assert exact <= histogram.quantile(share) * (1 + 1e-9)
    assert histogram.quantile(share) <= exact * 1.0047


def test_histogram_without_values() -> None:
    histogram = LogHistogram(1e-3, 1e3)
    assert np.isnan(histogram.quantile(0.5))
    assert [len(part) for part in histogram.cumulative()] == [0, 0]


@pytest.mark.parametrize(
    ("deviations_m", "radius_m"),
    [((2.0, 2.0, 2.0), 2 * 2.5003), ((1.0, 1.0, 0.0), 2.1460), ((1.0, 0.0, 0.0), 1.6449)],
)
def test_radius_90_of_known_cases(deviations_m: tuple[float, ...], radius_m: float) -> None:
    xx, yy, zz = np.square(deviations_m)
    radius = radius_90(np.array([[xx], [0.0], [0.0], [yy], [0.0], [zz]]))
    assert radius[0] == pytest.approx(radius_m, rel=0.015)


def test_radius_90_holds_nine_in_ten_draws() -> None:
    random = np.random.default_rng(5)
    root = np.array([[1.0, 0.0, 0.0], [0.7, 0.4, 0.0], [-0.5, 0.2, 2.0]])
    covariance = root @ root.T
    upper = covariance[np.triu_indices(3)]
    distance = np.linalg.norm(random.normal(size=(100_000, 3)) @ root.T, axis=1)
    inside = float((distance <= radius_90(upper[:, None])[0]).mean())
    assert inside == pytest.approx(0.9, abs=0.01)


def test_radius_90_of_the_unknown_is_unknown() -> None:
    assert np.isnan(radius_90(np.full((6, 1), np.nan))[0])


def test_paths_lift_the_pen_at_gaps() -> None:
    nothing = float("nan")
    assert line_path([0, 10, nothing, 30, 40], [0, -5, 0, 1, 2]) == "M0 0l10-5M30 1l10 1"
    assert band_path([0, 10, nothing, 30], [0, 0, 0, 0], [1, 2, 3, 4]).count("z") == 2


def test_text_and_attributes_are_escaped() -> None:
    assert text("a<b&c", x=1) == '<text x="1">a&lt;b&amp;c</text>'
    assert element("g", data_ue='"><x') == '<g data-ue="&quot;&gt;&lt;x"/>'


def areas(path: str) -> list[float]:
    """Enclosed areas of a path's rings, in square drawing units."""
    found = []
    for ring in path.split("z")[:-1]:
        numbers = [int(number) for number in re.findall(r"-?\d+", ring)]
        steps = np.array(numbers).reshape(-1, 2)
        x, y = np.cumsum(steps, axis=0).T
        found.append(abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2)
    return sorted(found)


def test_a_building_with_a_yard_is_two_rings_of_the_right_size() -> None:
    height_m = np.zeros((40, 40))
    height_m[10:30, 5:35] = 18.0
    height_m[15:25, 15:25] = 0.0
    box = Box(0.0, 0.0, 40.0)
    low, middle, high = outlines(HeightMap(height_m, 0.0, 0.0, 1.0), box)
    assert low == middle
    assert high == ""
    yard_m2, building_m2 = (area * (box.side_m / UNITS) ** 2 for area in areas(low))
    assert yard_m2 == pytest.approx(10 * 10, abs=TOLERANCE_STEPS * 40)
    assert building_m2 == pytest.approx(20 * 30, abs=TOLERANCE_STEPS * 100)


def test_city_outside_the_box_is_left_out() -> None:
    city = HeightMap(np.full((10, 10), 20.0), 0.0, 0.0, 1.0)
    assert outlines(city, Box(100.0, 100.0, 20.0)) == ["", "", ""]


def test_box_is_square_and_holds_its_points() -> None:
    box = Box.around([np.array([[0.0, 100.0, np.nan], [0.0, 10.0, 5.0]])], margin=0.1)
    assert box is not None
    assert box.side_m == pytest.approx(120.0)
    assert box.holds(0.0, 0.0)
    assert box.holds(100.0, 10.0)
    assert Box.around([np.full((2, 3), np.nan)]) is None


def test_ellipses_hold_nine_in_ten() -> None:
    covariance = np.array([[4.0, 1.5], [1.5, 1.0]])
    plan = Plan(Box(-10.0, -10.0, 20.0))
    gone = np.full((3, 1), np.nan)
    plane_m2 = np.concatenate([np.array([[4.0], [1.5], [1.0]]), gone], axis=1)
    drawn = plan.ellipses(np.zeros((3, 2)), plane_m2, "claim")
    assert drawn.count("M") == drawn.count("z") == 1
    match = re.search(r'd="M(-?\d+) ?(-?\d+)l(.*)z"', drawn)
    assert match
    steps = np.array([int(word) for word in re.findall(r"-?\d+", match[3])]).reshape(-1, 2)
    units = np.cumsum(np.concatenate([[[int(match[1]), int(match[2])]], steps]), axis=0)
    corners_m = (units / UNITS - 0.5) * [20.0, -20.0]
    squared = np.einsum("ni,ij,nj->n", corners_m, np.linalg.inv(covariance), corners_m)
    np.testing.assert_allclose(np.sqrt(squared), PLANE_90, rtol=0.03)
    inside = np.random.default_rng(1).multivariate_normal([0, 0], covariance, 20_000)
    held = np.einsum("ni,ij,nj->n", inside, np.linalg.inv(covariance), inside) <= PLANE_90**2
    assert held.mean() == pytest.approx(0.9, abs=0.01)
