"""What `python -m sim trace` does: fill the store of paths, for scenarios or for the benchmark's points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from models.path_table import PathTableError, write_path_table
from sim.channel.benchmark import POOLS
from sim.channel.channel import (
    ChannelError,
    TraceLibrary,
    scenario_positions,
    trace_folders,
    traces_cache,
    world_of,
)
from sim.channel.pool import trace_pool
from sim.channel.tracer import Tracer, TracingUnavailable
from sim.city import HeightMap
from sim.deployment import MUNICH6
from sim.errors import UserError
from sim.scenario import Scenario

CHUNK = 100
"""Scenario positions per file: what an interrupted trace has done stays done."""


def trace_scenarios(
    scenarios: Sequence[Scenario], out: Path | None, report: Callable[[str], None] = print
) -> list[Path]:
    """Trace what no stored trace has of the scenarios' positions; one file per scenario that needed any.

    Args:
        scenarios: What to trace.
        out: Folder for the traces; None: the user's cache.
        report: Gets lines of progress.

    Raises:
        ChannelError: The ray tracer cannot run here, or a stored trace is damaged.
    """
    written: list[Path] = []
    for scenario in scenarios:
        world = world_of(scenario.deployment)
        folder = out or traces_cache()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            library = TraceLibrary(world, [*trace_folders(scenario.folder), folder])
        except PathTableError as error:
            raise ChannelError(str(error)) from error
        wanted = np.concatenate(list(scenario_positions(scenario).values()))
        missing = wanted[library.missing(wanted)]
        _, first = np.unique(missing, axis=0, return_index=True)
        missing = missing[np.sort(first)]
        if not len(missing):
            report(f"{scenario.name}: all {len(wanted)} positions are there")
            continue
        written.append(_trace(scenario.name, world_of(scenario.deployment), missing, folder, report))
    return written


def _trace(
    name: str, world: object, missing: np.ndarray, folder: Path, report: Callable[[str], None]
) -> Path:
    from models.path_table import concatenate, read_path_table
    from sim.channel.channel import position_digest
    from sim.channel.tracer import World

    assert isinstance(world, World)
    target = folder / f"{name}-{position_digest(missing)}-{world.key()}.h5"
    pieces = folder / f".{target.stem}.chunks"
    pieces.mkdir(exist_ok=True)
    try:
        tracer = Tracer(world)
    except TracingUnavailable as error:
        raise ChannelError(f"{name}: {error}") from error
    paths = []
    for start in range(0, len(missing), CHUNK):
        piece = pieces / f"{start:06d}.h5"
        if not piece.is_file():
            write_path_table(tracer.trace(missing[start : start + CHUNK]), piece)
        paths.append(piece)
        report(f"{name}: {min(start + CHUNK, len(missing))} of {len(missing)} positions")
    write_path_table(concatenate([read_path_table(piece) for piece in paths]), target)
    for piece in paths:
        piece.unlink()
    pieces.rmdir()
    report(f"{name}: {target}")
    return target


def trace_benchmark(
    pool_name: str, chunks: int | None, out: Path | None, report: Callable[[str], None] = print
) -> list[Path]:
    """Trace random outdoor points of the ``munich6`` benchmark.

    Raises:
        UserError: There is no such pool, or the ray tracer cannot run here.
    """
    if pool_name not in POOLS:
        raise UserError(f"unknown pool '{pool_name}'; one of {', '.join(POOLS)}")
    city = HeightMap.load(MUNICH6.scene)
    if city is None:
        raise UserError(f"there is no height map of {MUNICH6.scene}")
    try:
        return trace_pool(
            world_of(MUNICH6),
            POOLS[pool_name],
            out or traces_cache(),
            (city.height_m, city.x0_m, city.y0_m, city.step_m),
            chunks,
            report,
        )
    except TracingUnavailable as error:
        raise ChannelError(str(error)) from error
