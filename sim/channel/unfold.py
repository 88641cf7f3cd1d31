"""The point of a traced path that stays put when the UE moves, and how directions turn meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SPECULAR = 1
DIFFRACTION = 8
"""How the ray tracer calls what happens at a vertex; 0 is nothing."""


def unfold(bs_position_m: Array, ue_position_m: Array, vertices_m: Array, kinds: Array) -> dict[str, Array]:
    """The geometry of each path as :class:`models.path_table.PathTable` keeps it.

    Args:
        bs_position_m: ``[R, 3]``, m.
        ue_position_m: ``[R, 3]``, m.
        vertices_m: Interaction points counted from the base station, ``[depth, R, 3]``, m.
        kinds: Interaction types, ``[depth, R]``; 0 = none.

    Returns:
        ``mirror`` ``[R, 3, 3]``, which takes a change of the direction at the UE to one at the BS (zero where
        an edge lies between), and ``image_distance_m`` ``[R]``: length of the path back to the BS, or to the
        last edge on the way.
    """
    num_paths = len(bs_position_m)
    depth = (kinds != 0).sum(axis=0)
    rows = np.arange(num_paths)
    points = np.concatenate([bs_position_m[None], vertices_m, np.zeros((1, num_paths, 3))])
    points[depth + 1, rows] = ue_position_m
    mirror = np.broadcast_to(np.eye(3), (num_paths, 3, 3)).copy()
    image_distance = np.zeros(num_paths)
    for step in range(int(depth.max(initial=0)) + 1):
        leg = points[step + 1] - points[step]
        image_distance += np.where(step <= depth, np.linalg.norm(leg, axis=1), 0.0)
        if not (step < depth).any():
            continue
        edge = (step < depth) & (kinds[step] == DIFFRACTION)
        image_distance[edge] = 0.0
        mirror[edge] = 0.0
        bounce = (step < depth) & (kinds[step] == SPECULAR)
        normal = unit(unit(points[step + 2] - points[step + 1])[bounce] - unit(leg)[bounce])
        mirror[bounce] = mirror[bounce] @ (np.eye(3) - 2 * normal[:, :, None] * normal[:, None, :])
    return {"mirror": mirror, "image_distance_m": image_distance}


def unit(vector: Array) -> Array:
    """Vectors scaled to length one along the last axis."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    result: Array = vector / np.maximum(length, 1e-12)
    return result
