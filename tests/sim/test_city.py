import numpy as np
import pytest

from sim.city import HeightMap
from sim.deployment import MUNICH6


@pytest.fixture
def house() -> HeightMap:
    """A house of 10 m height over x 5…10 m, y 2…4 m."""
    height = np.zeros((8, 16))
    height[2:5, 5:11] = 10.0
    return HeightMap(height, 0.0, 0.0, 1.0)


def test_inside_outside_and_the_wall_between(house: HeightMap) -> None:
    position = np.array(
        [
            [7.5, 3.0, 1.5],  # in it
            [7.5, 3.0, 12.0],  # above its roof
            [2.0, 3.0, 1.5],  # in front of it
            [4.6, 3.0, 1.5],  # at its wall: neither
            [7.5, 3.0, 9.8],  # just below its roof: neither
            [2.0, 3.0, 0.0],  # on the ground: neither
        ]
    )
    assert house.is_outdoor(position).tolist() == [False, True, True, False, False, False]
    assert house.is_indoor(position).tolist() == [True, False, False, False, False, False]


def test_the_first_wall_on_a_way(house: HeightMap) -> None:
    way = np.column_stack([np.linspace(0, 15, 31), np.full(31, 3.0), np.full(31, 1.5)])
    assert house.first_wall(way) == 10
    assert house.first_wall(way + np.array([0.0, 0.0, 20.0])) is None


def test_beyond_the_edge_the_nearest_cell_counts(house: HeightMap) -> None:
    assert house.is_outdoor(np.array([[-100.0, 500.0, 1.0]])).tolist() == [True]


def test_the_map_has_its_own_origin_and_step() -> None:
    height = HeightMap(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 9.0]]), -10.0, 100.0, 5.0)
    assert height.corners_m(np.array([[-2.0, 107.0]])).max() == 9.0
    assert height.corners_m(np.array([[-7.0, 107.0]])).max() == 0.0


def test_munich_has_a_map_that_covers_the_area() -> None:
    city = HeightMap.load("munich")
    assert city is not None
    rows, columns = city.height_m.shape
    area = MUNICH6.area
    assert city.x0_m < area.x_m[0]
    assert area.x_m[1] < city.x0_m + columns - 1
    assert city.y0_m < area.y_m[0]
    assert area.y_m[1] < city.y0_m + rows - 1
    assert HeightMap.load("nowhere") is None


def test_the_sites_stand_on_roofs() -> None:
    city = HeightMap.load("munich")
    assert city is not None
    for site in MUNICH6.sites:
        position = np.array([site.position_in_world_m])
        assert not city.is_indoor(position).any(), site.bs
        assert city.corners_m(position).max() > 10, site.bs
