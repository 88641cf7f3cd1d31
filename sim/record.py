"""Write a run to its folder as it goes: bounded memory, readable at any time."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import msgpack
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import to_json

from sim.mcap_file import McapFile
from sim.run_folder import (
    SCENARIO_FILE,
    SCHEMAS,
    SUMMARY_FILE,
    TABLE_NAMES,
    VERSIONS_FILE,
    RunFolder,
    TableName,
    in_order,
)

ROWS_PER_PART = 4096
BUS_CHUNK_BYTES = 256 * 1024
BUS_COMPRESSION = 1
"""Level of Zstandard: half the time of the usual level 3, and 3 % longer, for payloads are like noise."""
_PACK = msgpack.Packer().pack
_JSON = partial(to_json, inf_nan_mode="constants")  # three times as fast as that of the standard library
PACKAGES = (
    "fronthaul-sim",
    "numpy",
    "simpy",
    "pyzmq",
    "msgpack",
    "onnxruntime",
    "pyarrow",
    "mcap",
    "pydantic",
    "ruamel.yaml",
    "h5py",
)


class TableWriter:
    """A table on disk that grows by whole Parquet files and becomes a single one when it is closed.

    Args:
        folder: of the run.
        name: of the table.
        rows_per_part: so many rows are put on disk by themselves, and make a row group in the end; parts that
            were put there earlier (`flush`) are joined until they are as many.
    """

    def __init__(self, folder: RunFolder, name: TableName, rows_per_part: int) -> None:
        self._schema = SCHEMAS[name]
        self._parts = folder.parts_path(name)
        self._path = folder.table_path(name)
        self._rows_per_part = rows_per_part
        self._rows: list[Sequence[Any]] = []
        self._num_parts = 0
        self._parts.mkdir()
        # The first table that is written takes a quarter of a second: not in the middle of a run.
        pq.write_table(self._schema.empty_table(), pa.BufferOutputStream())

    def append(self, row: Sequence[Any]) -> None:
        """Add a row: its values in the order of the schema."""
        self._rows.append(row)
        if len(self._rows) >= self._rows_per_part:
            self.flush()

    def flush(self) -> None:
        """Put the rows gathered so far on disk, as one part."""
        if not self._rows:
            return
        part = self._parts / f"{self._num_parts:05d}.parquet"
        unfinished = part.with_suffix(".writing")
        pq.write_table(self._gathered(), unfinished)
        unfinished.rename(part)
        self._num_parts, self._rows = self._num_parts + 1, []

    def _gathered(self) -> pa.Table:
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def close(self) -> None:
        """Make one file of the parts, and remove them."""
        unfinished = self._path.with_suffix(".writing")
        parts = in_order(self._parts)
        with pq.ParquetWriter(unfinished, self._schema) as writer:
            together: list[pa.Table] = []
            for part in parts:
                with pq.ParquetFile(part) as file:  # `read_table` imports for a tenth of a second first
                    together.append(file.read())
                if sum(table.num_rows for table in together) >= self._rows_per_part:
                    writer.write_table(pa.concat_tables(together))
                    together = []
            if self._rows:
                together.append(self._gathered())
            if together:
                writer.write_table(pa.concat_tables(together))
        unfinished.rename(self._path)
        for part in parts:
            part.unlink()
        self._parts.rmdir()


class BusWriter:
    """The MCAP recording of the bus: `publish_time` is the sample, `log_time` the arrival.

    Attributes:
        listener: called with what `json` is called with, but for the schema.
    """

    def __init__(self, path: Path) -> None:
        self.listener: Callable[..., None] | None = None
        self._stream = path.open("wb")
        self._file = McapFile(self._stream, "fronthaul-sim", BUS_CHUNK_BYTES, BUS_COMPRESSION)
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._unflushed_bytes = 0

    def frame(self, topic: str, parts: Sequence[bytes], *, t_sample_ns: int, t_ns: int, seq: int) -> None:
        """Record a frame that arrived.

        Args:
            topic: `emb/<bs>/<ue>/`.
            parts: header and payload as they were on the wire.
            t_sample_ns: when the UE was sampled.
            t_ns: when the frame arrived.
            seq: the frame's sequence number.
        """
        self._add(topic, "frame", "msgpack", _PACK(list(parts)), t_sample_ns, t_ns, seq)

    def lost(
        self, source: str, parts: Sequence[bytes], *, t_sample_ns: int, t_ns: int, seq: int, cause: str
    ) -> None:
        """Record a frame that did not arrive: `source` is `<bs>/<ue>/`, the rest as for `frame`.

        `parts` is empty if its BS did not even publish it.
        """
        body = _PACK([cause, *parts])
        self._add(f"lost/{source}", "lost frame", "msgpack", body, t_sample_ns, t_ns, seq)

    def json(
        self, topic: str, schema: str, content: Mapping[str, Any], *, t_sample_ns: int, t_ns: int, seq: int
    ) -> None:
        """Record a truth, fix, track or fault: JSON that MCAP viewers plot."""
        if self.listener is not None:
            self.listener(topic, content, t_sample_ns=t_sample_ns, t_ns=t_ns, seq=seq)
        self._add(topic, schema, "json", _JSON(content), t_sample_ns, t_ns, seq)

    def close(self) -> None:
        """Write the index and end the file."""
        self._file.finish()
        self._stream.close()

    def _add(
        self, topic: str, schema: str, encoding: str, body: bytes, t_sample_ns: int, t_ns: int, seq: int
    ) -> None:
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = self._file.channel(
                topic, encoding, self._schema(schema, encoding)
            )
        self._file.message(channel, body, log_ns=t_ns, publish_ns=t_sample_ns, sequence=seq)
        self._unflushed_bytes += len(body)
        if self._unflushed_bytes > BUS_CHUNK_BYTES:
            self._unflushed_bytes = 0
            self._stream.flush()

    def _schema(self, name: str, encoding: str) -> int:
        if encoding != "json":
            return 0
        if name not in self._schemas:
            schema = json.dumps({"title": name, "type": "object"}).encode()
            self._schemas[name] = self._file.schema(name, "jsonschema", schema)
        return self._schemas[name]


class Records(Protocol):
    """What a run is written to: `Recorder`, or something that keeps less."""

    @property
    def tables(self) -> Mapping[TableName, Any]:
        """Of each table something with `append(row)`."""
        ...

    @property
    def bus(self) -> Any:
        """Something like a `BusWriter`."""
        ...


class Recorder:
    """Everything a run leaves behind, as a context manager.

    On entry the folder is a valid, incomplete run; on exit, however the run ended, tables and bus recording
    are closed and the summary given to `finish` is written.

    Args:
        folder: the empty folder to write to.
        scenario_yaml: the scenario with every default written out.
        versions: see `versions()`.
        headline: what the summary says from the start (scenario, seed).
        rows_per_part: rows of a table that may be lost when the process is killed, and wait in its memory,
            if nobody puts them on disk earlier; None: `ROWS_PER_PART`.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        scenario_yaml: str,
        versions: Mapping[str, Any],
        headline: Mapping[str, Any],
        rows_per_part: int | None = None,
    ) -> None:
        self.folder = folder
        self._rows_per_part = ROWS_PER_PART if rows_per_part is None else rows_per_part
        self._scenario_yaml = scenario_yaml
        self._versions = versions
        self._headline = dict(headline)
        self._closed = False

    def __enter__(self) -> Self:
        write_json(self.folder.path / VERSIONS_FILE, self._versions)
        write_json(self.folder.path / SUMMARY_FILE, self._headline | {"complete": False, "closed": False})
        write_text(self.folder.path / SCENARIO_FILE, self._scenario_yaml)
        self.tables = {name: TableWriter(self.folder, name, self._rows_per_part) for name in TABLE_NAMES}
        self.bus = BusWriter(self.folder.bus_path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close tables and bus recording; the second time nothing happens."""
        if self._closed:
            return
        self._closed = True
        for table in self.tables.values():
            table.close()
        self.bus.close()

    def finish(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Write the final summary: the last thing that happens to a run folder."""
        content = self._headline | dict(summary) | {"closed": True}
        write_json(self.folder.path / SUMMARY_FILE, content)
        return content


def versions(weights_digest: str) -> dict[str, Any]:
    """What a run was made with: packages, Python, platform, commit, digest of the weights."""
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "packages": packages,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git_commit": git_commit(Path(__file__).resolve().parents[1]),
        "weights_digest": weights_digest,
    }


def git_commit(folder: Path) -> str | None:
    """The commit checked out at `folder`, with `+` if tracked files were changed; None elsewhere."""
    if not (folder / ".git").exists():
        return None
    try:
        output = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return output.stdout.strip()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that a reader finds the old file or the new one, never half of it."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text so that a reader finds the old file or the new one, never half of it."""
    unfinished = path.with_name(path.name + ".writing")
    with unfinished.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.rename(path)
