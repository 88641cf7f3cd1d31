"""Images of base stations in the planes of a city."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.reflections import NOTHING, ReflectionMap, ReflectionMapError

Array = NDArray[Any]

WALL = [1.0, 0.0, 0.0, 40.0]  # x = 40
SLANTED = [0.6, 0.8, 0.0, 10.0]
GROUND = [0.0, 0.0, 1.0, 0.0]


def small_map() -> ReflectionMap:
    """Two cubes along x; the first base station has four images, the second the line of sight alone."""
    listed = np.full((2, 2, 4), NOTHING)
    listed[0, 0, :3] = [0, 1, 3]
    listed[1, 0, :2] = [2, 0]
    listed[:, 1, 0] = 0
    return ReflectionMap(
        planes=np.array([WALL, SLANTED, GROUND]),
        chains=np.array([[-1, -1, -1], [0, -1, -1], [1, 0, -1], [2, 1, 0], [-1, -1, -1]]),
        first=np.array([0, 4]),
        count=np.array([4, 1]),
        listed=listed,
        corner_m=np.array([0.0, 0.0, 0.0]),
        voxel_m=10.0,
        shape=np.array([2, 1, 1]),
    )


def mirrored(position: Array, plane: list[float]) -> Array:
    """The slow way: one point, one plane."""
    normal, distance = np.array(plane[:3]), plane[3]
    image: Array = position - 2 * (normal @ position - distance) * normal
    return image


def test_a_path_is_unfolded_from_its_last_plane_to_its_first() -> None:
    position = np.array([[3.0, -7.0, 2.0], [12.0, 5.0, 9.0]])
    found = small_map().unfolded(np.arange(4), position)
    for row, at in enumerate(position):
        assert found[row, 0] == pytest.approx(at)
        assert found[row, 1] == pytest.approx(mirrored(at, WALL))
        assert found[row, 2] == pytest.approx(mirrored(mirrored(at, WALL), SLANTED))
        assert found[row, 3] == pytest.approx(mirrored(mirrored(mirrored(at, WALL), SLANTED), GROUND))


def test_a_reflected_path_is_as_long_as_the_straight_one_to_the_image() -> None:
    site, ue = np.array([0.0, 0.0, 30.0]), np.array([10.0, 20.0, 2.0])
    image = small_map().unfolded(np.array([1]), ue[None])[0, 0]
    share = (40 - site[0]) / (image[0] - site[0])
    on_the_wall = site + share * (image - site)
    assert np.linalg.norm(image - site) == pytest.approx(
        np.linalg.norm(on_the_wall - site) + np.linalg.norm(ue - on_the_wall)
    )


def test_images_seen_from_both_cubes_come_first() -> None:
    city = small_map()
    both = np.array([[5.0, 5.0, 5.0], [15.0, 5.0, 5.0]])
    assert city.seen_near(0, both, 10).tolist() == [0, 2, 1, 3]
    assert city.seen_near(0, both, 2).tolist() == [0, 2]
    assert city.seen_near(0, both[1:], 10).tolist() == [2, 0]
    assert city.seen_near(1, both, 10).tolist() == [4]  # counted over all base stations


def test_beyond_the_area_the_nearest_cube_counts() -> None:
    assert small_map().seen_near(0, np.array([[99.0, -5.0, 77.0]]), 10).tolist() == [2, 0]


def test_a_map_survives_its_file(tmp_path: Path) -> None:
    city = small_map()
    city.save(tmp_path / "map.npz")
    again = ReflectionMap.load(tmp_path / "map.npz")
    for name in ("planes", "chains", "first", "count", "listed", "corner_m", "shape"):
        assert getattr(again, name) == pytest.approx(getattr(city, name), abs=1e-6)
    assert again.order.tolist() == [0, 1, 2, 3, 0]


def test_a_damaged_map_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "map.npz"
    with pytest.raises(ReflectionMapError, match=r"map\.npz: cannot be read"):
        ReflectionMap.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ReflectionMapError, match=r"map\.npz: damaged"):
        ReflectionMap.load(path)
    small_map().save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ReflectionMapError, match=r"map\.npz: damaged"):
        ReflectionMap.load(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"planes": np.array([WALL])},  # chains name more
        {"count": np.array([2, 1])},  # lists name more
        {"first": np.array([0, 5])},
        {"shape": np.array([3, 1, 1])},
        {"planes": np.full((3, 4), np.nan)},
        {"voxel_m": 0.0},
    ],
)
def test_parts_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="reflection map"):
        replace(small_map(), **wrong)  # type: ignore[arg-type]
