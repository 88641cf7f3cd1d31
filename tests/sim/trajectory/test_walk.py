import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from broker.streams import stream
from sim.city import HeightMap
from sim.deployment import Area
from sim.trajectory import NoWayError, Polyline, RandomWalk

AREA = Area((0.0, 40.0), (0.0, 40.0), (0.5, 30.0))


def town() -> HeightMap:
    """Blocks of 8 m with streets of 4 m between them."""
    along = (np.arange(41) % 12) < 8
    return HeightMap(np.where(along[:, None] & along[None, :], 20.0, 0.0), 0.0, 0.0, 1.0)


def walk(height_m: float = 1.5, start_m: tuple[float, float] | None = None, leg_m: float = 5.0) -> RandomWalk:
    return RandomWalk(height_m, 1.4, leg_m, math.radians(60), start_m, 60.0)


def fine(way: Polyline) -> NDArray[np.float64]:
    return way.position_in_world_m(np.linspace(0, way.duration_s, 1000))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_it_stays_outdoors_and_inside_the_area(seed: int) -> None:
    way = walk().draw(stream(seed, "trajectory", "ue1"), AREA, town())
    position = fine(way)
    assert not town().is_indoor(position, tolerance_m=0.0).any()
    assert (position[:, :2] >= 0).all()
    assert (position[:, :2] <= 40).all()
    assert (position[:, 2] == 1.5).all()


def test_it_walks_as_long_and_as_fast_as_told() -> None:
    way = walk().draw(stream(1, "trajectory", "ue1"), AREA, town())
    assert way.duration_s == pytest.approx(60.0, abs=0.05)
    middle = (way.t_s[:-1] + way.t_s[1:]) / 2
    np.testing.assert_allclose(np.linalg.norm(way.velocity_in_world_mps(middle), axis=1), 1.4)


def test_above_the_roofs_it_goes_anywhere() -> None:
    over = HeightMap.is_indoor
    positions = [
        fine(walk(height_m=25.0).draw(stream(seed, "trajectory", "ue1"), AREA, town())) for seed in range(20)
    ]
    low = np.concatenate(positions) * [1, 1, 0] + [0, 0, 1]
    assert over(town(), low).any()


def test_without_a_city_only_the_area_bounds_it() -> None:
    way = walk().draw(stream(3, "trajectory", "ue1"), AREA, None)
    assert ((fine(way)[:, :2] >= 0) & (fine(way)[:, :2] <= 40)).all()


def test_turns_are_bounded_where_there_is_room() -> None:
    open_field = Area((-1000.0, 1000.0), (-1000.0, 1000.0), (0.5, 30.0))
    way = walk(start_m=(0.0, 0.0)).draw(stream(1, "trajectory", "ue1"), open_field, None)
    legs = np.diff(way.points_m[:, :2], axis=0)
    heading = np.arctan2(legs[:, 1], legs[:, 0])
    turn = (np.diff(heading) + math.pi) % (2 * math.pi) - math.pi
    assert np.abs(turn).max() < math.radians(60.2)
    assert np.abs(turn).max() > math.radians(40)


def test_it_begins_where_told() -> None:
    way = walk(start_m=(10.0, 1.0)).draw(stream(1, "trajectory", "ue1"), AREA, town())
    np.testing.assert_array_equal(way.points_m[0], [10.0, 1.0, 1.5])


def test_it_says_when_there_is_no_way() -> None:
    random = stream(1, "trajectory", "ue1")
    with pytest.raises(NoWayError, match=r"cannot start at \(3, 3\) m: not outdoors inside the area"):
        walk(start_m=(3.0, 3.0)).draw(random, AREA, town())
    with pytest.raises(NoWayError, match=r"cannot start at \(50, 3\) m"):
        walk(start_m=(50.0, 3.0)).draw(random, AREA, town())
    full = HeightMap(np.full((41, 41), 20.0), 0.0, 0.0, 1.0)
    with pytest.raises(NoWayError, match="found no free place to start"):
        walk().draw(random, AREA, full)
    shaft = full.height_m.copy()
    shaft[20:22, 20:22] = 0.0
    with pytest.raises(NoWayError, match=r"walled in at \(20\.5, 20\.5\) m"):
        walk(start_m=(20.5, 20.5), leg_m=500.0).draw(random, AREA, HeightMap(shaft, 0.0, 0.0, 1.0))
