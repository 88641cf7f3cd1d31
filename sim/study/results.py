"""Results of a study on disk: one Parquet file per chunk of points, whole or not there, and a manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sim.errors import UserError, first_line
from sim.record import write_json
from sim.study.axis import Value
from sim.study.spec import Point, Study

MANIFEST_FILE = "manifest.json"
CHUNKS_FOLDER = "chunks"
VERSION = 1

FIGURES = (
    *(f"{name}_error_3d_{key}_m" for name in ("fix", "track") for key in ("mean", "e50", "e90")),
    *(f"{name}_error_{axis}_e90_m" for name in ("fix", "track") for axis in "hv"),
    *("fix_anees", "track_anees", "latency_p50_s", "latency_p99_s", "age_p50_s", "age_p99_s"),
    *("payload_ratio", "wire_ratio"),
)
COUNTS = ("fixes", "fixes_missed", "payload_bits", "wire_bits")
CAUSES = ("loss", "queue_full", "superseded", "link_down", "bs_down", "late", "silent")
KEPT_APART = ("wall_time_s",)
"""Of a summary: not the same twice."""


class StudyFolderError(UserError):
    """A study's folder that cannot be used; the text is one clear line."""


PLACE = (pa.field("group", pa.int64(), nullable=False), pa.field("repeat", pa.int64(), nullable=False))
OUTCOME = (
    pa.field("seed", pa.int64()),
    pa.field("scenario_digest", pa.string()),
    pa.field("error", pa.string()),
    *(pa.field(name, pa.float64()) for name in FIGURES),
    pa.field("availability", pa.float64()),
    pa.field("wire_bps", pa.float64()),
    *(pa.field(name, pa.int64()) for name in COUNTS),
    *(pa.field(f"frames_{name}", pa.int64()) for name in ("sent", "delivered", "in_flight")),
    *(pa.field(f"dropped_{cause}", pa.int64()) for cause in CAUSES),
    pa.field("fingerprint", pa.string()),
    pa.field("digest", pa.string()),
    pa.field("summary", pa.string()),
)
IDENTITY = b"study"
"""In a chunk's metadata: the scenario and the axes that its points are of, and the weights."""
Row = Mapping[str, Any]
TAKEN = frozenset(column.name for column in (*PLACE, *OUTCOME))


def column_of(axis: str) -> str:
    """The column of an axis: its name, or ``axis.NAME`` where every table has a column of that name."""
    return f"axis.{axis}" if axis in TAKEN else axis


def schema_of(study: Study) -> pa.Schema:
    """Columns of the results: where a point stands, its figures, its whole summary."""
    axes = [
        pa.field(column_of(axis.name), pa.float64() if study.is_numeric(number) else pa.string())
        for number, axis in enumerate(study.axes)
    ]
    return pa.schema([*PLACE, *axes, *OUTCOME])


def place_of(study: Study, values: Sequence[Value]) -> dict[str, float | str | None]:
    """The columns of the axes for one combination of values."""
    return {
        column_of(axis.name): value.number if study.is_numeric(number) else value.label
        for number, (axis, value) in enumerate(zip(study.axes, values, strict=True))
    }


def row_of(
    study: Study, point: Point, seed: int | None, digest: str | None, outcome: Mapping[str, Any] | str
) -> dict[str, Any]:
    """The row of a point: of its summary, or of the one line that says why there is none."""
    row: dict[str, Any] = {"group": point.group, "repeat": point.repeat, **place_of(study, point.values)}
    row |= {"seed": seed, "scenario_digest": digest}
    if isinstance(outcome, str):
        return row | {"error": outcome}
    summary = {key: item for key, item in outcome.items() if key not in KEPT_APART}
    frames = summary["frames"]
    owed = summary["fixes"] + summary["fixes_missed"]
    row |= {name: summary[name] for name in (*FIGURES, *COUNTS, "fingerprint", "digest")}
    row |= {f"frames_{name}": frames[name] for name in ("sent", "delivered", "in_flight")}
    row |= {f"dropped_{cause}": frames["dropped"].get(cause, 0) for cause in CAUSES}
    row["availability"] = summary["fixes"] / owed if owed else None
    row["wire_bps"] = summary["wire_bits"] / summary["sim_time_s"] if summary["sim_time_s"] else None
    row["summary"] = json.dumps(summary, sort_keys=True)
    return row


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The folder of a study: ``manifest.json`` and ``chunks/<key>.parquet``."""

    path: Path

    @classmethod
    def create(cls, path: Path, *, resume: bool) -> StudyFolder:
        """Make the folder, or go on in it.

        Raises:
            StudyFolderError: it holds something, and `resume` was not asked for; or cannot be written.
        """
        folder = cls(path)
        try:
            if path.exists() and not resume:
                if not path.is_dir():
                    raise StudyFolderError(f"{path}: is a file; --out needs a folder")
                if any(path.iterdir()):
                    raise StudyFolderError(f"{path}: is not empty; --resume goes on with what is there")
            folder.chunks_path.mkdir(parents=True, exist_ok=True)
            for unfinished in folder.chunks_path.glob("*.writing"):
                unfinished.unlink()
        except OSError as error:
            raise StudyFolderError(f"{path}: cannot be written: {error.strerror}") from error
        return folder

    @property
    def chunks_path(self) -> Path:
        """The folder of the results."""
        return self.path / CHUNKS_FOLDER

    def chunk_path(self, key: str) -> Path:
        """The file of one chunk."""
        return self.chunks_path / f"{key}.parquet"

    def manifest(self) -> dict[str, Any]:
        """What the study is; raises StudyFolderError."""
        path = self.path / MANIFEST_FILE
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            content["study"]["axes"]  # without them nothing can be said of the results
            if content["version"] != VERSION:
                raise StudyFolderError(f"{path}: version {content['version']}, this program reads {VERSION}")
        except OSError as error:
            raise StudyFolderError(f"{self.path}: not a study's folder: {error.strerror}: {path}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StudyFolderError(f"{path}: damaged: {error}") from error
        return content

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        """Say what the study is; raises StudyFolderError."""
        try:
            write_json(self.path / MANIFEST_FILE, {"version": VERSION, **content})
        except OSError as error:
            raise StudyFolderError(f"{self.path}: cannot be written: {error.strerror}") from error

    def write_chunk(self, key: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
        """Write one chunk, whole or not at all; raises StudyFolderError."""
        path = self.chunk_path(key)
        unfinished = path.with_suffix(".writing")
        try:
            with unfinished.open("wb") as stream:
                pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), stream, compression="zstd")
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.rename(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise StudyFolderError(f"{path}: cannot be written: {error.strerror or error}") from error

    def read_chunk(self, key: str, columns: list[str] | None = None) -> pa.Table | None:
        """One chunk, None where there is none; raises StudyFolderError if it is damaged."""
        path = self.chunk_path(key)
        if not path.exists():
            return None
        try:
            return pq.read_table(path, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise StudyFolderError(f"{path}: damaged: {first_line(error)}") from error

    def remove_others(self, keys: Iterable[str]) -> int:
        """Remove chunks of other points, scenarios or weights; gives how many there were."""
        wanted = {self.chunk_path(key) for key in keys}
        return self._remove(path for path in self._chunk_files() if path not in wanted)

    def remove_foreign(self, schema: pa.Schema, is_ours: Callable[[str, Sequence[Row]], bool]) -> int:
        """Remove chunks that no round of a study can have written; gives how many there were.

        Args:
            schema: of the study's chunks, with its identity.
            is_ours: whether a chunk of a key is of the study; gets the group and repetition of its rows.
        """
        names = [column.name for column in PLACE]

        def is_foreign(path: Path) -> bool:
            try:
                found = pq.read_schema(path)
                if found != schema or (found.metadata or {}).get(IDENTITY) != schema.metadata[IDENTITY]:
                    return True
                return not is_ours(path.stem, pq.read_table(path, columns=names).to_pylist())
            except (pa.ArrowException, OSError):
                return False  # damaged: said, and computed again, when its turn comes

        return self._remove(path for path in self._chunk_files() if is_foreign(path))

    def _chunk_files(self) -> list[Path]:
        return sorted(self.chunks_path.glob("*.parquet"))

    def _remove(self, paths: Iterable[Path]) -> int:
        others = list(paths)
        try:
            for path in others:
                path.unlink()
        except OSError as error:
            raise StudyFolderError(f"{self.path}: cannot be written: {error.strerror}") from error
        return len(others)

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """All results so far, by repeat and group; raises StudyFolderError if there are none."""
        keys = [path.stem for path in self._chunk_files()]
        tables = [table for key in keys if (table := self.read_chunk(key)) is not None]
        if not tables:
            raise StudyFolderError(f"{self.path}: holds no results")
        table = pa.concat_tables(tables).sort_by([("repeat", "ascending"), ("group", "ascending")])
        # A run that is there in two chunks, cut differently by a study that was stopped, counts once.
        place = np.array([table.column("repeat"), table.column("group")])
        fresh = np.ones(len(table), np.bool_)
        fresh[1:] = (place[:, 1:] != place[:, :-1]).any(axis=0)
        table = table.filter(pa.array(fresh))
        return table if columns is None else table.select(columns)
