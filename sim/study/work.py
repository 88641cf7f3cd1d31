"""What a worker does: the points of one chunk, and, apart from it, embeddings and separate runs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nodes import PositioningModel
from sim.api import channel_of, model_of, run
from sim.embeddings_ahead import processes_worth_it
from sim.embeddings_cache import embeddings_key, embeddings_path
from sim.errors import UserError, first_line
from sim.scenario import Scenario
from sim.study.embeddings import embeddings_of
from sim.study.point import UNLIKE, Bench
from sim.study.results import row_of
from sim.study.spec import Point, Study

BENCHES_KEPT = 2


@dataclass(frozen=True, slots=True, eq=False)
class ToEmbed:
    """A point whose embeddings are wanted, and whether the worker may have all cores for them."""

    point: Point
    alone: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Points that share their embeddings."""

    key: str
    points: tuple[Point, ...]


class Worker:
    """Computes chunks; keeps model and embeddings from one to the next.

    Args:
        study: whose points these are.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._models: dict[str, PositioningModel] = {}
        self._benches: dict[str, Bench] = {}

    def embed(self, wanted: ToEmbed) -> list[str]:
        """Make sure that the embeddings of a point are in the cache; gives warnings of it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scenario = self._study.scenario(wanted.point)
            model = self._model(scenario)
            if not embeddings_path(scenario, model.digest).exists():
                self._bench(scenario, model, processes_worth_it(scenario) if wanted.alone else 0)
        return [str(warning.message) for warning in caught]

    def rows(self, chunk: Chunk) -> list[dict[str, Any]]:
        """The rows of a chunk's points, in their order; a point that fails has a row with its error."""
        rows: list[dict[str, Any] | None] = []
        good: list[tuple[int, Scenario]] = []
        for at, point in enumerate(chunk.points):
            try:
                good.append((at, self._study.scenario(point)))
                rows.append(None)
            except UserError as error:
                rows.append(row_of(self._study, point, None, None, str(error)))
        outcomes = self._outcomes([scenario for _, scenario in good])
        for (at, scenario), outcome in zip(good, outcomes, strict=True):
            point = chunk.points[at]
            rows[at] = row_of(self._study, point, scenario.seed, scenario.digest(), outcome)
        return [row for row in rows if row is not None]

    def separately(self, point: Point) -> dict[str, Any]:
        """Summary of a point run alone, with sockets and files."""
        return run(self._study.scenario(point)).summary

    def together(self, point: Point) -> dict[str, Any]:
        """Summary of a point as the study computes it."""
        scenario = self._study.scenario(point)
        return self._bench(scenario, self._model(scenario)).summaries([scenario])[0]

    def _outcomes(self, scenarios: Sequence[Scenario]) -> list[dict[str, Any] | str]:
        if not scenarios:
            return []
        try:
            bench = self._bench(scenarios[0], self._model(scenarios[0]))
            return list(bench.summaries(scenarios))
        except Exception as error:  # whatever it is, it must not take the other points with it
            if len(scenarios) == 1:
                return [first_line(error)]
        return [outcome for scenario in scenarios for outcome in self._outcomes([scenario])]

    def _model(self, scenario: Scenario) -> PositioningModel:
        name = scenario.model.name
        if name not in self._models:
            self._models[name] = model_of(scenario)
        return self._models[name]

    def _bench(self, scenario: Scenario, model: PositioningModel, processes: int = 0) -> Bench:
        key = embeddings_key(scenario, model.digest)
        bench = self._benches.pop(key, None)
        if bench is None:
            embeddings, _ = embeddings_of(scenario, model, channel_of, processes=processes)
            bench = Bench(scenario, model, embeddings)
        self._benches[key] = bench
        while len(self._benches) > BENCHES_KEPT:
            del self._benches[next(iter(self._benches))]
        return bench


def unlike(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Keys in which two summaries differ that should not."""
    return sorted(
        key for key in one.keys() | other.keys() if key not in UNLIKE and one.get(key) != other.get(key)
    )
