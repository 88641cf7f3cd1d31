"""Unfolded paths against geometry that can be done by hand: images behind mirrors, points on edges."""

import numpy as np
import pytest

from models.synthesis import displace
from sim.channel.unfold import DIFFRACTION, SPECULAR, unfold, unit
from tests.sim.channel.kit import SPEED_OF_LIGHT_MPS, Array

BS = np.array([[0.0, 0.0, 30.0]])
UE = np.array([[50.0, 20.0, 2.0]])
DEPTH = 3


def path(vertices: list[list[float]], kinds: list[int]) -> dict[str, Array]:
    padded = np.zeros((DEPTH, 1, 3))
    padded[: len(vertices), 0] = np.reshape(vertices, (-1, 3))
    marks = np.zeros((DEPTH, 1), np.int64)
    marks[: len(kinds), 0] = kinds
    ends = {
        "ue_direction": unit((vertices[-1] if vertices else BS[0]) - UE),
        "bs_direction": unit((vertices[0] if vertices else UE[0]) - BS),
    }
    return unfold(BS, UE, padded, marks) | ends


def off_the_ground(ue: Array) -> Array:
    """Where a ray from the BS meets the plane z = 0 on its way to the UE."""
    image = BS[0] * [1, 1, -1]
    share = image[2] / (image[2] - ue[2])
    meeting: Array = image + share * (ue - image)
    return meeting


def moved(columns: dict[str, Array], delay_s: float, offset_m: Array) -> tuple[Array, Array, Array, Array]:
    given = {name: columns[name][None] for name in ("ue_direction", "bs_direction", "mirror")}
    found: tuple[Array, Array, Array, Array] = displace(
        offset_m[None, None],
        np.full((1, 1), delay_s),
        np.ones((1, 1), np.complex128),
        image_distance_m=columns["image_distance_m"][None],
        **given,
    )
    return found


def test_a_direct_path_is_as_long_as_its_ends_are_apart() -> None:
    columns = path([], [])
    np.testing.assert_allclose(columns["image_distance_m"], np.linalg.norm(UE - BS))
    np.testing.assert_allclose(columns["mirror"][0], np.eye(3))


def test_one_mirror_shows_the_base_station_behind_it() -> None:
    columns = path([list(off_the_ground(UE[0]))], [SPECULAR])
    image = BS[0] * [1, 1, -1]
    distance = np.linalg.norm(UE[0] - image)
    np.testing.assert_allclose(columns["image_distance_m"], distance)
    np.testing.assert_allclose(columns["mirror"][0], np.diag([1, 1, -1]), atol=1e-12)


def test_mirrors_multiply() -> None:
    """Off a wall at y = 40 and then off the ground."""
    image = BS[0] * [1, -1, -1] + [0, 80, 0]
    towards = UE[0] - image
    wall = image + towards * ((40 - image[1]) / towards[1])
    ground = image + towards * ((0 - image[2]) / towards[2])
    first, second = sorted([wall, ground], key=lambda point: float(np.linalg.norm(point - image)))
    # From the image the straight line meets both planes; folding back the first leg gives the true vertices.
    if np.allclose(first, wall):
        vertices = [wall * [1, 1, -1], second]
    else:
        vertices = [ground * [1, -1, 1] + [0, 80, 0], second]
    columns = path([list(vertex) for vertex in vertices], [SPECULAR, SPECULAR])
    np.testing.assert_allclose(columns["image_distance_m"], np.linalg.norm(towards))
    np.testing.assert_allclose(columns["mirror"][0], np.diag([1, -1, -1]), atol=1e-12)


@pytest.mark.parametrize("offset_m", [[1.0, 0, 0], [0, -1.5, 0.5], [-0.3, 0.2, 1.7]])
def test_a_moved_ue_sees_the_same_image(offset_m: list[float]) -> None:
    offset = np.array(offset_m)
    there = UE[0] + offset
    image = BS[0] * [1, 1, -1]
    columns = path([list(off_the_ground(UE[0]))], [SPECULAR])
    distance = np.linalg.norm(UE[0] - image)
    delay, gain, ue_direction, bs_direction = moved(columns, float(distance / SPEED_OF_LIGHT_MPS), offset)
    moved_distance = np.linalg.norm(there - image)
    np.testing.assert_allclose(delay, moved_distance / SPEED_OF_LIGHT_MPS, rtol=1e-12)
    np.testing.assert_allclose(abs(gain), distance / moved_distance, rtol=1e-12)
    np.testing.assert_allclose(ue_direction[0, 0], (image - there) / moved_distance, atol=1e-12)
    towards_vertex = off_the_ground(there) - BS[0]
    np.testing.assert_allclose(bs_direction[0, 0], towards_vertex / np.linalg.norm(towards_vertex), atol=1e-9)


def test_behind_an_edge_the_point_on_the_edge_stays() -> None:
    edge = np.array([30.0, 10.0, 25.0])
    columns = path([list(edge)], [DIFFRACTION])
    np.testing.assert_allclose(columns["image_distance_m"], np.linalg.norm(UE[0] - edge))
    np.testing.assert_allclose(columns["mirror"], 0)
    _, _, _, bs_direction = moved(columns, 1e-6, np.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(bs_direction[0], columns["bs_direction"], atol=1e-12)


def test_a_mirror_behind_an_edge_shows_the_edge() -> None:
    edge = np.array([30.0, 10.0, 25.0])
    image = edge * [1, 1, -1]
    ground = image + (UE[0] - image) * (image[2] / (image[2] - UE[0, 2]))
    columns = path([list(edge), list(ground)], [DIFFRACTION, SPECULAR])
    np.testing.assert_allclose(columns["image_distance_m"], np.linalg.norm(UE[0] - image))
    np.testing.assert_allclose(columns["mirror"], 0)


def test_no_path_at_all() -> None:
    columns = unfold(
        np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((DEPTH, 0, 3)), np.zeros((DEPTH, 0), np.int64)
    )
    assert {name: column.shape for name, column in columns.items()} == {
        "mirror": (0, 3, 3),
        "image_distance_m": (0,),
    }
