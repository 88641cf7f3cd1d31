"""Where reflections come from: the mirror images of base stations that each part of a city sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import read_arrays

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NOTHING = -1
"""In chains: no further plane. In lists of images: no further image."""
LOSS_PER_REFLECTION = 0.4
"""Of power, on average: says which images of many are the loudest, and no more than that."""
_ARRAYS = ("planes", "chains", "first", "count", "listed", "corner_m", "voxel_m", "shape")


class ReflectionMapError(ValueError):
    """A map that is missing or damaged: one line that names the file."""


@dataclass(frozen=True, eq=False)
class ReflectionMap:
    """Images of base stations in the planes of a city, and from where each is seen.

    A path by way of planes is straight once it is unfolded: it comes from the base station itself to the
    image of the UE in these planes, taken from the last to the first. An image is a chain of planes; chain 0
    of each base station has none: the line of sight. The area is cut into cubes, and each has a list of
    the images that are seen from somewhere in it, the loudest first.

    Attributes:
        planes: Unit normals and distances from the origin (n·x = d), ``[num_planes, 4]``, m.
        chains: Planes of each image as a ray from the base station meets them, ``[num_images, depth]``; -1
            behind the last. Images of one base station lie together.
        first: Of each base station's images, ``[num_bs]``.
        count: How many each base station has, ``[num_bs]``.
        listed: Images seen from each cube, counted from the base station's first, ``[num_cubes, num_bs,
            most]``; -1 behind the last.
        corner_m: Low corner of the first cube, ``[3]``, m.
        voxel_m: Edge of a cube, m.
        shape: Cubes in x, y and z, ``[3]``.
    """

    planes: Floats
    chains: Integers
    first: Integers
    count: Integers
    listed: Integers
    corner_m: Floats
    voxel_m: float
    shape: Integers
    order: Integers = field(init=False)

    def __post_init__(self) -> None:
        cubes = int(np.prod(self.shape))
        fits = (
            self.planes.ndim == 2
            and self.planes.shape[1] == 4
            and self.chains.ndim == 2
            and self.first.shape == self.count.shape == (self.num_bs,)
            and self.listed.ndim == 3
            and self.listed.shape[:2] == (cubes, self.num_bs)
            and self.corner_m.shape == self.shape.shape == (3,)
            and self.voxel_m > 0
        )
        if not fits or not np.isfinite(self.planes).all() or not np.isfinite(self.corner_m).all():
            raise ValueError("parts of a reflection map that do not fit together")
        if (
            self.chains.max(initial=NOTHING) >= len(self.planes)
            or (self.first + self.count > len(self.chains)).any()
        ):
            raise ValueError("a reflection map that names what it does not have")
        if (self.listed.max(axis=(0, 2), initial=NOTHING) >= self.count).any():
            raise ValueError("a reflection map that lists images which it does not have")
        object.__setattr__(self, "order", (self.chains != NOTHING).sum(axis=1))

    @property
    def num_bs(self) -> int:
        """Base stations."""
        return len(self.first)

    @cached_property
    def _unfolding(self) -> tuple[Floats, Floats]:
        """Rotations ``[num_images, 3, 3]`` and offsets ``[num_images, 3]``: an image of the UE is R x + t."""
        rotation = np.tile(np.eye(3), (len(self.chains), 1, 1))
        offset = np.zeros((len(self.chains), 3))
        for at in range(self.chains.shape[1]):
            there = np.flatnonzero(self.chains[:, at] != NOTHING)
            plane = self.planes[self.chains[there, at]]
            normal, distance = plane[:, :3], plane[:, 3]
            # The ray meets this plane after those before it: the UE is mirrored in it before them.
            turned = np.einsum("nij,nj->ni", rotation[there], normal)
            rotation[there] -= 2 * turned[:, :, None] * normal[:, None, :]
            offset[there] += 2 * turned * distance[:, None]
        return rotation, offset

    def seen_near(self, bs: int, position_m: Floats, most: int) -> Integers:
        """Images of one base station that are seen from the cubes of some positions, the likeliest first.

        Args:
            bs: Which base station.
            position_m: ``[n, 3]``, m; outside of the area the nearest cube counts.
            most: No more than so many.

        Returns:
            ``[images]``, counted over all base stations: listed by many of the cubes and high up.
        """
        cell = np.floor((position_m - self.corner_m) / self.voxel_m).astype(np.int64)
        x, y, z = np.clip(cell, 0, self.shape - 1).T
        listed = self.listed[(x * self.shape[1] + y) * self.shape[2] + z, bs]
        rank = np.broadcast_to(np.arange(listed.shape[1]), listed.shape)
        there = listed != NOTHING
        weight = np.bincount(listed[there], 1 / (4.0 + rank[there]), minlength=1)
        found = np.flatnonzero(weight)
        best = found[np.argsort(-weight[found], kind="stable")[:most]]
        images: Integers = self.first[bs] + best
        return images

    def unfolded(self, images: Integers, position_m: Floats) -> Floats:
        """Where the UE seems to be in the light of each image, ``[n, images, 3]``, m.

        Args:
            images: ``[images]``, counted over all base stations.
            position_m: ``[n, 3]``, m.
        """
        rotation, offset = self._unfolding
        turned = position_m @ rotation[images].reshape(-1, 3).T
        result: Floats = turned.reshape(len(position_m), len(images), 3) + offset[images]
        return result

    def save(self, path: Path) -> None:
        """Write the map as a compressed NumPy archive."""
        np.savez_compressed(
            path,
            planes=self.planes.astype(np.float32),
            chains=self.chains.astype(np.int32),
            first=self.first.astype(np.int32),
            count=self.count.astype(np.int32),
            listed=self.listed.astype(np.int16),
            corner_m=self.corner_m.astype(np.float64),
            voxel_m=np.float64(self.voxel_m),
            shape=self.shape.astype(np.int32),
        )

    @staticmethod
    def load(path: Path) -> ReflectionMap:
        """Read what `save` wrote; raises ReflectionMapError."""
        try:
            found: dict[str, Any] = read_arrays(path, _ARRAYS)
            whole = {
                name: found[name].astype(np.int64) for name in ("chains", "first", "count", "listed", "shape")
            }
            return ReflectionMap(
                planes=found["planes"].astype(np.float64),
                corner_m=found["corner_m"].astype(np.float64),
                voxel_m=float(found["voxel_m"]),
                **whole,
            )
        except OSError as error:
            raise ReflectionMapError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, TypeError) as error:
            raise ReflectionMapError(f"{path}: damaged ({str(error).splitlines()[0]})") from error
