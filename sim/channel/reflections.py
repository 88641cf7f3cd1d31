"""Find out which mirror images of base stations are seen where: rays are shot from each, and followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.reflections import LOSS_PER_REFLECTION, NOTHING, ReflectionMap
from models.synthesis import world_from_array
from sim.channel.tracer import Tracer
from sim.channel.tracing import Report, say

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STEP_M = 2.0
"""Between two points at which it is noted which cube a ray is in."""
OFF_THE_WALL_M = 1e-3
BEYOND_M = 1e5
NORMAL_STEP, DISTANCE_STEP_M = 5e-4, 0.02
"""Planes that are no further apart count as one."""
SEEN_TWICE = 2
"""Of a cube, by points of rays that are in it, for an image to be listed there."""
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class CastSettings:
    """How rays are shot and what is kept.

    Attributes:
        directions: Along k_y and k_z each, in front of the array and behind it.
        depth: Most reflections.
        voxel_m: Edge of a cube, m.
        listed: Most images listed for a base station in one cube.
        least_rays: An image in a chain of planes that fewer rays meet is not kept.
    """

    directions: int = 1024
    depth: int = 5
    voxel_m: float = 2.5
    listed: int = 32
    least_rays: int = 3


def find_reflections(
    tracer: Tracer, low_m: Floats, high_m: Floats, settings: CastSettings | None = None, report: Report = say
) -> ReflectionMap:
    """The reflection map of an area, for the base stations of a tracer's world.

    Args:
        tracer: Has the city.
        low_m: Corner of the area, ``[3]``, m.
        high_m: The opposite corner.
        settings: How rays are shot.
        report: Gets lines of progress.
    """
    settings = settings or CastSettings()
    cubes = _Cubes.of(low_m, high_m, settings.voxel_m)
    planes = _Planes()
    chains, listed, count = [], [], []
    look_at_m = np.asarray(tracer.world.boresight_m)
    for bs, site_m in zip(tracer.world.bs_ids, tracer.world.bs_position_m, strict=True):
        rays = _Rays.around(np.asarray(site_m), look_at_m, settings.directions)
        of_bs, seen = _follow(tracer, rays, cubes, settings, planes)
        chains.append(of_bs)
        listed.append(seen)
        count.append(len(of_bs))
        report(f"{bs}: {len(of_bs)} images, {len(planes.planes)} planes so far")
    return ReflectionMap(
        planes=np.array(planes.planes).reshape(-1, 4),
        chains=np.concatenate(chains),
        first=np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64),
        count=np.array(count, dtype=np.int64),
        listed=np.stack(listed, axis=1),
        corner_m=cubes.corner_m,
        voxel_m=settings.voxel_m,
        shape=cubes.shape,
    )


@dataclass(frozen=True, eq=False)
class _Cubes:
    """The area, cut."""

    corner_m: Floats
    edge_m: float
    shape: Integers

    @staticmethod
    def of(low_m: Floats, high_m: Floats, edge_m: float) -> _Cubes:
        return _Cubes(low_m.astype(np.float64), edge_m, np.ceil((high_m - low_m) / edge_m).astype(np.int64))

    def within(self, origin_m: Floats, towards: Floats, length_m: Floats) -> tuple[Floats, Floats]:
        """From where to where each piece of a ray lies in the area, m along it."""
        high_m = self.corner_m + self.edge_m * self.shape
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (self.corner_m - origin_m) / towards, (high_m - origin_m) / towards
        enter = np.nanmax(np.minimum(one, other), axis=1)
        leave = np.nanmin(np.maximum(one, other), axis=1)
        return np.maximum(enter, 0), np.minimum(leave, length_m)

    def number(self, position_m: Floats) -> Integers:
        """Of the cube that each position is in."""
        cell = np.floor((position_m - self.corner_m) / self.edge_m).astype(np.int64)
        x, y, z = np.clip(cell, 0, self.shape - 1).T
        result: Integers = (x * self.shape[1] + y) * self.shape[2] + z
        return result


@dataclass(eq=False)
class _Rays:
    """Where rays are, where to, and the image of the base station that each one belongs to."""

    origin_m: Floats
    towards: Floats
    travelled_m: Floats
    image: Integers

    @staticmethod
    def around(site_m: Floats, look_at_m: Floats, directions: int) -> _Rays:
        """From a site, evenly over what its array can tell apart, in front of it and behind."""
        middle = (np.arange(directions) + 0.5) / directions * 2 - 1
        k_y, k_z = (axis.ravel() for axis in np.meshgrid(middle, middle, indexing="ij"))
        inside = k_y**2 + k_z**2 < 1
        k_y, k_z = k_y[inside], k_z[inside]
        k_x = np.sqrt(1 - k_y**2 - k_z**2)
        in_array = np.concatenate([np.stack([sign * k_x, k_y, k_z], axis=1) for sign in (1, -1)])
        towards = in_array @ world_from_array(site_m, look_at_m).T
        number = len(towards)
        return _Rays(
            np.tile(site_m, (number, 1)), towards, np.zeros(number), np.zeros(number, dtype=np.int64)
        )

    def take(self, rows: NDArray[Any]) -> _Rays:
        return _Rays(self.origin_m[rows], self.towards[rows], self.travelled_m[rows], self.image[rows])


def _follow(
    tracer: Tracer, rays: _Rays, cubes: _Cubes, settings: CastSettings, planes: _Planes
) -> tuple[Integers, Integers]:
    """Images of one base station ``[images, depth]``, and those listed in each cube ``[cubes, listed]``."""
    chain = np.zeros((1, 0), dtype=np.int64)
    chains: list[Integers] = []
    seen: list[tuple[Integers, Integers, Floats]] = []
    for depth in range(settings.depth + 1):
        before = sum(map(len, chains))
        chains.append(np.pad(chain, ((0, 0), (0, settings.depth - depth)), constant_values=NOTHING))
        length_m, normal = tracer.first_hit(rays.origin_m, rays.towards)
        cube, image, loud = _seen(rays, length_m, len(chain), cubes)
        seen.append((cube, before + image, loud * LOSS_PER_REFLECTION**depth))
        if depth < settings.depth:
            hit = np.isfinite(length_m)
            rays, plane = _mirrored(rays.take(hit), length_m[hit], normal[hit], planes)
            rays, chain = _grown(rays, plane, chain, settings.least_rays)
    cube, image, loud = (np.concatenate(column) for column in zip(*seen, strict=True))
    return _used(np.concatenate(chains), _listed(cube, image, loud, cubes, settings))


def _grown(rays: _Rays, plane: Integers, chain: Integers, least_rays: int) -> tuple[_Rays, Integers]:
    """Rays of images that enough of them belong to after one more plane each, and the chains of those."""
    planes = int(plane.max(initial=0)) + 1
    different, which, number = np.unique(rays.image * planes + plane, return_inverse=True, return_counts=True)
    enough = number >= least_rays
    image = np.where(enough, np.cumsum(enough) - 1, NOTHING)[which]
    before, last = np.divmod(different[enough], planes)
    rays.image = image
    return rays.take(image != NOTHING), np.column_stack([chain[before], last])


def _seen(rays: _Rays, length_m: Floats, images: int, cubes: _Cubes) -> tuple[Integers, Integers, Floats]:
    """Pairs of cube and image that rays make on their way to the next wall, and how loud they are there."""
    start, end = cubes.within(rays.origin_m, rays.towards, np.minimum(length_m, BEYOND_M))
    points = np.maximum(np.ceil((end - start) / STEP_M), 0).astype(np.int64)
    ray = np.repeat(np.arange(len(points)), points)
    step = np.arange(len(ray)) - np.repeat(np.cumsum(points) - points, points)
    jitter = (ray * GOLDEN) % 1
    along = start[ray] + (step + jitter) * STEP_M
    inside = along < end[ray]
    ray, along = ray[inside], along[inside]
    position_m = rays.origin_m[ray] + along[:, None] * rays.towards[ray]
    pair = cubes.number(position_m) * images + rays.image[ray]
    different, first, times = np.unique(pair, return_index=True, return_counts=True)
    often = times >= SEEN_TWICE
    different, first = different[often], first[often]
    distance_m = rays.travelled_m[ray[first]] + along[first]
    return different // images, different % images, 1 / np.maximum(distance_m, 1) ** 2


@dataclass(eq=False)
class _Planes:
    """Planes that rays have met, each once."""

    known: dict[int, int] = field(default_factory=dict)
    planes: list[Floats] = field(default_factory=list)

    def numbers(self, normal: Floats, distance_m: Floats) -> Integers:
        """Of the plane that each ray has met; those that are new are noted."""
        steps = np.column_stack([np.rint(normal / NORMAL_STEP), np.rint(distance_m / DISTANCE_STEP_M)])
        key = (steps.astype(np.int64) + 2**15) @ (2 ** np.array([48, 32, 16, 0], dtype=np.int64))
        different, first, which = np.unique(key, return_index=True, return_inverse=True)
        number = np.empty(len(different), dtype=np.int64)
        for at, (name, ray) in enumerate(zip(different.tolist(), first, strict=True)):
            number[at] = self.known.setdefault(name, len(self.planes))
            if number[at] == len(self.planes):
                self.planes.append(np.append(normal[ray], distance_m[ray]))
        result: Integers = number[which]
        return result


def _mirrored(rays: _Rays, length_m: Floats, normal: Floats, planes: _Planes) -> tuple[_Rays, Integers]:
    """Rays that go on after a wall, and the plane of it."""
    normal = np.where((normal * rays.towards).sum(axis=1, keepdims=True) > 0, -normal, normal)
    hit_m = rays.origin_m + length_m[:, None] * rays.towards
    towards = rays.towards - 2 * (normal * rays.towards).sum(axis=1, keepdims=True) * normal
    number = planes.numbers(normal, (normal * hit_m).sum(axis=1))
    return _Rays(hit_m + OFF_THE_WALL_M * normal, towards, rays.travelled_m + length_m, rays.image), number


def _listed(cube: Integers, image: Integers, loud: Floats, cubes: _Cubes, settings: CastSettings) -> Integers:
    """Images of each cube, the loudest first, ``[cubes, listed]``."""
    order = np.lexsort((-loud, cube))
    cube, image = cube[order], image[order]
    starts = np.searchsorted(cube, np.arange(int(np.prod(cubes.shape))))
    rank = np.arange(len(cube)) - starts[cube]
    kept = rank < settings.listed
    listed = np.full((len(starts), settings.listed), NOTHING, dtype=np.int64)
    listed[cube[kept], rank[kept]] = image[kept]
    return listed


def _used(chains: Integers, listed: Integers) -> tuple[Integers, Integers]:
    """Only those images that are listed somewhere."""
    used = np.zeros(len(chains), dtype=bool)
    used[listed[listed != NOTHING]] = True
    number = np.where(used, np.cumsum(used) - 1, NOTHING)
    return chains[used], np.where(listed == NOTHING, NOTHING, number[listed])
