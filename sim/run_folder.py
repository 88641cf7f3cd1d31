"""What a run leaves on disk, and how it is read back; written by `sim.record`."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from mcap.records import Channel, Chunk, McapRecord, Message
from mcap.stream_reader import StreamReader, breakup_chunk

from sim.errors import UserError, first_line

SCENARIO_FILE = "scenario.resolved.yaml"
VERSIONS_FILE = "versions.json"
SUMMARY_FILE = "summary.json"
BUS_FILE = "bus.mcap"
REPORT_FILE = "report.html"
MOST_CHUNK_BYTES = 32 << 20
"""Of bus messages that were compressed together; ours are of less than a tenth of it."""

TableName = Literal["fixes", "frames"]
TABLE_NAMES: tuple[TableName, ...] = ("fixes", "frames")

_COVARIANCE = ("xx", "xy", "xz", "yy", "yz", "zz")

SCHEMAS: dict[TableName, pa.Schema] = {
    # One row per (UE, snapshot): a fix, or missed.
    "fixes": pa.schema(
        [
            pa.field("ue", pa.string(), nullable=False),
            pa.field("seq", pa.int64(), nullable=False),
            pa.field("t_sample_ns", pa.int64(), nullable=False),
            pa.field("t_fix_ns", pa.int64(), nullable=False),
            *(pa.field(f"{axis}_m", pa.float64()) for axis in "xyz"),
            *(pa.field(f"cov_{pair}", pa.float64()) for pair in _COVARIANCE),
            *(pa.field(f"track_{axis}_m", pa.float64()) for axis in "xyz"),
            *(pa.field(f"track_v{axis}_mps", pa.float64()) for axis in "xyz"),
            *(pa.field(f"track_cov_{pair}", pa.float64()) for pair in _COVARIANCE),
            *(pa.field(f"true_{axis}_m", pa.float64(), nullable=False) for axis in "xyz"),
            pa.field("error_3d_m", pa.float64()),
            pa.field("track_error_3d_m", pa.float64()),
            pa.field("bs_used", pa.string(), nullable=False),
            pa.field("num_bs", pa.int64(), nullable=False),
            pa.field("latency_s", pa.float64()),
            pa.field("age_s", pa.float64()),
            pa.field("missed", pa.bool_(), nullable=False),
        ]
    ),
    # One row per frame a BS owed the CU, with what became of it.
    "frames": pa.schema(
        [
            pa.field("bs", pa.string(), nullable=False),
            pa.field("ue", pa.string(), nullable=False),
            pa.field("seq", pa.int64(), nullable=False),
            pa.field("t_sample_ns", pa.int64(), nullable=False),
            pa.field("t_publish_ns", pa.int64()),
            pa.field("t_arrival_ns", pa.int64()),
            pa.field("fate", pa.string(), nullable=False),
            pa.field("cause", pa.string()),
            pa.field("payload_bits", pa.int64(), nullable=False),
            pa.field("wire_bits", pa.int64(), nullable=False),
            pa.field("gain_db", pa.float64()),
            pa.field("used", pa.bool_(), nullable=False),
        ]
    ),
}


def in_order(parts: Path) -> list[Path]:
    """The parts of a table, of which there may be more than their names have digits for."""
    return sorted(parts.glob("*.parquet"), key=lambda part: (len(part.name), part.name))


def _records(stream: BinaryIO) -> Iterator[McapRecord]:
    """The records of a recording. Raises anything where it is damaged; takes bounded memory all the same."""
    reader = StreamReader(stream, emit_chunks=True, validate_crcs=True, record_size_limit=MOST_CHUNK_BYTES)
    for record in reader.records:
        if isinstance(record, Chunk):
            yield from _unpacked(record)
        else:
            yield record


def _unpacked(chunk: Chunk) -> list[McapRecord]:
    if chunk.compression not in ("", "zstd"):
        raise ValueError(f"compressed with {chunk.compression[:20]!r}, not zstd")
    sizes = [chunk.uncompressed_size]
    if chunk.compression:
        sizes.append(zstandard.frame_content_size(chunk.data))  # -1: not said, then the other is the limit
    if max(sizes) > MOST_CHUNK_BYTES:
        raise ValueError(f"a chunk of {max(sizes)} bytes, at most {MOST_CHUNK_BYTES}")
    return breakup_chunk(chunk, validate_crc=True)


class RunFolderError(UserError):
    """A run folder that cannot be written or read; the text is one clear line."""


@dataclass(frozen=True, slots=True)
class BusMessage:
    """One message of `bus.mcap`: its topic, when it was sampled and when it arrived, and its bytes."""

    topic: str
    t_sample_ns: int
    t_arrival_ns: int
    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run.

    While a run goes, its tables grow as numbered parts (`fixes.parts/00000.parquet`), each a whole
    Parquet file; when the run ends they become one file (`fixes.parquet`). So a folder can be read at any
    time, also after its run was killed.
    """

    path: Path

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """Make an empty run folder at `path`, in place of an earlier run if there is one.

        Raises:
            RunFolderError: `path` holds something else than a run, or cannot be written.
        """
        folder = cls(path)
        try:
            if path.exists():
                folder._clear()
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from error
        return folder

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Open the folder of a run, ended or not.

        Raises:
            RunFolderError: `path` is not a run folder.
        """
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise RunFolderError(f"{path}: no such run folder")
        for name in (VERSIONS_FILE, SCENARIO_FILE, SUMMARY_FILE):
            if not (folder.path / name).is_file():
                raise RunFolderError(f"{path}: not a run folder: {name} is missing")
        return folder

    @property
    def scenario_path(self) -> Path:
        """The scenario as it was run, every default written out."""
        return self.path / SCENARIO_FILE

    @property
    def bus_path(self) -> Path:
        """The recorded bus traffic."""
        return self.path / BUS_FILE

    def table_path(self, name: TableName) -> Path:
        """The Parquet file of a table once the run has ended."""
        return self.path / f"{name}.parquet"

    def parts_path(self, name: TableName) -> Path:
        """The folder of a table's parts while the run goes."""
        return self.path / f"{name}.parts"

    def summary(self) -> dict[str, Any]:
        """The summary; its `complete` says whether the run reached its end."""
        return self._json(SUMMARY_FILE)

    def versions(self) -> dict[str, Any]:
        """Packages, commit and weights the run was made with."""
        return self._json(VERSIONS_FILE)

    def table(self, name: TableName) -> pa.Table:
        """A whole table; `.to_pandas()` gives a DataFrame."""
        return pa.Table.from_batches(self.batches(name), schema=SCHEMAS[name])

    def batches(self, name: TableName, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """A table in pieces of bounded size.

        Raises:
            RunFolderError: the table is missing or damaged.
        """
        for path in self._parquet_files(name):
            try:
                with pq.ParquetFile(path) as file:
                    if not set(SCHEMAS[name].names) <= set(file.schema_arrow.names):
                        raise RunFolderError(f"{path}: damaged: columns are missing")
                    yield from file.iter_batches(columns=columns or SCHEMAS[name].names)
            except (pa.ArrowException, OSError) as error:
                raise RunFolderError(f"{path}: damaged: {first_line(error)}") from error

    def messages(self) -> Iterator[BusMessage]:
        """All bus messages as they were recorded; of an unfinished run, up to where it broke off.

        Raises:
            RunFolderError: the recording of a finished run is missing or damaged.
        """
        if not self.bus_path.is_file():
            raise RunFolderError(f"{self.bus_path}: missing")
        unfinished = not self.summary().get("closed", False)
        channels: dict[int, str] = {}
        try:
            with self.bus_path.open("rb") as stream:
                for record in _records(stream):
                    if isinstance(record, Channel):
                        channels[record.id] = record.topic
                    elif isinstance(record, Message):
                        yield BusMessage(
                            channels[record.channel_id],
                            record.publish_time,
                            record.log_time,
                            record.sequence,
                            record.data,
                        )
        except Exception as error:  # damaged bytes make the reader and its decompressor raise anything
            if unfinished:
                return
            raise RunFolderError(f"{self.bus_path}: damaged: {first_line(error)}") from error

    def _parquet_files(self, name: TableName) -> list[Path]:
        if self.table_path(name).is_file():
            return [self.table_path(name)]
        parts = in_order(self.parts_path(name))
        if not parts and not self.parts_path(name).is_dir():
            raise RunFolderError(f"{self.table_path(name)}: missing")
        return parts

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{path}: damaged: {first_line(error)}") from error
        if not isinstance(content, dict):
            raise RunFolderError(f"{path}: damaged: not an object")
        return content

    def _clear(self) -> None:
        if not self.path.is_dir():
            raise RunFolderError(f"{self.path}: is a file; --out needs a folder")
        if not any(self.path.iterdir()):
            return
        if not ((self.path / VERSIONS_FILE).is_file() and (self.path / SUMMARY_FILE).is_file()):
            raise RunFolderError(
                f"{self.path}: holds something else than a run; choose an empty or new folder"
            )
        for name in (SCENARIO_FILE, BUS_FILE, REPORT_FILE):
            (self.path / name).unlink(missing_ok=True)
        for table in TABLE_NAMES:
            self.table_path(table).unlink(missing_ok=True)
            shutil.rmtree(self.parts_path(table), ignore_errors=True)
        for name in (SUMMARY_FILE, VERSIONS_FILE):
            (self.path / name).unlink()
