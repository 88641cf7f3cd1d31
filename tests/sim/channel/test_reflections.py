"""Rays around base stations, in a city whose walls are formulas."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.reflections import NOTHING
from models.synthesis import world_from_array
from sim.channel.reflections import CastSettings, find_reflections

Array = NDArray[Any]

LOW_M, HIGH_M = np.array([0.0, 0.0, 0.0]), np.array([60.0, 60.0, 20.0])
SITES_M = ((30.0, 30.0, 18.0), (5.0, 50.0, 12.0))
SETTINGS = CastSettings(directions=128, depth=2, voxel_m=10.0, listed=12)


@dataclass
class Room:
    """Ground at z = 0 and walls at x = 70 and y = -10; open elsewhere."""

    world: Any

    def first_hit(self, origin_m: Array, towards: Array) -> tuple[Array, Array]:
        normals = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        distances = np.array([0.0, -70.0, -10.0])
        with np.errstate(divide="ignore", invalid="ignore"):
            length = (distances - origin_m @ normals.T) / (towards @ normals.T)
        length = np.where(length > 1e-9, length, np.inf)
        nearest = length.argmin(axis=1)
        return length.min(axis=1), normals[nearest]


def room() -> Any:
    return Room(SimpleNamespace(bs_ids=("a", "b"), bs_position_m=SITES_M, boresight_m=(30.0, 20.0, 2.0)))


def silent(line: str) -> None:
    assert "images" in line


def test_images_are_those_of_three_planes() -> None:
    city = find_reflections(room(), LOW_M, HIGH_M, SETTINGS, silent)
    assert len(city.planes) == 3
    for bs in range(2):
        own = city.chains[city.first[bs] : city.first[bs] + city.count[bs]]
        assert (own[0] == NOTHING).all()  # the line of sight
        once = own[(own != NOTHING).sum(axis=1) == 1]
        assert len(once) == 3
        # Twice: no plane after itself, as none is seen in itself.
        twice = own[(own != NOTHING).sum(axis=1) == 2]
        assert 0 < len(twice) <= 6
        assert (twice[:, 0] != twice[:, 1]).all()


def exists(tracer: Any, site: tuple[float, ...], planes: Array, image: Array, ue: Array) -> bool:
    """By geometry alone: whether the ray to an image of the UE meets these planes, and then the UE."""
    at, towards = np.array([site]), image - site
    left = np.linalg.norm(towards)
    towards = towards[None] / left
    for plane in planes:
        length, normal = tracer.first_hit(at, towards)
        if length[0] > left or abs(normal[0] @ plane[:3]) < 0.999:
            return False
        left -= length[0]
        at = at + length[0] * towards
        towards = towards - 2 * (towards @ normal[0])[:, None] * normal
    if tracer.first_hit(at, towards)[0][0] < left:
        return False
    assert at + left * towards == pytest.approx(ue[None], abs=1e-2)
    return True


def test_an_image_is_listed_where_its_path_exists_and_nowhere_else() -> None:
    city, tracer = find_reflections(room(), LOW_M, HIGH_M, SETTINGS, silent), room()
    draws = np.random.default_rng(4)
    missed = wrong = right = 0
    for corner in ([0, 0, 0], [30, 20, 0], [50, 50, 10]):
        points = np.array(corner) + 10 * draws.random((60, 3))
        for bs, site in enumerate(SITES_M):
            listed = city.seen_near(bs, points[:1], 12)
            for image in range(city.first[bs], city.first[bs] + city.count[bs]):
                planes = city.planes[city.chains[image][city.chains[image] != NOTHING]]
                images = city.unfolded(np.array([image]), points)[:, 0]
                seen = sum(
                    exists(tracer, site, planes, of_ue, ue) for of_ue, ue in zip(images, points, strict=True)
                )
                missed += seen > 3 and image not in listed
                wrong += seen == 0 and image in listed
                right += seen > 3 and image in listed
    assert missed == 0
    assert wrong <= 2  # seen from an edge that no point is near
    assert right > 20


def test_loud_images_come_first() -> None:
    city = find_reflections(room(), LOW_M, HIGH_M, SETTINGS, silent)
    order = (city.chains[city.first[:, None, None] + city.listed.swapaxes(0, 1)] != NOTHING).sum(axis=-1)
    assert (order[:, :, 0] == 0).mean() > 0.99


def test_the_same_rays_find_the_same_map() -> None:
    one, other = (find_reflections(room(), LOW_M, HIGH_M, SETTINGS, silent) for _ in range(2))
    assert (one.listed == other.listed).all()
    assert (one.chains == other.chains).all()


def test_rays_leave_evenly_over_what_an_array_tells_apart() -> None:
    from sim.channel.reflections import _Rays

    rays = _Rays.around(np.array(SITES_M[0]), np.array([30.0, 20.0, 2.0]), 32)
    assert np.linalg.norm(rays.towards, axis=1) == pytest.approx(np.ones(len(rays.towards)))
    in_array = rays.towards @ world_from_array(np.array(SITES_M[0]), np.array([30.0, 20.0, 2.0]))
    assert (in_array[:, 0] > 0).mean() == 0.5
    assert np.unique(np.round(np.diff(np.unique(np.round(in_array[:, 1], 9))), 6)) == pytest.approx([1 / 16])
