"""Trace what is missing, chunk by chunk: what is done stays done, however the work ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.path_table import PathTable, PathTableError, concatenate, read_path_table, write_path_table
from sim.channel.errors import ChannelError
from sim.channel.tracer import Tracer, require_ray_tracer
from sim.channel.traces import (
    StoredPaths,
    TraceLibrary,
    position_digest,
    scenario_positions,
    trace_folders,
    traces_cache,
)
from sim.channel.world import World, world_of
from sim.engine import Failure, OpenEngine, SerialEngine, Task
from sim.scenario import Scenario

CHUNK = 100
"""Positions per chunk of a scenario."""

Positions = NDArray[np.float64]
Report = Callable[[str], None]
"""Gets a line of progress now and then."""


def say(line: str) -> None:
    """Progress on stderr."""
    print(line, file=sys.stderr, flush=True)


def find_paths(scenario: Scenario, report: Report = say, *, may_trace: bool = True) -> dict[str, StoredPaths]:
    """Paths of every snapshot of every UE, traced now where no stored trace has them.

    Raises:
        ChannelError: A trace is damaged, or one is missing and the ray tracer cannot run here.
    """
    world = world_of(scenario.deployment, scenario.folder)
    wanted = scenario_positions(scenario)
    library = TraceLibrary(world, trace_folders(scenario.folder), first=scenario.name)
    try:
        missing = distinct(wanted, library)
        if len(missing):
            check_may_trace(len(missing), may_trace)
            library.add(trace_positions(world, scenario.name, missing, traces_cache(), report))
    except PathTableError as error:
        raise ChannelError(str(error)) from error
    return {ue: library.paths(position) for ue, position in wanted.items()}


def distinct(wanted: Mapping[str, Positions], library: TraceLibrary) -> Positions:
    """Positions that the library lacks, each once, in order, ``[n, 3]``, m."""
    everything = np.concatenate(list(wanted.values()))
    missing = everything[library.missing(everything)]
    _, first = np.unique(missing, axis=0, return_index=True)
    return missing[np.sort(first)]


def check_may_trace(count: int, may_trace: bool = True) -> None:
    """Raise a ChannelError that says what is missing, and why it cannot be traced, if so."""
    try:
        if not may_trace:
            raise ChannelError("tracing is off")
        require_ray_tracer()
    except ChannelError as error:
        raise ChannelError(f"no stored trace has {count} of the scenario's positions, and {error}") from error


def trace_scenarios(
    scenarios: Sequence[Scenario],
    out: Path | None = None,
    report: Report = say,
    open_engine: OpenEngine | None = None,
) -> list[Path]:
    """Trace what is missing of the scenarios' positions, into one file for each scenario that lacks any.

    Args:
        scenarios: What to trace.
        out: Trace what this folder lacks, into it; None: what no folder has, into the user's cache.
        report: Gets lines of progress.
        open_engine: Makes what traces chunks side by side, perhaps elsewhere; None: this process traces.

    Raises:
        ChannelError: The ray tracer cannot run here, or a stored trace is damaged.
    """
    written = []
    for scenario in scenarios:
        world = world_of(scenario.deployment, scenario.folder)
        wanted = scenario_positions(scenario)
        try:
            missing = distinct(
                wanted, TraceLibrary(world, trace_folders(scenario.folder) if out is None else [out])
            )
        except PathTableError as error:
            raise ChannelError(str(error)) from error
        if len(missing):
            check_may_trace(len(missing))
            folder = out or traces_cache()
            written.append(trace_positions(world, scenario.name, missing, folder, report, open_engine))
        else:
            report(
                f"{scenario.name}: nothing to do, all {sum(map(len, wanted.values()))} positions are there"
            )
    return written


def trace_positions(
    world: World,
    name: str,
    position_m: Positions,
    folder: Path,
    report: Report,
    open_engine: OpenEngine | None = None,
) -> Path:
    """Trace positions ``[n, 3]`` into one file of a folder, whose name tells the positions and the world."""
    make_folder(folder)
    digest = f"{position_digest(position_m)}-{world.key()}"
    chunks = traces_cache() / f"{digest}.chunks"
    trace_chunks(
        world,
        name,
        {
            chunks / f"{start // CHUNK:04d}.h5": position_m[start : start + CHUNK]
            for start in range(0, len(position_m), CHUNK)
        },
        report,
        open_engine,
    )
    done = sorted(chunks.glob("*.h5"))
    target = join(done, folder / f"{name}-{digest}.h5")
    for path in done:
        path.unlink()
    chunks.rmdir()
    return target


def trace_chunks(
    world: World,
    name: str,
    chunks: Mapping[Path, Positions],
    report: Report,
    open_engine: OpenEngine | None = None,
) -> None:
    """Trace the positions of each file that is not there yet; files appear one by one, in any order."""
    todo = {path: position_m for path, position_m in chunks.items() if not path.is_file()}
    if not todo:
        return
    total = sum(map(len, chunks.values()))
    left = sum(map(len, todo.values()))
    make_worker = partial(TracingWorker, world)
    engine = SerialEngine(make_worker) if open_engine is None else open_engine(make_worker)
    report(f"{name}: {left} of {total} positions to trace")
    started, traced = time.monotonic(), 0
    tasks = {Task("trace", position_m): path for path, position_m in todo.items()}
    with closing(engine):
        for task, table in engine.map(tasks, report):
            if isinstance(table, Failure):
                raise ChannelError(f"{name}: positions could not be traced: {table.reason}")
            store(table, tasks[task])
            traced += len(table)
            left -= len(table)
            each_s = (time.monotonic() - started) / traced
            report(
                f"{name}: {total - left} of {total} positions, {1e3 * each_s:.0f} ms each, "
                f"{each_s * left:.0f} s to go"
            )


class TracingWorker:
    """Traces chunk after chunk in one world."""

    def __init__(self, world: World) -> None:
        self._tracer = Tracer(world)

    def trace(self, position_m: Positions) -> PathTable:
        """Paths of positions ``[n, 3]``."""
        return self._tracer.trace(position_m)


def join(chunks: Sequence[Path], target: Path) -> Path:
    """One file of several.

    Raises:
        ChannelError: A chunk is damaged, or the file cannot be written.
    """
    try:
        table = concatenate([read_path_table(path) for path in chunks])
    except PathTableError as error:
        raise ChannelError(f"{error}; delete it and trace again") from error
    return store(table, target)


def store(table: PathTable, path: Path) -> Path:
    """Write a table; raises ChannelError if that is not possible."""
    make_folder(path.parent)
    try:
        write_path_table(table, path)
    except OSError as error:
        raise ChannelError(f"{path}: cannot be written ({str(error).splitlines()[0]})") from error
    return path


def make_folder(folder: Path) -> None:
    """Make a folder if it is not there; raises ChannelError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ChannelError(f"{folder}: cannot be made ({error.strerror})") from error
