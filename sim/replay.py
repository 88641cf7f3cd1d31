"""Fuse and track a recording again, with the central unit's policy of the run or another one."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simpy

from broker.bus import Arrival
from broker.frame import Frame, FrameError, decode_frame, encode_frame, wire_bits
from nodes import Fix, Miss, PositioningModel, Track
from sim.agenda import Agenda, Moment
from sim.api import RunResult, both, headline, model_of, output_folder, remove_with
from sim.centre import XYZ, Centre, cu_policy
from sim.clock import NANOSECONDS_PER_SECOND, ns_from_s
from sim.errors import UserError
from sim.fingerprint import Event, Fingerprint
from sim.fix_book import Snapshot
from sim.frame_ledger import FrameLedger, FrameRow
from sim.interruption import interruption_in_charge
from sim.metrics import summarise
from sim.record import Recorder, versions
from sim.run_folder import TABLE_NAMES, BusMessage, RunFolder, RunFolderError
from sim.scenario import Scenario, load_scenario
from sim.streams_out import Hub, link_states
from sim.wire import Parts

if TYPE_CHECKING:
    from sim.live.conductor import Conductor
    from sim.live.recording import RecordedLinks

KINDS = ("truth", "emb", "lost", "fault")
"""Topics that a replay feeds on; what the central unit made of them it makes again."""


@dataclass(frozen=True, eq=False)
class ReplayResult(RunResult):
    """What a replay left behind.

    Attributes:
        same_fixes: whether fixes and tracks are those of the recording, bit by bit; of a run that was killed,
            those of which the rows were written by then.
    """

    same_fixes: bool


def replay(
    run: str | Path,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    *,
    model: PositioningModel | None = None,
    listener: Callable[[Event], None] | None = None,
    progress: Callable[[int], None] | None = None,
    watch: Conductor | None = None,
    hub: Hub | None = None,
) -> ReplayResult:
    """Feed the central unit what it received in a run.

    Args:
        run: the folder of a run; of one that broke off, what it has is replayed.
        overrides: `cu.KEY=VALUE` and `tracker.KEY=VALUE`.
        out: folder to write to; None: one that lives as long as the result.
        model: fuses instead of the scenario's model.
        listener: called with each event, in order.
        progress: called with the simulated time in ns, now and then.
        watch: sets the pace, and shows what happens.
        hub: told of tracks, links and failures as they come.

    Raises:
        UserError: the recording is damaged, the weights are others, or an override concerns something else
            than the central unit and the tracker.
    """
    started = time.perf_counter()
    source = RunFolder.open(run)
    scenario = with_overrides(source, overrides)
    model = model_of(scenario) if model is None else model
    recorded_with = source.versions().get("weights_digest")
    if recorded_with != model.digest.hex():
        raise UserError(f"{run}: recorded with weights {recorded_with}, here are {model.digest.hex()}")
    summary = source.summary()
    last_ns = verify(source)
    if out is not None and Path(out).resolve() == source.path.resolve():
        raise UserError(f"{out}: is the recording itself; choose another folder for the replay")
    with (
        output_folder(out) as folder,
        Recorder(
            folder,
            scenario_yaml=scenario.to_yaml(),
            versions=versions(model.digest.hex()),
            headline=headline(scenario) | {"replay_of": summary.get("digest", "")},
        ) as recorder,
    ):
        # Nobody has written down when a run ended that was killed: with the last that is known of it.
        end_ns = ns_from_s(summary["sim_time_s"]) if "sim_time_s" in summary else last_ns + 1
        until_ns = end_ns
        if summary.get("mode") == "realtime" and summary.get("complete"):
            # Such a run has waited for what was under way at its end, until all deadlines had passed.
            until_ns = max(end_ns, last_ns + 1) + cu_policy(scenario).deadline_ns + 1
        replayed = Replay(source, scenario, model, recorder, end_ns, until_ns, listener, hub)
        if watch is not None:
            replayed.show(watch)
            progress = both(progress, watch.passes)
        interruption = interruption_in_charge()
        if interruption is not None:
            progress = both(progress, lambda _: interruption.look())
        complete = False
        try:
            replayed.run(progress)
            complete = True
        finally:
            replayed.finish()
            recorder.close()
            figures = replayed.figures(folder, summary)
            wall_time_s = time.perf_counter() - started
            new = recorder.finish({"complete": complete, **figures, "wall_time_s": wall_time_s})
            if watch is not None:
                watch.end(new)
    same = same_fixes if summary.get("mode") == "realtime" else same_rows
    whole = summary.get("closed", False)
    is_same = same(source.batches("fixes"), folder.batches("fixes"), whole=whole)
    result = ReplayResult(folder, new, is_same)
    if out is None:
        remove_with(result)
    return result


BEAT_EVERY_S = 1.0
MOMENTS = {"emb": Moment.ARRIVE, "fault": Moment.FAULT}


class ToldCentre(Centre):
    """A central unit with its books, of whose results someone is told."""

    tell: Callable[[Fix | Miss], None] | None = None

    def _keep(self, fix: Fix) -> None:
        super()._keep(fix)
        if self.tell is not None:
            self.tell(fix)

    def _miss(self, ue: str, t_sample_ns: int, t_ns: int, track: Track | None) -> None:
        snapshot = self.book.snapshot(ue, t_sample_ns)
        super()._miss(ue, t_sample_ns, t_ns, track)
        if self.tell is not None and snapshot is not None:
            self.tell(Miss(ue, snapshot.seq, t_sample_ns, t_ns, "min_bs", (), track))


OUT_OF_ORDER_NS = 20 * NANOSECONDS_PER_SECOND
"""So much later than it arrived a message may have been written down."""


class Replay:
    """A recording in place of UEs, base stations and fronthaul.

    Args:
        source: the recording.
        scenario: with the policy to apply.
        model: fuses.
        recorder: open; takes all that happens.
        end_ns: the scenario of the recording covers times from 0 up to but not including this.
        until_ns: what the recording has from then on, up to but not including this, happens too.
        listener: called with each event, in order.
        hub: told of tracks, links and failures as they come.
    """

    def __init__(
        self,
        source: RunFolder,
        scenario: Scenario,
        model: PositioningModel,
        recorder: Recorder,
        end_ns: int,
        until_ns: int,
        listener: Callable[[Event], None] | None = None,
        hub: Hub | None = None,
    ) -> None:
        self._source = source
        self._hub = hub
        self._links: RecordedLinks | None = None
        self._next_beat_s = 0.0
        self._scenario = scenario
        self._recorder = recorder
        self._agenda = Agenda()
        self.events = Fingerprint(listener)
        self.ledger = FrameLedger(recorder.tables["frames"].append)
        self.centre = ToldCentre(
            scenario,
            model,
            None,
            agenda=self._agenda,
            ledger=self.ledger,
            events=self.events,
            recorder=recorder,
        )
        if hub is not None:
            self.centre.tell = lambda result: hub.track(result, result.t_fix_ns, scenario)
        self._overhead_bytes = round(scenario.fronthaul.overhead)
        self._end_ns = end_ns
        self._until_ns = until_ns

    def show(self, watch: Conductor) -> None:
        """Have someone watch, and set the pace."""
        from sim.live.recording import RecordedLinks

        recorded = load_scenario(self._source.scenario_path)
        self._links = RecordedLinks(self._source, recorded, watch.publish)
        self._recorder.bus.listener = watch.takes
        watch.begin_again(self._links, self.ledger)

    def run(self, progress: Callable[[int], None] | None = None) -> None:
        """Let the recording happen again."""

        def passes(t_ns: int) -> None:
            self.events.advance(t_ns)
            if progress is not None:
                progress(t_ns)
            if self._hub is not None and time.monotonic() >= self._next_beat_s:
                self._next_beat_s = time.monotonic() + BEAT_EVERY_S
                self._beat(self._hub, t_ns)

        self._agenda.process(self._feed())
        self._agenda.run(self._until_ns, each=passes)

    def _beat(self, hub: Hub, t_ns: int) -> None:
        """Tell how links and figures stand."""
        t_s, counts = t_ns / NANOSECONDS_PER_SECOND, self.ledger.counts
        if self._links is not None:
            law = self._links.fronthaul
            hub.links(link_states(law.link_counts(), law.utilisation(), t_s))
        figures = {
            "run_time_seconds": t_s,
            "fixes": self.centre.book.fixes,
            "fixes_missed": self.centre.book.missed,
            "frames_sent": counts.sent,
            "frames_delivered": counts.delivered,
            "frames_in_flight": counts.in_flight,
        }
        hub.state(figures, {})

    def finish(self) -> None:
        """Close the books."""
        if self._hub is not None:
            self._beat(self._hub, self._end_ns)
        self._recall_those_on_their_way()
        self.ledger.finish()
        self.events.finish()

    def _recall_those_on_their_way(self) -> None:
        """The bus has not carried frames that were in flight at the end; the table of frames knows them."""
        for batch in self._source.batches("frames"):
            for row in batch.filter(pc.equal(batch.column("fate"), "in_flight")).to_pylist():
                self.ledger.recall(FrameRow(**row))

    def figures(self, folder: RunFolder, recorded: dict[str, Any]) -> dict[str, Any]:
        """The summary of the replay; what it does not do again is taken over from the recording's."""
        return {
            "valid": not self.centre.errors,
            "errors": self.centre.errors,
            "fingerprint": self.events.fingerprint,
            "digest": self.events.digest,
            "events": self.events.count,
            **summarise(folder, end_ns=self._end_ns, csi_bits=recorded.get("csi_bits", 0)),
            "fixes_revised": self.centre.revisions,
            "snapshots_open": self.centre.book.still_open,
            **{key: recorded[key] for key in ("csi_bits", "links", "faults") if key in recorded},
            "sim_time_s": self._end_ns / NANOSECONDS_PER_SECOND,
        }

    def _feed(self) -> Generator[simpy.Event, Any, None]:
        """Message after message at the time it was recorded; frames that arrived together do so again."""
        for (kind, t_ns), together in groupby(
            self._messages(), key=lambda one: (one[0], one[1].t_arrival_ns)
        ):
            yield self._agenda.at(t_ns, MOMENTS.get(kind, Moment.SAMPLE))
            messages = [message for _, message in together]
            try:
                self._take(kind, messages)
            except (FrameError, ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
                raise RunFolderError(f"{self._source.bus_path}: damaged: {error}") from error

    def _messages(self) -> Iterator[tuple[str, BusMessage]]:
        for message in in_order_of_time(self._source.messages()):
            kind = message.topic.partition("/")[0]
            if kind in KINDS:
                yield kind, message

    def _take(self, kind: str, messages: list[BusMessage]) -> None:
        if kind == "emb":
            self.centre.receive([self._arrival(message) for message in messages])
        for message in messages:
            if kind == "truth":
                self._sample(message)
            elif kind == "lost":
                self._lose(message)
            elif kind == "fault":
                self._fail(message)

    def _sample(self, message: BusMessage) -> None:
        ue = message.topic.split("/")[1]
        place = json.loads(message.body)["position_m"]
        position_m = np.array([place[axis] for axis in XYZ])
        for bs in self._scenario.bs_ids:
            self.ledger.owe(bs, ue, message.sequence, message.t_sample_ns)
        self.events.add(Event(message.t_sample_ns, "sample", f"{ue}#{message.sequence}"))
        self.centre.expect(Snapshot(ue, message.sequence, message.t_sample_ns, position_m))

    def _fail(self, message: BusMessage) -> None:
        """What failed is told again, and has no effect: what came of it is in the recording too."""
        entry = json.loads(message.body)
        times = {"t_sample_ns": message.t_sample_ns, "t_ns": message.t_arrival_ns, "seq": message.sequence}
        self._recorder.bus.json(message.topic, "fault", entry, **times)
        if self._hub is not None:
            self._hub.fault(entry)

    def _arrival(self, message: BusMessage) -> Arrival:
        header, payload = msgpack.unpackb(message.body)
        frame = self._published((message.topic.encode(), header, payload))
        return Arrival(encode_frame(frame), message.t_arrival_ns)

    def _lose(self, message: BusMessage) -> None:
        cause, *parts = msgpack.unpackb(message.body)
        source = message.topic.removeprefix("lost/")
        bs, ue, _ = source.split("/")
        if parts:
            self._published((f"emb/{source}".encode(), parts[0], parts[1]))
        self.ledger.drop((bs, ue, message.sequence), cause)
        name = f"{bs}/{ue}#{message.sequence}"
        self.events.add(Event(message.t_arrival_ns, "drop", name, cause))
        self._recorder.bus.lost(
            source,
            parts,
            t_sample_ns=message.t_sample_ns,
            t_ns=message.t_arrival_ns,
            seq=message.sequence,
            cause=cause,
        )

    def _published(self, parts: Parts) -> Frame:
        frame = decode_frame(parts)
        self.ledger.publish(frame, wire_bits(parts, self._overhead_bytes))
        return frame


def in_order_of_time(messages: Iterator[BusMessage]) -> Iterator[BusMessage]:
    """Messages by the time they arrived; in real time they were written down as they became known."""
    waiting: list[tuple[int, int, BusMessage]] = []
    for number, message in enumerate(messages):
        heapq.heappush(waiting, (message.t_arrival_ns, number, message))
        while waiting[0][0] < message.t_arrival_ns - OUT_OF_ORDER_NS:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]


def with_overrides(source: RunFolder, overrides: Sequence[str]) -> Scenario:
    """The scenario of a run with another central unit or tracker.

    Raises:
        UserError: an override is wrong, or changes what a replay cannot.
    """
    recorded = load_scenario(source.scenario_path)
    changed = load_scenario(source.scenario_path, overrides)
    if recorded.model_copy(update={"cu": changed.cu, "tracker": changed.tracker}) != changed:
        raise UserError(f"a replay can change cu and tracker only, not {', '.join(overrides)}")
    return changed


def verify(source: RunFolder) -> int:
    """Read a recording once, so that a damaged one is refused before anything is written.

    Returns:
        The time of its last message, in ns.

    Raises:
        RunFolderError: a table or the bus recording is missing or damaged.
    """
    for name in TABLE_NAMES:
        for _ in source.batches(name):
            pass
    return max((message.t_arrival_ns for message in source.messages()), default=0)


def same_fixes(one: Iterator[pa.RecordBatch], other: Iterator[pa.RecordBatch], *, whole: bool = True) -> bool:
    """Whether two tables hold the same fixes and misses, in whatever order.

    In real time a miss is written down later than it happened, beside what was known by then.

    Args:
        one: a table.
        other: the other.
        whole: else the other may have more than the one.
    """

    def by_snapshot(batches: Iterator[pa.RecordBatch]) -> dict[Any, Any]:
        rows = ((row["ue"], row["seq"], row) for row in _rows(batches))
        return {(ue, seq): None if row["missed"] else row for ue, seq, row in rows}

    left, right = by_snapshot(one), by_snapshot(other)
    return left == right if whole else left.items() <= right.items()


def same_rows(one: Iterator[pa.RecordBatch], other: Iterator[pa.RecordBatch], *, whole: bool = True) -> bool:
    """Whether two tables hold the same rows in the same order, however they are cut into batches.

    Arguments are those of `same_fixes`.
    """
    pairs = zip_longest(_rows(one), _rows(other))
    return all(left == right or (left is None and not whole) for left, right in pairs)


def _rows(batches: Iterator[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()
