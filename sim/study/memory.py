"""A recorder that keeps the tables of a run in memory and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from sim.run_folder import SCHEMAS, TABLE_NAMES, TableName


class MemoryTables:
    """The tables of a run that nobody keeps, with as much of `RunFolder` as its figures need."""

    def __init__(self) -> None:
        self.rows: dict[TableName, list[Sequence[Any]]] = {name: [] for name in TABLE_NAMES}
        self._columns: dict[tuple[TableName, str], pa.Array] = {}

    def batches(self, name: TableName, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The whole table in one piece, after the last row; nothing if it has none."""
        if not self.rows[name]:
            return
        names = SCHEMAS[name].names if columns is None else columns
        yield pa.RecordBatch.from_arrays([self._column(name, column) for column in names], names=names)

    def _column(self, table: TableName, name: str) -> pa.Array:
        array = self._columns.get((table, name))
        if array is None:
            at = SCHEMAS[table].get_field_index(name)
            array = pa.array([row[at] for row in self.rows[table]], SCHEMAS[table].field(at).type)
            self._columns[table, name] = array
        return array


class RowSink:
    """A table of a `MemoryTables` as the world writes to it."""

    def __init__(self, rows: list[Sequence[Any]]) -> None:
        self.append = rows.append


class SilentBus:
    """A recording of the bus that is thrown away."""

    def frame(self, *arguments: Any, **keywords: Any) -> None:
        """Nothing."""

    lost = json = frame


class MemoryRecorder:
    """A recorder that keeps tables in memory and nothing else."""

    def __init__(self) -> None:
        self.folder = MemoryTables()
        self.tables = {name: RowSink(rows) for name, rows in self.folder.rows.items()}
        self.bus = SilentBus()
