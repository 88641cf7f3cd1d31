"""Run a study: what is not there yet, chunk by chunk, to its folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sim.api import model_of
from sim.engine import Engine, Failure, Task, make_engine
from sim.errors import UserError
from sim.run_folder import RunFolderError
from sim.scenario import Scenario
from sim.study.analysis import interval
from sim.study.results import IDENTITY, Row, StudyFolder, StudyFolderError, row_of, schema_of
from sim.study.spec import Point, Study, decides_model
from sim.study.work import Chunk, ToEmbed, Worker, unlike

FRAMES_PER_CHUNK = 80_000
MOST_PER_CHUNK = 40


@dataclass(slots=True)
class Sweep:
    """What a sweep did.

    Attributes:
        folder: where the results are.
        computed: points computed now.
        found: points that were there.
        failed: points with an error, of all.
        wall_time_s: of the computing, embeddings not included.
        embedding_time_s: until the last embeddings were there.
    """

    folder: StudyFolder
    computed: int = 0
    found: int = 0
    failed: int = 0
    wall_time_s: float = 0.0
    embedding_time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told how it goes.

    Attributes:
        tell: a line to be shown at once.
        progress: points done and points in all.
    """

    tell: Callable[[str], None] = print
    progress: Callable[[int, int], None] = field(default=lambda done, total: None)


def sweep(
    study: Study,
    out: Path,
    *,
    resume: bool = False,
    jobs: int | None = None,
    listener: Listener | None = None,
    engine: Engine | None = None,
) -> Sweep:
    """Compute the points of a study that are not in its folder yet.

    Args:
        study: what to run.
        out: the study's folder.
        resume: go on with what is there; else the folder must be empty or new.
        jobs: processes; None: one for each core; 1: this process alone.
        listener: is told how it goes.
        engine: computes, instead of a pool of `jobs` processes.

    Raises:
        UserError: the folder cannot be used or written; what was computed until then is there.
    """
    folder = StudyFolder.create(out, resume=resume)
    base = study.base()
    weights = model_of(base).digest.hex()
    folder.write_manifest({"study": study.as_mapping(), "weights": weights, "finished": False})
    with nullcontext(engine) if engine is not None else engine_of(study, jobs) as workers:
        return _Sweeping(study, folder, weights, base, workers, listener or Listener()).run()


def engine_of(
    study: Study, jobs: int | None = None, kind: str = "pool", address: str | None = None
) -> AbstractContextManager[Engine]:
    """Workers for a study, as of `sim.engine.make_engine`; to be closed."""
    return closing(make_engine(partial(Worker, study), jobs, kind, address))


class _Sweeping:
    """A sweep on its way."""

    def __init__(
        self,
        study: Study,
        folder: StudyFolder,
        weights: str,
        base: Scenario,
        engine: Engine,
        listener: Listener,
    ) -> None:
        self._study = study
        self._folder = folder
        self._weights = weights
        self._engine = engine
        self._listener = listener
        self._identity = [study.digest(), weights]
        self._schema = schema_of(study).with_metadata({IDENTITY: json.dumps(self._identity)})
        """Of chunks, which keep whose they are."""
        frames = len(base.bs_ids) * base.num_snapshots
        self._per_chunk = max(1, min(MOST_PER_CHUNK, FRAMES_PER_CHUNK // max(1, frames)))
        self._digests: dict[str, str] = {}
        self._keys: list[str] = []
        self._total = 0
        self._sweep = Sweep(folder)

    def run(self) -> Sweep:
        """All rounds."""
        started = time.perf_counter()
        repeat = self._study.repeat
        until = self._study.until
        if until is not None:
            self._check_figure(until.figure)
        # At once, not at the end: a study that is stopped has no rows of another one beside its own.
        removed = self._folder.remove_foreign(self._schema, self._is_ours)
        self._round(self._study.points())
        while until is not None and repeat < until.most:
            groups = self._not_known_yet(until.figure, until.half_width)
            if not groups:
                break
            self._round(point for point in self._study.points(repeat, 1) if point.group in groups)
            repeat += 1
        removed += self._folder.remove_others(self._keys)
        if removed:
            self._listener.tell(f"{self._folder.path}: removed {removed} chunks of other points or weights")
        self._folder.write_manifest(
            {
                "study": self._study.as_mapping(),
                "weights": self._weights,
                "finished": True,
                "points": self._total,
                "failed": self._sweep.failed,
                "chunks": sorted(self._keys),
            }
        )
        self._sweep.wall_time_s = time.perf_counter() - started - self._sweep.embedding_time_s
        return self._sweep

    def _round(self, points: Iterable[Point]) -> None:
        """Points of one more repetition of all groups, or of some: all embeddings, then all chunks."""
        missing: dict[str, list[Chunk]] = {}
        for heard_with, chunk in self._chunks(points):
            self._keys.append(chunk.key)
            self._total += len(chunk.points)
            if not self._is_there(chunk):
                missing.setdefault(heard_with, []).append(chunk)
        self._listener.progress(self._done, self._total)
        started = time.perf_counter()
        self._embed([chunks[0].points[0] for chunks in missing.values()])
        self._sweep.embedding_time_s += time.perf_counter() - started
        tasks = (Task("rows", chunk) for chunks in missing.values() for chunk in chunks)
        for task, rows in self._engine.map(tasks, self._listener.tell):
            self._keep(task.argument, rows)

    def _embed(self, points: Sequence[Point]) -> None:
        alone = len(points) == 1 and self._engine.jobs > 1  # the other workers' cores are free
        tasks = (Task("embed", ToEmbed(point, alone)) for point in points)
        for _, told in self._engine.map(tasks, self._listener.tell):
            if not isinstance(told, Failure):  # the points themselves will say what is wrong with them
                for warning in told:
                    self._listener.tell(warning)

    def _chunks(self, points: Iterable[Point]) -> Iterator[tuple[str, Chunk]]:
        """Points that share embeddings, those with the same messages side by side, cut into chunks."""
        by_embeddings: dict[str, list[Point]] = {}
        for point in points:
            by_embeddings.setdefault(self._study.heard_with(point), []).append(point)
        for heard_with, together in by_embeddings.items():
            together.sort(key=message_of)
            for first in range(0, len(together), self._per_chunk):
                some = tuple(together[first : first + self._per_chunk])
                yield heard_with, Chunk(self._key_of(some), some)

    def _key_of(self, points: Sequence[Point]) -> str:
        """Names a chunk: by its points, which share their embeddings, and by their weights."""
        content = [
            [point.group, point.repeat, point.changes, [value.label for value in point.values]]
            for point in points
        ]
        text = json.dumps([self._identity, content, *self._other_weights(points[0])], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _other_weights(self, point: Point) -> list[str]:
        """Digest of the weights of a point that brings its own; nothing for one that does not."""
        changes = {key: item for key, item in point.changes.items() if decides_model(key)}
        if not changes:
            return []
        known_as = json.dumps(changes, sort_keys=True)
        if known_as not in self._digests:
            try:
                self._digests[known_as] = model_of(self._study.scenario(point)).digest.hex()
            except UserError:  # the point itself will say what is wrong with it
                self._digests[known_as] = ""
        return [self._digests[known_as]]

    def _is_there(self, chunk: Chunk) -> bool:
        try:
            table = self._folder.read_chunk(chunk.key)
        except StudyFolderError as error:
            self._listener.tell(f"{error}; computing it again")
            return False
        if table is None:
            return False
        if table.schema != self._schema or len(table) != len(chunk.points):
            self._listener.tell(f"{self._folder.chunk_path(chunk.key)}: damaged; computing it again")
            return False
        self._sweep.found += len(chunk.points)
        self._sweep.failed += len(table) - table.column("error").null_count
        return True

    def _keep(self, chunk: Chunk, rows: Sequence[dict[str, Any]] | Failure) -> None:
        """Write the rows of a chunk, and tell of those that failed."""
        if isinstance(rows, Failure):
            rows = [row_of(self._study, point, None, None, rows.reason) for point in chunk.points]
        self._folder.write_chunk(chunk.key, rows, self._schema)
        for point, row in zip(chunk.points, rows, strict=True):
            if row.get("error") is not None:
                self._sweep.failed += 1
                self._listener.tell(f"failed: {self._name(point)}: {row['error']}")
        self._sweep.computed += len(chunk.points)
        self._listener.progress(self._done, self._total)

    @property
    def _done(self) -> int:
        return self._sweep.computed + self._sweep.found

    def _name(self, point: Point) -> str:
        values = [
            f"{axis.name}={value.label}" for axis, value in zip(self._study.axes, point.values, strict=True)
        ]
        return f"{', '.join(values)}, repeat {point.repeat}"

    def _is_ours(self, key: str, rows: Sequence[Row]) -> bool:
        """Whether a chunk is of points of this study, by the weights of today."""
        groups = self._study.groups
        if not rows or any(row["group"] >= len(groups) for row in rows):
            return False
        points = [Point(row["group"], row["repeat"], groups[row["group"]]) for row in rows]
        return key == self._key_of(points)

    def _check_figure(self, figure: str) -> None:
        if figure not in self._schema.names or not pa.types.is_floating(self._schema.field(figure).type):
            raise RunFolderError(f"{self._study.name}: until: there is no figure '{figure}'")

    def _not_known_yet(self, figure: str, half_width: float) -> set[int]:
        """Groups whose figure has a wider confidence interval."""
        values: dict[int, list[float]] = {}
        for key in self._keys:
            table = self._folder.read_chunk(key, ["group", figure])
            assert table is not None
            for group, value in zip(*(column.to_pylist() for column in table.columns), strict=True):
                if value is not None:
                    values.setdefault(group, []).append(value)
        return {group for group, known in values.items() if len(known) < 2 or interval(known)[1] > half_width}


def message_of(point: Point) -> str:
    """What a point sends: those alike share most fusions."""
    return json.dumps({key: value for key, value in point.changes.items() if key.startswith("model")})


@dataclass(frozen=True, slots=True)
class Comparison:
    """A sample of points, run separately.

    Attributes:
        points: how many.
        unlike: keys of summaries that differ, by point.
        separate_s: per point, with as many processes.
    """

    points: int
    unlike: dict[str, list[str]]
    separate_s: float


def compare(study: Study, number: int, jobs: int | None = None) -> Comparison:
    """Run a sample of points as `sim run` does and compare their summaries with those of the study."""
    points = list(study.points())
    at = np.unique(np.linspace(0, len(points) - 1, number).astype(int)).tolist()
    sample = [points[index] for index in at]
    with engine_of(study, jobs) as engine:
        expected = in_turn(engine, "together", sample)
        started = time.perf_counter()
        summaries = in_turn(engine, "separately", sample)
        wall_s = time.perf_counter() - started
    found = {
        f"combination {point.group}, repeat {point.repeat}": keys
        for point, one, other in zip(sample, summaries, expected, strict=True)
        if (keys := unlike(one, other))
    }
    return Comparison(len(sample), found, wall_s / len(sample))


def in_turn(engine: Engine, method: str, points: Sequence[Point]) -> list[dict[str, Any]]:
    """What a worker's method gives for each point, in their order; raises UserError for one that fails."""
    tasks = [Task(method, point) for point in points]
    results = {id(task): result for task, result in engine.map(tasks)}
    summaries: list[dict[str, Any]] = []
    for task in tasks:
        summary = results[id(task)]
        if isinstance(summary, Failure):
            raise StudyFolderError(f"a point cannot be compared: {summary.reason}")
        summaries.append(summary)
    return summaries
