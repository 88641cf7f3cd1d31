"""Trace the benchmark's random points chunk by chunk; what is done is never done again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.path_table import PathTable, concatenate, read_path_table, write_path_table
from sim.channel.benchmark import CHUNK, Pool, chunk_positions
from sim.channel.tracer import Tracer, World


def chunk_path(cache: Path, world: World, pool: Pool, chunk: int) -> Path:
    """Where a chunk of a pool is kept: the name tells world, pool and chunk."""
    return cache / f"{pool.name}-{world.key()}" / f"{chunk:04d}.h5"


def trace_pool(
    world: World,
    pool: Pool,
    cache: Path,
    height_map: tuple[np.ndarray, float, float, float],
    chunks: int | None = None,
    report: Callable[[str], None] = print,
) -> list[Path]:
    """Trace the first ``chunks`` chunks of a pool (default: all) into ``cache``; resumes by itself.

    Returns the chunk files in order. ``report`` gets a line per traced chunk, with the time still to go.
    """
    total = -(-pool.points // CHUNK)
    wanted = [chunk_path(cache, world, pool, chunk) for chunk in range(min(total, chunks or total))]
    missing = [chunk for chunk, path in enumerate(wanted) if not path.is_file()]
    if not missing:
        return wanted
    wanted[0].parent.mkdir(parents=True, exist_ok=True)
    tracer = Tracer(world)
    started = time.monotonic()
    for done, chunk in enumerate(missing, start=1):
        write_path_table(tracer.trace(chunk_positions(pool, chunk, *height_map)), wanted[chunk])
        each = (time.monotonic() - started) / done
        report(
            f"{pool.name}: chunk {chunk + 1} of {len(wanted)}, {each:.1f} s each, {each * (len(missing) - done):.0f} s to go"
        )
    return wanted


def read_pool(paths: list[Path]) -> PathTable:
    """One table of all chunks."""
    return concatenate([read_path_table(path) for path in paths])
