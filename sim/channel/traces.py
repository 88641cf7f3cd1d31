"""Stored traces: where they are kept, and the paths of a position out of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.path_table import PathFile, PathTable, PathTableError, concatenate
from sim.channel.world import World
from sim.scenario import Scenario

GRID_M = 1e-4
"""Positions are looked up on this grid, so that rounding in the last digit finds the same trace."""

BLOCK = 256
"""Snapshots of a UE whose paths are read together."""
BLOCKS_KEPT = 2
"""In memory at a time: UEs that follow each other on the same way need not be in the same block."""

SHIPPED_TRACES = Path(__file__).resolve().parents[2] / "scenarios" / "traces"


def traces_cache() -> Path:
    """Where traces made on this machine are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "fronthaul-sim" / "traces"


def trace_folders(scenario_folder: Path | None) -> list[Path]:
    """Where traces are looked for: beside the scenario, among the shipped ones, in the cache."""
    beside = [scenario_folder / "traces"] if scenario_folder is not None else []
    return list(dict.fromkeys([*beside, SHIPPED_TRACES, traces_cache()]))


def on_grid(position_m: NDArray[Any]) -> NDArray[np.int64]:
    """Positions as whole multiples of the grid, ``[n, 3]``."""
    result: NDArray[np.int64] = np.rint(np.asarray(position_m) / GRID_M).astype(np.int64)
    return result


def position_digest(position_m: NDArray[Any]) -> str:
    """Name of a set of positions, 12 hexadecimal digits."""
    return hashlib.sha256(on_grid(position_m).tobytes()).hexdigest()[:12]


def scenario_positions(scenario: Scenario) -> dict[str, NDArray[np.float64]]:
    """Position of each UE at each of its snapshots, on the grid, ``{ue: [n, 3]}``, m."""
    positions = {}
    for ue in scenario.ue_ids:
        exact = scenario.trajectory(ue).position_in_world_m(scenario.sample_times_ns(ue) * 1e-9)
        positions[ue] = on_grid(exact).astype(np.float64) * GRID_M
    return positions


class TraceLibrary:
    """The stored paths of one world, found by position. Files are read one by one until nothing is missing.

    Args:
        world: Files of other worlds are not looked at.
        folders: Searched in this order.
        first: Files whose names begin so come first in their folder.
    """

    def __init__(self, world: World, folders: list[Path], first: str = "") -> None:
        self.world_key = world.key()
        self._unread = [
            path
            for folder in folders
            for path in sorted(
                folder.glob(f"*{self.world_key}.h5"), key=lambda path: (not path.name.startswith(first), path)
            )
        ]
        self._files: list[PathFile] = []
        self._found: dict[bytes, StoredPaths] = {}
        self._where: dict[tuple[int, ...], tuple[int, int]] = {}

    def add(self, path: Path) -> None:
        """Take in the table of a file.

        Raises:
            PathTableError: It is damaged, or of another world than its name says.
        """
        file = PathFile(path)
        if file.world_key != self.world_key:
            raise PathTableError(f"{path}: paths of world {file.world_key}, expected {self.world_key}")
        number = len(self._files)
        self._files.append(file)
        for row, place in enumerate(map(tuple, on_grid(file.position_m).tolist())):
            self._where.setdefault(place, (number, row))

    def missing(self, position_m: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the positions ``[n, 3]`` no file has, ``[n]``; raises PathTableError."""
        places = list(map(tuple, on_grid(position_m).tolist()))
        while True:
            lacking = np.array([place not in self._where for place in places], dtype=bool)
            if not self._unread or not lacking.any():
                return lacking
            self.add(self._unread.pop(0))

    def paths(self, position_m: NDArray[Any]) -> StoredPaths:
        """The paths of each position, in order; none may be missing. UEs on the same way share them."""
        found = [self._where[tuple(place)] for place in on_grid(position_m).tolist()]
        places = np.array(found, dtype=np.int32).reshape(-1, 2)
        return self._found.setdefault(places.tobytes(), StoredPaths(self._files, places))


class StoredPaths:
    """Paths of a UE's snapshots, read from their files block by block: a long run needs no more memory.

    Args:
        files: Where they are.
        places: File and row of each snapshot, ``[n, 2]``.
    """

    def __init__(self, files: Sequence[PathFile], places: NDArray[np.int32]) -> None:
        self._files, self._places = files, places
        self._tables: dict[int, PathTable] = {}

    def __len__(self) -> int:
        return len(self._places)

    def at(self, index: int) -> tuple[PathTable, int]:
        """A table that has a snapshot's paths, and which of its rows they are; raises PathTableError."""
        block, row = divmod(index, BLOCK)
        table = self._tables.get(block)
        if table is None:
            table = self._read(self._places[block * BLOCK : (block + 1) * BLOCK])
            self._tables[block] = table
            while len(self._tables) > BLOCKS_KEPT:
                del self._tables[next(iter(self._tables))]
        return table, row

    def whole(self) -> PathTable:
        """One table with a row per snapshot; raises PathTableError."""
        return self._read(self._places)

    def _read(self, places: NDArray[np.int32]) -> PathTable:
        numbers, rows = places.T
        used = np.unique(numbers)
        parts = [self._files[number].rows(rows[numbers == number]) for number in used]
        order = np.concatenate([np.flatnonzero(numbers == number) for number in used])
        return concatenate(parts).select(np.argsort(order))
