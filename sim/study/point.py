"""Points of a study that share their embeddings, computed together."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from nodes import PositioningModel
from sim.api import Ended, figures, headline
from sim.metrics import Tables
from sim.scenario import Scenario
from sim.study.direct import DirectRun, conclude_together, is_direct
from sim.study.embeddings import Embeddings
from sim.study.fusions import Fusions
from sim.study.memory import MemoryRecorder
from sim.study.stations import Bank, DirectWire, SilentChannel, knowing_stations
from sim.world import World

UNLIKE = ("wall_time_s", "scenario", "description")
"""Keys of a summary that are not the same in a separate run: how long it took, and what it is called."""


@contextmanager
def no_collection() -> Iterator[None]:
    """Leave cyclic garbage until the end: looking for it among all the live frames takes longest of all."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Bench:
    """Runs scenarios that share their embeddings, without sockets and files.

    Args:
        scenario: any of them.
        model: of all of them.
        embeddings: of all of them.
    """

    def __init__(self, scenario: Scenario, model: PositioningModel, embeddings: Embeddings) -> None:
        self._model = model
        self._bank = Bank(scenario.bs_ids, embeddings)
        self._channel = SilentChannel(len(scenario.bs_ids), embeddings.csi_shape)
        self.fusions = Fusions(model, self._bank, knowing_stations(scenario, model, self._bank))

    def summaries(self, scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
        """The summaries of runs, as `sim.run` of each would give them but for `UNLIKE`."""
        with no_collection():
            return self._summaries(scenarios)

    def _summaries(self, scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
        started = time.perf_counter()
        runs = {at: self._half(scenario) for at, scenario in enumerate(scenarios) if is_direct(scenario)}
        fusible = {at: run.fusible for at, run in runs.items()}
        self.fusions.learn(chain.from_iterable(fusible.values()))
        runs = {at: run for at, run in runs.items() if all(map(self.fusions.is_finite, fusible[at]))}
        conclude_together(list(runs.values()), self.fusions)
        share_s = (time.perf_counter() - started) / max(1, len(scenarios))
        return [
            self._summary(runs[at], runs[at], share_s) if at in runs else self.at_once(scenario)
            for at, scenario in enumerate(scenarios)
        ]

    def at_once(self, scenario: Scenario) -> dict[str, Any]:
        """The summary of one run that fuses as it goes: where what is booked depends on what was fused."""
        started = time.perf_counter()
        recorder = MemoryRecorder()
        world = World(
            scenario,
            channel=self._channel,
            stations=knowing_stations(scenario, self._model, self._bank),
            model=self._model,
            wire=DirectWire(),
            recorder=recorder,
        )
        world.run()
        world.finish()
        return self._summary(world, recorder.folder, time.perf_counter() - started)

    def _half(self, scenario: Scenario) -> DirectRun:
        run = DirectRun(scenario, self._model, self._bank)
        run.happen()
        return run

    def _summary(self, run: Ended, tables: Tables, wall_time_s: float) -> dict[str, Any]:
        made = figures(run, tables, not run.errors, wall_time_s)
        return headline(run.scenario) | made | {"closed": True}
