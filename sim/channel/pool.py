"""Trace the benchmark's random points, chunk by chunk: `python -m sim trace --pool NAME`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.path_table import PathTable, concatenate, read_path_table
from sim.channel.benchmark import (
    POOLS,
    SHADOW_SITES,
    Pool,
    chunk_positions,
    num_chunks,
    sites_in_sight_by_map,
)
from sim.channel.errors import ChannelError
from sim.channel.traces import traces_cache
from sim.channel.tracing import Report, join, say, trace_chunks
from sim.channel.world import World, world_of
from sim.city import HeightMap
from sim.deployment import MUNICH6
from sim.engine import OpenEngine

HeightGrid = tuple[NDArray[np.floating], float, float, float]
"""Heights, x and y of the first node, step: the last arguments of ``chunk_positions``."""


def trace_benchmark(
    pool_name: str,
    chunks: int | None = None,
    out: Path | None = None,
    report: Report = say,
    open_engine: OpenEngine | None = None,
) -> list[Path]:
    """Trace random outdoor points of the ``munich6`` benchmark into the user's cache.

    Args:
        pool_name: One of ``POOLS``.
        chunks: Only so many of its chunks.
        out: Also write all chunks as one file to this folder.
        report: Gets lines of progress.
        open_engine: Makes what traces chunks side by side, perhaps elsewhere; None: this process traces.

    Returns:
        The chunks, or the one file in ``out``.

    Raises:
        ChannelError: There is no such pool, or it has fewer chunks; the ray tracer cannot run here; a chunk
            is damaged.
    """
    pool = pool_of(pool_name)
    world = world_of(MUNICH6)
    paths = trace_pool(world, pool, traces_cache(), munich_heights(), chunks, report, open_engine)
    return paths if out is None else [join(paths, out / f"{pool.name}-{world.key()}.h5")]


def pool_of(name: str) -> Pool:
    """A pool by its name; raises ChannelError."""
    if name not in POOLS:
        raise ChannelError(f"unknown pool '{name}'; one of {', '.join(POOLS)}")
    return POOLS[name]


def munich_heights() -> HeightGrid:
    """The shipped height map of the benchmark's scene; raises ChannelError."""
    city = HeightMap.load(MUNICH6.scene)
    if city is None:
        raise ChannelError(f"the height map of {MUNICH6.scene} is missing: git checkout -- scenarios/traces")
    return city.height_m, city.x0_m, city.y0_m, city.step_m


def pool_positions(pool: Pool, heights: HeightGrid) -> NDArray[np.float64]:
    """All positions of a pool, ``[points, 3]``, m."""
    return np.concatenate([pool_chunk(pool, chunk, heights) for chunk in range(num_chunks(pool))])


def pool_chunk(pool: Pool, chunk: int, heights: HeightGrid) -> NDArray[np.float64]:
    """Positions of one chunk of a pool, m: ``[CHUNK, 3]``, or fewer where only some are taken."""
    if pool.shadow_after is None:
        return chunk_positions(pool, chunk, *heights)
    positions = chunk_positions(POOLS["train"], pool.shadow_after + chunk, *heights)
    site_m = np.array([site.position_in_world_m for site in MUNICH6.sites])
    return positions[np.isin(sites_in_sight_by_map(*heights, positions, site_m), SHADOW_SITES)]


def chunk_path(cache: Path, world: World, pool: Pool, chunk: int) -> Path:
    """Where a chunk of a pool is kept: the name tells world, pool and chunk."""
    return cache / f"{pool.name}-{world.key()}" / f"{chunk:04d}.h5"


def trace_pool(
    world: World,
    pool: Pool,
    cache: Path,
    heights: HeightGrid,
    chunks: int | None = None,
    report: Report = say,
    open_engine: OpenEngine | None = None,
) -> list[Path]:
    """Trace the first ``chunks`` chunks of a pool (default: all) into ``cache``; resumes by itself.

    Returns the chunk files in order. Raises ChannelError if the pool has fewer, or they cannot be traced.
    """
    total = num_chunks(pool)
    if chunks is not None and chunks > total:
        raise ChannelError(f"the pool '{pool.name}' has {total} chunks, not {chunks}")
    wanted = {
        chunk_path(cache, world, pool, chunk): pool_chunk(pool, chunk, heights)
        for chunk in range(total if chunks is None else chunks)
    }
    trace_chunks(world, pool.name, wanted, report, open_engine)
    return list(wanted)


def read_pool(paths: list[Path]) -> PathTable:
    """One table of all chunks; raises PathTableError."""
    return concatenate([read_path_table(path) for path in paths])
