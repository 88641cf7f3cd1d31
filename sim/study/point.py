"""Points of a study that share their embeddings, computed together."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nodes import PositioningModel
from sim.api import figures, headline
from sim.centre import Centre, tracker_params
from sim.fingerprint import Fingerprint
from sim.scenario import Scenario
from sim.study.deferred import DeferredCentre, Fusions, HeldEvents, MemoryRecorder, conclude_together
from sim.study.embeddings import Embeddings
from sim.study.stations import Bank, DirectWire, SilentChannel, encoded, knowing_stations
from sim.world import World

UNLIKE = ("wall_time_s", "scenario", "description")
"""Keys of a summary that are not the same in a separate run: how long it took, and what it is called."""


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """A run whose world has ended and whose fixes are still to come."""

    world: World
    centre: DeferredCentre
    recorder: MemoryRecorder


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
        self.fusions = Fusions(model)

    def summaries(self, scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
        """The summaries of runs, as `sim.run` of each would give them but for `UNLIKE`."""
        with no_collection():
            return self._summaries(scenarios)

    def _summaries(self, scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
        started = time.perf_counter()
        halves = [self._first_half(scenario) for scenario in scenarios]
        self.fusions.learn([snapshot for half in halves for snapshot in half.centre.fusible])
        whole = [all(map(self.fusions.is_finite, half.centre.fusible)) for half in halves]
        deferred = [half for half, is_whole in zip(halves, whole, strict=True) if is_whole]
        conclude_together(
            [half.centre for half in deferred],
            [tracker_params(half.world.scenario) for half in deferred],
            self.fusions,
        )
        share_s = (time.perf_counter() - started) / max(1, len(scenarios))
        return [
            self._summary(half.world, half.recorder, share_s) if is_whole else self.at_once(scenario)
            for scenario, half, is_whole in zip(scenarios, halves, whole, strict=True)
        ]

    def at_once(self, scenario: Scenario) -> dict[str, Any]:
        """The summary of one run that fuses as it goes: where what is sent depends on what was fused."""
        started = time.perf_counter()
        recorder = MemoryRecorder()
        world = self._world(scenario, recorder, Fingerprint(), Centre)
        world.run()
        return self._summary(world, recorder, time.perf_counter() - started)

    def _first_half(self, scenario: Scenario) -> Half:
        recorder = MemoryRecorder()
        world = self._world(scenario, recorder, HeldEvents(), DeferredCentre)
        world.run()
        assert isinstance(world.centre, DeferredCentre)
        return Half(world, world.centre, recorder)

    def _world(
        self, scenario: Scenario, recorder: MemoryRecorder, events: Fingerprint, centre: type[Centre]
    ) -> World:
        return World(
            scenario,
            channel=self._channel,
            stations=knowing_stations(scenario, self._model, self._bank),
            model=self._model,
            wire=DirectWire(),
            recorder=recorder,
            events=events,
            centre=centre,
            encode=encoded,
        )

    def _summary(self, world: World, recorder: MemoryRecorder, wall_time_s: float) -> dict[str, Any]:
        world.finish()
        complete = not world.errors
        made = figures(world, recorder.folder, complete, wall_time_s)
        return headline(world.scenario) | made | {"closed": True}
