"""A run in two halves: first the world decides what arrives in time, then all of it is fused and tracked.

What happens in the first half does not depend on positions. So fusions of many points of a study are done
together, each different one once, and their trackers step together; numbers are those of separate runs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from broker.bus import Arrival
from broker.frame import Frame
from nodes import CentralUnit, Fix, Outcome, PositioningModel, Snapshot, Track, Tracker, TrackerParams
from nodes.central_unit import Update
from nodes.fuser import Fused, Fuser
from sim.centre import Centre, tracker_params
from sim.fingerprint import Event, Fingerprint
from sim.fix_book import Snapshot as Truth
from sim.run_folder import SCHEMAS, TABLE_NAMES, TableName
from sim.scenario import Scenario
from sim.study.stations import Encoded

FusionKey = tuple[str, int, tuple[tuple[str, int, int], ...]]
"""UE, sample time, and of each BS that was heard: id, dims and bits of its message."""

MOST_FUSIONS = 200_000
"""Remembered at once: about 100 MB."""


class Fusions:
    """Fuses each different snapshot of given embeddings once, however many points of a study need it.

    Args:
        model: fuses.
    """

    def __init__(self, model: PositioningModel) -> None:
        self._fuser = Fuser(model)
        self._known: dict[FusionKey, tuple[npt.NDArray[Any], npt.NDArray[Any], bool]] = {}
        self.done = 0

    def learn(self, snapshots: Sequence[Snapshot]) -> None:
        """Fuse those of the snapshots that are not known."""
        if len(self._known) > MOST_FUSIONS:
            self._known.clear()
        wanted = {key: snapshot for snapshot in snapshots if (key := fusion_key(snapshot)) not in self._known}
        fused = self._fuser.fuse(list(wanted.values()))
        self.done += len(wanted)
        for key, position_m, covariance_m2, finite in zip(
            wanted, fused.position_m, fused.covariance_m2, fused.finite.tolist(), strict=True
        ):
            self._known[key] = position_m, covariance_m2, finite

    def is_finite(self, snapshot: Snapshot) -> bool:
        """Whether the model gives numbers for a snapshot that is known."""
        return self._known[fusion_key(snapshot)][2]

    def fuse(self, snapshots: Sequence[Snapshot]) -> Fused:
        """As `Fuser.fuse`, of snapshots that are known."""
        known = [self._known[fusion_key(snapshot)] for snapshot in snapshots]
        return Fused(
            position_m=np.array([position_m for position_m, _, _ in known]).reshape(-1, 3),
            covariance_m2=np.array([covariance_m2 for _, covariance_m2, _ in known]).reshape(-1, 3, 3),
            finite=np.array([finite for _, _, finite in known], np.bool_),
        )


def fusion_key(snapshot: Snapshot) -> FusionKey:
    """What decides the result of a fusion, given the embeddings."""
    heard = tuple(
        [(arrival.frame.bs, arrival.frame.dims, arrival.frame.bits) for arrival in snapshot.arrivals]
    )
    return snapshot.ue, snapshot.t_sample_ns, heard


class SharedTracks:
    """The tracks of one run among those of others in one tracker."""

    def __init__(self, tracker: Tracker, run: str) -> None:
        self.tracker = tracker
        self.run = run

    def track(self, ue: str, t_ns: int | None = None) -> Track | None:
        """As `Tracker.track`."""
        return self.tracker.track(self.run + ue, t_ns)


class DeferredUnit(CentralUnit):
    """A central unit whose fusions and tracks come from outside."""

    def share(self, fusions: Fusions, tracks: SharedTracks) -> None:
        """Fuse and track with these."""
        self._fuser: Any = fusions
        self._tracker: Any = tracks

    def closed(self, t_ns: int) -> list[Snapshot]:
        """Snapshots that closed up to and including a time."""
        return self._collector.closed(t_ns)


class DeferredCentre(Centre):
    """A centre that notes what closes when, and concludes after the world has ended.

    Snapshots of which enough is heard count as fixes; `Fusions.is_finite` must be asked before `conclude`.
    """

    def _central_unit(self, scenario: Scenario, model: PositioningModel, run: str | None) -> CentralUnit:
        self._closings: list[list[Snapshot] | Truth] = []
        self.fusible: list[Snapshot] = []
        self.deferred = DeferredUnit(
            model, self.policy, tracker_params(scenario), expected=scenario.bs_ids, run=run
        )
        return self.deferred

    def advance(self) -> None:
        """Note what the central unit closes now."""
        together: list[Snapshot] = []
        for snapshot in self.deferred.closed(self._agenda.now_ns):
            if together and snapshot.t_close_ns != together[0].t_close_ns:
                self._closings.append(together)
                together = []
            together.append(snapshot)
            if len(snapshot.arrivals) >= self.policy.min_bs:
                self.fusible.append(snapshot)
                self._ledger.close(snapshot.ue, snapshot.t_sample_ns, snapshot.bs_used)
            elif snapshot.revision == 0:
                self._ledger.close(snapshot.ue, snapshot.t_sample_ns)
        if together:
            self._closings.append(together)
        self._deadline.set(self.deferred.next_deadline_ns())

    def conclude(self) -> Generator[Update, list[Outcome], None]:
        """Fuse and track all that closed, as a generator: see `CentralUnit.conclude`."""
        for closing in self._closings:
            if isinstance(closing, Truth):
                super()._give_up(closing)
                continue
            results = yield from self.deferred.conclude(closing)
            for result in results:
                self._book(result)

    def _decoded(self, arrival: Arrival) -> Frame:
        assert isinstance(arrival.parts, Encoded)
        return arrival.parts.frame

    def _record_truth(self, snapshot: Truth) -> None:
        """Not recorded, nor are fixes and tracks: nobody keeps the bus of a study."""

    def _record_fix(self, fix: Fix) -> None:
        pass

    def _record_track(self, track: Track | None, t_ns: int, seq: int) -> None:
        pass

    def _give_up(self, snapshot: Truth) -> None:
        self._closings.append(snapshot)


class HeldEvents(Fingerprint):
    """Hashes nothing before the end: the events of the second half come late."""

    def add(self, event: Event, content: bytes = b"") -> None:
        """Take an event."""
        self._pending.append((event.t_ns, self.rank(event.kind), event, content))

    def advance(self, t_ns: int) -> None:
        """Wait."""

    def finish(self) -> None:
        """Hash all, in order."""
        self._pending.sort()
        for _, _, event, content in self._pending:
            self._hash(event, content)
        self._pending.clear()


class Concluding:
    """One run on its way through its second half.

    Args:
        centre: has seen the first half.
        fusions: know all its `fusible` snapshots.
        tracks: those of this run.
    """

    def __init__(self, centre: DeferredCentre, fusions: Fusions, tracks: SharedTracks) -> None:
        centre.deferred.share(fusions, tracks)
        self.tracks = tracks
        self._conclusions = centre.conclude()
        self.update: Update | None = None
        """What the tracker shall take in next; None at the end."""
        self._advance(lambda: next(self._conclusions))

    def go_on(self, outcomes: list[Outcome]) -> None:
        """Go on to the next update that holds a fix."""
        self._advance(lambda: self._conclusions.send(outcomes))

    def _advance(self, step: Callable[[], Update]) -> None:
        try:
            self.update = step()
            while not self.update.ues:
                self.update = self._conclusions.send([])
        except StopIteration:
            self.update = None


def conclude_together(
    centres: Sequence[DeferredCentre], params: Sequence[TrackerParams], fusions: Fusions
) -> None:
    """Conclude many runs, the updates of one sample time in one call of a tracker.

    A tracker never sees times that run ahead of one of its runs, so no track is forgotten too soon.

    Args:
        centres: of the runs.
        params: of their trackers.
        fusions: know all their `fusible` snapshots.
    """
    trackers = {param: Tracker(param) for param in params}
    runs = [
        Concluding(centre, fusions, SharedTracks(trackers[param], f"{number}/"))
        for number, (centre, param) in enumerate(zip(centres, params, strict=True))
    ]
    waiting = [(min(run.update.t_ns), number) for number, run in enumerate(runs) if run.update is not None]
    heapq.heapify(waiting)
    while waiting:
        t_ns = waiting[0][0]
        now: dict[int, list[tuple[int, Concluding, Update]]] = {}
        while waiting and waiting[0][0] == t_ns:
            number = heapq.heappop(waiting)[1]
            run = runs[number]
            assert run.update is not None
            now.setdefault(id(run.tracks.tracker), []).append((number, run, run.update))
        for together in now.values():
            for number, run in take_in(together):
                if run.update is not None:
                    heapq.heappush(waiting, (min(run.update.t_ns), number))


def take_in(together: Sequence[tuple[int, Concluding, Update]]) -> list[tuple[int, Concluding]]:
    """Give the updates of several runs to their tracker in one call, and let each run go on."""
    tracker = together[0][1].tracks.tracker
    outcomes = iter(
        tracker.update(
            [run.tracks.run + ue for _, run, update in together for ue in update.ues],
            [t_ns for _, _, update in together for t_ns in update.t_ns],
            np.concatenate([update.positions_m for _, _, update in together]),
            np.concatenate([update.covariances_m2 for _, _, update in together]),
        )
    )
    for _, run, update in together:
        run.go_on([next(outcomes) for _ in update.ues])
    return [(number, run) for number, run, _ in together]


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
