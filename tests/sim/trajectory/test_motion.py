"""Position and velocity of every kind of trajectory, at any time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.trajectory import Delayed, Polyline, Spiral, Trajectory, at_constant_speed

lengths = st.floats(-100, 100)
points = st.tuples(lengths, lengths, lengths)
spirals = st.builds(
    Spiral,
    centre_m=st.tuples(lengths, lengths),
    radius_m=st.floats(0.1, 50),
    turns=st.floats(-10, 10),
    from_height_m=st.floats(0, 30),
    to_height_m=st.floats(0, 30),
    duration_s=st.floats(1, 100),
    start_angle_rad=st.floats(-math.pi, math.pi),
)
polylines = st.builds(at_constant_speed, st.lists(points, min_size=1, max_size=8), st.floats(0.5, 20))
trajectories = st.one_of(spirals, polylines, st.builds(Delayed, spirals, st.floats(0, 10)))


@given(trajectory=trajectories, share=st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=20))
def test_velocity_is_the_derivative_of_position(trajectory: Trajectory, share: list[float]) -> None:
    t_s = np.array(share) * trajectory.duration_s
    step = 1e-5
    before, after = trajectory.position_in_world_m(t_s - step), trajectory.position_in_world_m(t_s + step)
    slope = (after - before) / (2 * step)
    smooth = np.ones(len(t_s), dtype=bool)
    for corner in corners(trajectory):
        smooth &= np.abs(t_s - corner) > 2 * step
    velocity = trajectory.velocity_in_world_mps(t_s)
    assert velocity.shape == (len(t_s), 3)
    speed = np.abs(velocity).max() + 1
    np.testing.assert_allclose(velocity[smooth], slope[smooth], rtol=1e-4, atol=1e-4 * speed)


def corners(trajectory: Trajectory) -> list[float]:
    if isinstance(trajectory, Delayed):
        return [trajectory.start_s + corner for corner in corners(trajectory.trajectory)]
    if isinstance(trajectory, Polyline):
        return [float(t) for t in trajectory.t_s]
    return [0.0, trajectory.duration_s]


@given(trajectory=trajectories, beyond=st.floats(0, 1000))
def test_it_stands_still_at_its_ends(trajectory: Trajectory, beyond: float) -> None:
    start = trajectory.start_s if isinstance(trajectory, Delayed) else 0.0
    end = trajectory.duration_s
    t_s = np.array([start - beyond, start, end, end + beyond])
    position = trajectory.position_in_world_m(t_s)
    np.testing.assert_allclose(position[0], position[1], atol=1e-9)
    np.testing.assert_allclose(position[2], position[3], atol=1e-9)
    velocity = trajectory.velocity_in_world_mps(np.array([start - beyond - 1e-6, end + beyond + 1e-6]))
    assert (velocity == 0).all()


def test_points_that_no_time_lies_between_are_one() -> None:
    way = at_constant_speed([(0, 0, 0), (1, 0, 0), (1, 1e-36, 0), (1, 1e-36, 0), (1, 2, 0)], 1.0)
    assert way.t_s.tolist() == [0, 1, 3]
    position = way.position_in_world_m(np.array([0.5, 1.0, 2.0]))
    np.testing.assert_allclose(position, np.array([[0.5, 0, 0], [1, 0, 0], [1, 1, 0]]), atol=1e-12)


def test_the_spiral_of_the_paper() -> None:
    spiral = Spiral((85.0, 105.0), 6.0, 3.0, 0.0, 30.0, 30.0)
    t_s = np.linspace(0, 30, 301)
    position = spiral.position_in_world_m(t_s)
    np.testing.assert_allclose(np.hypot(position[:, 0] - 85, position[:, 1] - 105), 6.0)
    np.testing.assert_allclose(position[:, 2], t_s)
    np.testing.assert_allclose(position[[0, 100, 200, 300], :2], [[91, 105]] * 4)
    np.testing.assert_allclose(position[25], [85, 111, 2.5])
    speed = np.linalg.norm(spiral.velocity_in_world_mps(t_s[:-1]), axis=1)
    np.testing.assert_allclose(speed, math.hypot(2 * math.pi * 6 * 3 / 30, 1))


@given(way=polylines)
def test_speed_is_constant_on_all_legs(way: Polyline) -> None:
    if way.duration_s == 0:
        return
    middle = (way.t_s[:-1] + way.t_s[1:]) / 2
    speed = np.linalg.norm(way.velocity_in_world_mps(middle), axis=1)
    length = np.linalg.norm(np.diff(way.points_m, axis=0), axis=1).sum()
    np.testing.assert_allclose(speed, length / way.duration_s, rtol=1e-6)


def test_at_a_corner_it_already_has_the_velocity_of_the_next_leg() -> None:
    way = at_constant_speed([(0, 0, 0), (2, 0, 0), (2, 2, 0)], 1.0)
    velocity = way.velocity_in_world_mps(np.array([0.0, 1.999, 2.0, 4.0]))
    np.testing.assert_array_equal(velocity, [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_points_passed_twice_in_a_row_are_no_stop() -> None:
    way = at_constant_speed([(0, 0, 0), (0, 0, 0), (1, 0, 0), (1, 0, 0), (2, 0, 0)], 1.0)
    assert way.t_s.tolist() == [0, 1, 2]


def test_one_point_is_a_trajectory_that_stays() -> None:
    way = at_constant_speed([(1, 2, 3)], 1.0)
    t_s = np.array([-1.0, 0.0, 5.0])
    np.testing.assert_array_equal(way.position_in_world_m(t_s), [[1, 2, 3]] * 3)
    np.testing.assert_array_equal(way.velocity_in_world_mps(t_s), np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("t_s", "position_m", "message"),
    [
        ([0.0, 1.0], [[0, 0, 0]], r"points must be \[n, 3\]"),
        ([0.0], [[0, 0]], r"points must be \[n, 3\]"),
        ([], np.zeros((0, 3)), r"points must be \[n, 3\]"),
        ([1.0, 2.0], [[0, 0, 0]] * 2, "start at 0 and increase"),
        ([0.0, 0.0], [[0, 0, 0]] * 2, "start at 0 and increase"),
        ([0.0, math.nan], [[0, 0, 0]] * 2, "must be finite"),
    ],
)
def test_refuses_what_is_no_way(t_s: list[float], position_m: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Polyline(t_s, position_m)
