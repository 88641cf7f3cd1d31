"""Real time: the same scenario, with every part a process of its own that goes by the wall clock.

The world's agenda is that of virtual time; here each event waits for its time to come. What happens to frames
meanwhile is reported by the broker and the central unit, and written down as in any run.
"""

import gc
import logging
import math
import queue
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import monotonic
from typing import Any, Literal, cast

import simpy

from broker.clock import WallClock
from broker.control import Message
from broker.counts import Counts
from broker.frame import Frame, FrameError, decode_frame, wire_bits
from broker.fronthaul import Fronthaul
from broker.plain import counts_from_plain, plain_from_law
from broker.rate import RateLimit
from broker.refusals import printable
from broker.sequence import TransportLoss
from nodes import CentralUnit, Fix, PositioningModel, Track, Tracker
from nodes.air import Air, encode_air
from nodes.plain import plain_from_track, result_from_plain
from sim.agenda import Moment
from sim.api import (
    InvalidRunError,
    RunResult,
    channel_of,
    figures,
    headline,
    model_at_home,
    output_folder,
    remove_with,
)
from sim.centre import Centre, tracker_params
from sim.clock import NANOSECONDS_PER_SECOND, ns_from_s
from sim.errors import UserError
from sim.faults import FaultEvent
from sim.fingerprint import Event
from sim.fix_book import Snapshot
from sim.frame_ledger import BS_DOWN, LATE, SILENT
from sim.interruption import Interruption, interruptible
from sim.parts import Parts
from sim.passages import Passage, Passages
from sim.quantile_sketch import QuantileSketch
from sim.record import Recorder, versions
from sim.reports import BROKER, CU, is_counts
from sim.scenario import Scenario
from sim.streams_out import Hub, link_states
from sim.watch import AWAY_S, State, Watch
from sim.wire import Parts as FrameParts
from sim.world import CSI_BITS_PER_ELEMENT, Channel, World, base_stations, run_id

LagPolicy = Literal["warn", "degrade", "abort"]
AirParts = tuple[bytes, bytes, bytes]
BROKER_DOWN, CU_DOWN, STALE = "broker_down", "cu_down", "stale"
GRACE_S = 2.0
"""So long after something was last heard of a frame or a snapshot its end is looked for."""
LEAD_S = 0.2
"""From the moment all parts are ready to the start of the run."""
TURN_AFTER_S = 0.05
"""So long before its pace changes all parts are told."""
LISTEN_EVERY_S = 0.02
"""So often reports are looked at: many at a time cost less, and less often disturb who is at work."""
AWAKE_S = 0.0003
LEAST_LISTENING_S = 0.002
LOOK_EVERY_S = 0.1
BEAT_EVERY_S = 1.0
ROWS_PER_PART = 2048
SAVE_EVERY_S = 10.0
"""Rows wait so long to be put on disk: who reads meanwhile sees them, and memory stays as it is for days."""
TRACKS_KEPT = 256
"""Of each UE, to tell later what was known at a miss."""
NOT_YET_NS = 3600 * NANOSECONDS_PER_SECOND

_LOG = logging.getLogger(__name__)


class LagError(RuntimeError):
    """The run fell further behind its own time than it may."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a run keeps to the wall clock.

    Attributes:
        speed: run seconds per second.
        max_lag_s: how late an event may happen, in seconds of the wall.
        policy: what is done beyond that: `warn` once, `degrade` by leaving snapshots out until it has caught
            up, or `abort`.
    """

    speed: float = 1.0
    max_lag_s: float = 0.1
    policy: LagPolicy = "warn"


class RemoteLinks:
    """The fronthaul law in the broker's process, as seen through its heartbeats.

    What a broker that died had counted is kept: what was on its way in it is dropped with it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._gone: dict[str, Counts] = {}
        self._now: dict[str, Any] = {"links": {}, "utilisation": {}}
        self._t_ns = 1
        """Until when it is known what the links have done."""
        self._busy_ns: dict[str, float] = {}
        """How long each segment was sending under brokers that are no more."""
        self._settings: dict[str, dict[str, Any]] = {}

    def heard(self, beat: Any, t_ns: int) -> None:
        """The broker says how its links are."""
        self._now, self._t_ns = beat, max(1, t_ns)

    def lost(self) -> None:
        """The broker has died with what it held, or has begun anew; the second time nothing happens."""
        self._busy_ns = {name: share * self._t_ns for name, share in self.utilisation().items()}
        for name, counts in self.link_counts().items():
            dropped = dict(counts.dropped)
            if counts.in_flight:
                dropped[BROKER_DOWN] = dropped.get(BROKER_DOWN, 0) + counts.in_flight
            self._gone[name] = Counts(
                counts.sent, counts.delivered, 0, dropped, counts.sent_bits, counts.delivered_bits
            )
        self._now = {"links": {}, "utilisation": {}}

    def change(self, segment: str, t_ns: int, **settings: Any) -> None:
        """Change a segment; a broker that comes back is told again."""
        plain = {name: plain_from_law(value) for name, value in settings.items()}
        self._settings.setdefault(segment, {}).update(plain)
        self._parts.control.send(BROKER, "change", (segment, t_ns, plain))

    def tell_again(self, t_ns: int) -> None:
        """Bring a new broker up to date."""
        for segment, plain in self._settings.items():
            self._parts.control.send(BROKER, "change", (segment, t_ns, plain))

    def link_counts(self) -> dict[str, Counts]:
        """Of each segment, over all brokers there were."""
        found = dict(self._gone)
        for name, plain in self._now["links"].items():
            found[name] = added(found.get(name), counts_from_plain(plain))
        return found

    def utilisation(self) -> dict[str, float]:
        """Of each segment, as last heard, over all brokers there were."""
        now = self._now["utilisation"]
        return {
            name: min(1.0, self._busy_ns.get(name, 0.0) / self._t_ns + now.get(name, 0.0))
            for name in self.link_counts()
        }

    def next_event_ns(self) -> None:
        """Nothing here happens by the world's clock."""


class RealtimeCentre(Centre):
    """The books about a central unit that reports by itself."""

    def open(self) -> None:
        """Begin with nothing known."""
        self._tracks: defaultdict[str, deque[Track]] = defaultdict(lambda: deque(maxlen=TRACKS_KEPT))
        self._waiting: dict[tuple[str, int], Snapshot] = {}

    def expect(self, snapshot: Snapshot) -> None:
        """A UE has been sampled: there should be a fix soon after the deadline."""
        self._waiting[snapshot.ue, snapshot.t_sample_ns] = snapshot
        super().expect(snapshot)

    def take(self, result: Any) -> None:
        """The central unit reports a fix or a miss."""
        self._waiting.pop((result.ue, result.t_sample_ns), None)
        if result.track is not None:
            self._tracks[result.ue].append(result.track)
        self._book(result)

    def overdue(self, before_ns: int) -> None:
        """Give up what was due long ago."""
        for key, snapshot in list(self._waiting.items()):
            if snapshot.t_sample_ns + self.policy.deadline_ns < before_ns:
                del self._waiting[key]
                closing_ns = snapshot.t_sample_ns + self.policy.deadline_ns
                track = self.last_track(snapshot.ue, snapshot.t_sample_ns)
                self._miss(snapshot.ue, snapshot.t_sample_ns, closing_ns + self.policy.processing_ns, track)

    def last_track(self, ue: str, t_ns: int) -> Track | None:
        """What was known of a UE before a time, coasted there."""
        before = next((track for track in reversed(self._tracks[ue]) if track.t_ns <= t_ns), None)
        if before is None:
            return None
        tracker = Tracker(self._params)
        tracker.resume([before])
        return tracker.track(ue, t_ns)

    def _central_unit(self, scenario: Scenario, model: PositioningModel, run: str | None) -> CentralUnit:
        self._params = tracker_params(scenario)
        return super()._central_unit(scenario, model, run)

    def _give_up(self, snapshot: Snapshot) -> None:
        """The deadline alone says nothing here: the report is on its way."""


class RealtimeWorld(World):
    """A world that goes by the wall clock.

    Args:
        parts: of the run, started.
        pace: how it keeps to the clock.
        hub: told of tracks, links and failures as they come.
        scenario: and all others: as for `World`.
    """

    def __init__(self, parts: Parts, pace: Pace, hub: Hub, **named: Any) -> None:
        super().__init__(wire=cast(Any, None), centre=RealtimeCentre, **named)
        self.parts = parts
        self.pace = pace
        self.hub = hub
        self.links = RemoteLinks(parts)
        self.fronthaul = cast(Fronthaul, self.links)
        self.watch = Watch(parts, self._notice)
        self.passages = Passages()
        self._books = cast(RealtimeCentre, self.centre)
        self._books.open()
        self.clock = WallClock(time.time_ns() + NOT_YET_NS, pace.speed)
        self.lag, self.processing = QuantileSketch(), QuantileSketch()
        self.modelled, self.observed, self.excess = QuantileSketch(), QuantileSketch(), QuantileSketch()
        self.early = QuantileSketch()
        """How much earlier frames arrived than the law let them. One may, if the central unit had to wait
        after it had looked at its clock; if most do, clocks differ."""
        self.interruption = Interruption()
        """Looked for while the run waits."""
        self.skipped = 0
        self.duplicates = 0
        self.lost_frames: Counter[str] = Counter()
        self.requests: queue.SimpleQueue[Callable[[RealtimeWorld], None]] = queue.SimpleQueue()
        """What other threads want done: called in the world's own, between two events."""
        self._ahead: deque[tuple[str, str, int]] = deque(maxlen=1000)
        """Frames of which the central unit was heard before the broker."""
        self._complaints = RateLimit(1.0, 20)
        self._ues = frozenset(self.scenario.ue_ids)
        self._behind = False
        self._late_noted = False
        self._top_speed = pace.speed
        self.turns: list[dict[str, float]] = []
        """When the pace was changed, and to what."""
        self._told: list[Message] = []
        """What the parts have told and nobody has dealt with yet."""
        self._on_air: list[tuple[Snapshot, list[AirParts]]] = []
        """What is heard at this instant."""
        self._listened = self._next_listen = self._next_look = self._next_beat = self._next_save = monotonic()
        self._to_save = cycle(self._recorder.tables.values())

    # The clock.

    def at(self, t_ns: int, moment: Moment, action: Callable[[], None]) -> None:
        """Have something done at a time of the run."""
        self._agenda.call(t_ns, moment, action)

    def turn(self, speed: float) -> None:
        """Let run time pass at another speed from now on, for the world and all parts; 0 stops it."""
        self.clock.turn(speed, TURN_AFTER_S)
        self._tell_clock()
        self.passages.hear()
        self._top_speed = max(self._top_speed, speed)
        self.turns.append({"t_s": max(0, self.clock.now_ns()) / NANOSECONDS_PER_SECOND, "speed": speed})

    def _tell_clock(self) -> None:
        self.parts.clock = self.clock.plan()
        for name in self.parts.peers:
            self.parts.control.send(name, "begin", self.parts.clock)

    def run(self, progress: Callable[[int], None] | None = None) -> None:
        """Let the scenario happen at its pace, and wait for what is still on its way then."""
        gc.collect()  # of much that takes longer than what is left before the start once the clock is set
        gc.freeze()  # what is there by now makes no collection in the middle of a run longer
        try:
            self.clock = WallClock(time.time_ns() + round(LEAD_S * 1e9), self.pace.speed)
            self._tell_clock()
            for peer in self.parts.peers.values():
                peer.heard_s = monotonic()
            super().run(progress)
            drain_ns = self.scenario.duration_ns + self.centre.policy.deadline_ns + ns_from_s(0.1)
            self._wait_until(drain_ns)
            self._listen(math.inf)
        finally:
            gc.unfreeze()

    def _passing_of_time(self, progress: Callable[[int], None] | None) -> Callable[[int], None]:
        last_ns = -1

        def passes(t_ns: int) -> None:
            nonlocal last_ns
            if t_ns == last_ns:
                return
            last_ns = t_ns
            self._wait_until(t_ns)
            self._keep_pace(t_ns)
            self.events.advance(t_ns - ns_from_s(2 * GRACE_S * self._top_speed))
            if progress is not None:
                progress(t_ns)

        return passes

    def _wait_until(self, t_ns: int) -> None:
        """Let a time come, and now and then hear what the parts have to tell."""
        while True:
            self.interruption.look()
            wait_s = self.clock.seconds_until(t_ns)
            now = monotonic()
            if now >= self._next_look:
                self._look(now)
            elif now >= self._next_listen:
                # Whoever is behind listens all the same: else what is told would pile up.
                self._listen(now + max(LEAST_LISTENING_S, wait_s - LEAST_LISTENING_S))
            elif wait_s <= 0.0:
                return
            else:
                # Sleep is late by some 0.1 ms: the last of it is waited for awake.
                rest_s = min(wait_s - AWAKE_S, self._next_look - now, self._next_listen - now)
                time.sleep(max(0.0, rest_s))

    def _keep_pace(self, t_ns: int) -> None:
        lag_s = max(0.0, self.clock.seconds_between(t_ns, self.clock.now_ns()))
        self.lag.add(lag_s)
        self._behind = lag_s > self.pace.max_lag_s
        if not self._behind:
            return
        if self.pace.policy == "abort":
            raise LagError(f"{lag_s:.3f} s behind at {t_ns / 1e9:.3f} s, at most {self.pace.max_lag_s:g} s")
        if not self._late_noted:
            self._late_noted = True
            _LOG.warning("%.3f s behind at %.3f s (further ones are only counted)", lag_s, t_ns / 1e9)

    # The way of one snapshot.

    def _live(self, ue: str) -> Generator[simpy.Event, Any, None]:
        """Move a UE and have it heard; what is heard is made before its time, when there is little to do."""
        last_ns = 0
        for snapshot in self._snapshots(ue):
            t_ns = snapshot.t_sample_ns
            if last_ns < (idle_ns := (last_ns + t_ns) // 2):
                yield self._agenda.at(idle_ns, Moment.CLOSE)
            last_ns = t_ns
            on_air = self._prepared(snapshot)
            yield self._agenda.at(t_ns, Moment.SAMPLE)
            if self._behind and self.pace.policy == "degrade":
                self.skipped += 1
                continue
            if not self._on_air:
                self._agenda.call(t_ns, Moment.PUBLISH, self._send)
            self._on_air.append((snapshot, on_air))

    def _prepared(self, snapshot: Snapshot) -> list[AirParts]:
        """What each BS will hear of a snapshot."""
        pilots = self._channel.pilots(snapshot.ue, snapshot.seq)
        self.csi_bits = pilots[0].size * CSI_BITS_PER_ELEMENT
        t_ns = snapshot.t_sample_ns
        return [
            encode_air(
                Air(
                    station.run,
                    bs,
                    snapshot.ue,
                    snapshot.seq,
                    t_ns,
                    t_ns + self._processing_ns,
                    float(self._channel.noise_variance[index]),
                    pilots[index],
                )
            )
            for index, (bs, station) in enumerate(self._stations.items())
        ]

    def _send(self) -> None:
        """All that is heard at one instant, BS by BS: each then embeds all UEs in one go."""
        now, on_air = monotonic(), self._on_air
        hears = [station.up and bs not in self.watch.lost for bs, station in self._stations.items()]
        for index, is_there in enumerate(hears):
            for _, parts in on_air if is_there else ():
                self.parts.air.publish_parts(parts[index])
        for snapshot, _ in on_air:
            t_ns, ue, seq = snapshot.t_sample_ns, snapshot.ue, snapshot.seq
            self.events.add(Event(t_ns, "sample", f"{ue}#{seq}"))
            self.centre.expect(snapshot)
            for bs, is_there in zip(self._stations, hears, strict=True):
                self.ledger.owe(bs, ue, seq, t_ns)
                if is_there:
                    self.passages.owe((bs, ue, seq), t_ns)
                else:
                    self._withhold(bs, ue, seq, t_ns, BS_DOWN)
        self._on_air = []
        # The parts have work to do now: what they have to tell can wait a little, but not for ever.
        self._next_listen = min(now + LISTEN_EVERY_S, self._listened + 2 * LISTEN_EVERY_S)

    def _reach(self, end_ns: int) -> None:
        """The law comes there by itself."""

    # What the parts report.

    def _listen(self, until_s: float) -> None:
        """Take what the parts have told, and deal with it while there is time.

        Reports say themselves when things happened, so they can wait until nothing else is to be done.
        """
        self._told += self.parts.heard(0.0)
        # The broker has a frame before the central unit does, whoever was heard first.
        self._told.sort(key=lambda message: message.peer == CU)
        for done, message in enumerate(self._told):
            if monotonic() >= until_s:
                del self._told[:done]
                break
            self._hear(message)
        else:
            self._told.clear()
        self._listened = monotonic()
        self._next_listen = self._listened + (0.0 if self._told else LISTEN_EVERY_S)

    def _hear(self, message: Message) -> None:
        peer = self.parts.peers.get(message.peer)
        if peer is None:
            return
        if message.kind == "hello" and peer.ready:
            self.watch.starts_over(message.peer)
        if self.parts.greet(message):
            if message.kind == "ready":
                self.parts.control.send(message.peer, "begin", self.clock.plan())
                if message.peer == BROKER:
                    self.links.lost()  # whatever became of the one before: this one begins at nothing
                    self.links.tell_again(max(0, self.clock.now_ns()))
            return
        if not peer.ready:
            return
        match message.kind:
            case "beat":
                peer.beat = message.body
                if message.peer == BROKER:
                    self.links.heard(message.body, self.clock.now_ns())
            case "offered":
                for t_offer_ns, size_bits, parts in message.body:
                    self._offered(t_offer_ns, size_bits, (parts[0], parts[1], parts[2]))
            case "fates":
                for fate in message.body:
                    self._fate(*fate)
            case "received":
                for entry in message.body:
                    self._received(*entry)
            case "results":
                for done_ns, plain in message.body:
                    self._result(done_ns, plain)
            case "skipped":
                for ue, seq in message.body:
                    self._end(message.peer, ue, seq, STALE)
            case "silent":
                for ue, seq in message.body:
                    self._end(message.peer, ue, seq, SILENT)
            case "failed":
                if self._complaints.takes():
                    _LOG.warning("%s: %s", message.peer, printable(message.body))

    def _offered(self, t_offer_ns: int, size_bits: int, parts: FrameParts) -> None:
        try:
            frame = decode_frame(parts)
        except FrameError:
            self.parts.refused += 1
            return
        passage = self.passages.get((frame.bs, frame.ue, frame.seq))
        if (frame.bs, frame.ue, frame.seq) in self._ahead:
            return  # the central unit was heard first
        if passage is None or passage.t_offer_ns is not None:
            self.duplicates += 1  # somebody's garbage, or a replay: the central unit refuses it by itself
            return
        passage.t_offer_ns = t_offer_ns
        self._note_published(passage, frame, parts, size_bits, t_offer_ns)

    def _note_published(
        self, passage: Passage, frame: Frame, parts: FrameParts, size_bits: int, t_ns: int
    ) -> None:
        """A frame has left its BS."""
        passage.frame, passage.parts, passage.size_bits = frame, parts, size_bits
        self.ledger.publish(frame, size_bits)
        event = Event(t_ns, "publish", f"{frame.bs}/{frame.ue}#{frame.seq}", f"{size_bits} bit")
        self.events.add(event, frame.payload)

    def _fate(
        self,
        kind: str,
        bs: str,
        ue: str,
        seq: int,
        t_ns: int,
        cause: str | None,
        segment: str,
        queued_ns: int,
        done_ns: int,
    ) -> None:
        passage = self.passages.get((bs, ue, seq))
        if passage is None or passage.t_offer_ns is None:
            return
        if kind == "dropped":
            self._end(bs, ue, seq, cause or "dropped", t_ns)
            return
        passage.t_arrival_ns = t_ns
        delays = self.passages.delays_ns.setdefault((ue, passage.t_sample_ns), {})
        delays[bs] = t_ns - passage.t_offer_ns

    def _received(
        self,
        bs: str,
        ue: str,
        seq: int,
        t_arrival_ns: int,
        t_received_ns: int,
        kind: str,
        cause: str | None,
        parts: list[bytes],
    ) -> None:
        """The central unit has judged a frame."""
        key, name = (bs, ue, seq), f"{bs}/{ue}#{seq}"
        if kind == "refused":
            self.events.add(Event(t_received_ns, "refuse", name, cause or kind))
            self._note_link(bs, "refused")
            return
        passage = self.passages.get(key)
        if passage is None:
            return
        untold = None
        if passage.frame is None:
            # The broker has died since, or is still to be heard.
            untold = self._frame_of(key, parts)
            if untold is None:
                return
        self.passages.end(key)
        if passage.t_offer_ns is not None:
            modelled_ns = t_arrival_ns - passage.t_offer_ns
            observed_ns = t_received_ns - passage.t_offer_ns
            self.modelled.add(modelled_ns / 1e9)
            self.observed.add(observed_ns / 1e9)
            self.excess.add((observed_ns - modelled_ns) / 1e9)
            self.early.add((modelled_ns - observed_ns) / 1e9)
            self.passages.delays_ns.setdefault((ue, passage.t_sample_ns), {})[bs] = modelled_ns
        if untold is not None:
            size_bits = wire_bits(parts, self._overhead_bytes)
            self._note_published(passage, untold, (parts[0], parts[1], parts[2]), size_bits, t_arrival_ns)
            self._ahead.append(key)
        self._recorder.bus.frame(
            f"emb/{bs}/{ue}/", parts[1:], t_sample_ns=passage.t_sample_ns, t_ns=t_received_ns, seq=seq
        )
        if kind == "late":
            self.ledger.refuse(key, t_received_ns, LATE)
            self.events.add(Event(t_received_ns, "late", name))
            return
        self.ledger.arrive(key, t_received_ns)
        self.events.add(Event(t_received_ns, "arrive", name))

    def _frame_of(self, key: tuple[str, str, int], parts: list[bytes]) -> Frame | None:
        """A frame that is what the central unit calls it."""
        try:
            frame = decode_frame(parts)
        except FrameError:
            frame = None
        if frame is None or (frame.bs, frame.ue, frame.seq) != key:
            self.parts.refused += 1
            return None
        return frame

    def _result(self, done_ns: int, plain: Any) -> None:
        """The central unit has a fix, or says that there is none."""
        result = result_from_plain(plain)
        if result.ue not in self._ues:
            self.parts.refused += 1  # of a UE that a base station has invented
            return
        close_ns = result.t_fix_ns - self.centre.policy.processing_ns
        delays = self.passages.forget(result.ue, result.t_sample_ns)
        deadline_ns = result.t_sample_ns + self.centre.policy.deadline_ns
        if isinstance(result, Fix):
            modelled_ns = self._processing_ns + max((delays.get(bs, 0) for bs in result.bs_used), default=0)
            if close_ns >= deadline_ns:
                modelled_ns = self.centre.policy.deadline_ns
            if result.revision == 0:
                self.processing.add(self.clock.seconds_between(result.t_sample_ns + modelled_ns, done_ns))
        if result.track is not None:
            self.parts.tracks[result.ue] = plain_from_track(result.track)
        self._books.take(result)
        self.hub.track(result, done_ns, self.scenario)

    # What goes wrong.

    def _strike(self, fault: FaultEvent) -> None:
        """A fault of the scenario, by the wall clock."""
        super()._strike(fault)
        if fault.aspect == "bs":
            if fault.setting:
                self.parts.down.discard(fault.target)
                self.watch.was_switched_off(fault.target)
            else:
                self.parts.down.add(fault.target)
            self.parts.control.send(fault.target, "up" if fault.setting else "down")
        self._note_link(fault.target, fault.kind)

    def _notice(self, name: str, state: State, why: str) -> None:
        """A part is lost, or back."""
        t_ns = max(0, self.clock.now_ns())
        entry = {
            "t_s": t_ns / NANOSECONDS_PER_SECOND,
            "kind": f"{name}_{state}",
            "target": name,
            "detail": why,
        }
        self.faults.append(entry)
        self.events.add(Event(t_ns, state, name))
        self._recorder.bus.json(f"fault/{name}/", "fault", entry, t_sample_ns=t_ns, t_ns=t_ns, seq=0)
        if name == BROKER and state == "lost" and "died" in why:
            self.links.lost()
        self.hub.fault(entry)

    def _note_link(self, name: str, what: str) -> None:
        self.hub.fault({"t_s": max(0, self.clock.now_ns()) / 1e9, "kind": what, "target": name, "detail": ""})

    def _look(self, now: float) -> None:
        """Several times a second: who is there, what is overdue, what others want."""
        if now > self._next_look + AWAY_S:
            self.passages.hear()  # the world itself was away: what was said meanwhile is heard first
            self._listen(now + AWAY_S)
        self._next_look = now + LOOK_EVERY_S
        self.watch.look()
        self.parts.air.tidy()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_EVERY_S
            self.parts.beat()
            self._tell_how_it_stands()
            self._sweep()
            self._save(now)
        while not self.requests.empty():
            self.requests.get_nowait()(self)

    def _save(self, now: float) -> None:
        """Put rows on disk, one table after the other: it takes milliseconds."""
        if now >= self._next_save:
            self._next_save = now + SAVE_EVERY_S / len(self._recorder.tables)
            next(self._to_save).flush()

    def _tell_how_it_stands(self) -> None:
        now_s = max(0, self.clock.now_ns()) / 1e9
        self.hub.links(link_states(self.links.link_counts(), self.links.utilisation(), now_s))
        self.hub.state(self._figures(), {name: name not in self.watch.lost for name in self.parts.peers})

    def _figures(self) -> dict[str, float | None]:
        counts = self.ledger.counts
        return {
            "run_time_seconds": max(0, self.clock.now_ns()) / 1e9,
            "fixes": self.centre.book.fixes,
            "fixes_missed": self.centre.book.missed,
            "frames_sent": counts.sent,
            "frames_delivered": counts.delivered,
            "frames_in_flight": counts.in_flight,
            "lag_p99_seconds": self.lag.quantile(0.99),
            "processing_p50_seconds": self.processing.quantile(0.5),
            "processing_p99_seconds": self.processing.quantile(0.99),
        }

    def _sweep(self) -> None:
        """Find the end of frames and snapshots of which nothing is heard any more."""
        if self.clock.speed == 0.0:
            return  # what waits for its time is not lost
        for key, passage in self.passages.silent_for(GRACE_S):
            cause = self._cause(key[0], passage)
            if cause is not None:
                self._end(*key, cause)
        overdue_ns = self.clock.now_ns() - ns_from_s(GRACE_S * self._top_speed)
        self._books.overdue(overdue_ns)
        self.passages.forget_before(overdue_ns - self.centre.policy.deadline_ns)

    def _cause(self, bs: str, passage: Passage) -> str | None:
        """Why nothing is heard of a frame; None: it waits in the law's queue."""
        since_s = monotonic() - passage.owed_s + 2.0
        if passage.t_arrival_ns is not None:
            if self.watch.was_away(CU, since_s):
                return CU_DOWN
            if self.watch.was_away(BROKER, since_s):
                return BROKER_DOWN
            return self._unexplained(bs, BROKER, CU)
        if self.watch.was_away(BROKER, since_s):
            return BROKER_DOWN
        if passage.t_offer_ns is not None:
            return None
        if bs in self.parts.down or self.watch.was_away(bs, since_s) or bs in self.watch.lost:
            return BS_DOWN
        return BS_DOWN if not self._stations[bs].up else self._unexplained(bs, "air", BROKER)

    def _unexplained(self, bs: str, after: str, before: str) -> str:
        self.lost_frames[f"{bs}, between {after} and {before}"] += 1
        return "lost"

    def _end(self, bs: str, ue: str, seq: int, cause: str, t_ns: int | None = None) -> None:
        """A frame does not arrive."""
        passage = self.passages.end((bs, ue, seq))
        if passage is None:
            return
        now_ns = self.clock.now_ns() if t_ns is None else t_ns
        parts = () if passage.parts is None else passage.parts[1:]
        self._drop(bs, ue, seq, passage.t_sample_ns, now_ns, cause, parts)

    # The end.

    def finish(self, *, cut_short: bool = False) -> None:
        """Close the books, with what the broker counted last."""
        if not cut_short:
            with suppress(TransportLoss):
                counts = self.parts.ask({BROKER: ("counts", None)})[BROKER]
                if is_counts(counts):
                    self.links.heard(counts, self.clock.now_ns())
        self._books.overdue(self.clock.now_ns())
        if self.lost_frames:
            self.errors.append(f"frames were lost outside the fronthaul law: {dict(self.lost_frames)}")
        super().finish(cut_short=cut_short)
        self._tell_how_it_stands()

    def _audit(self) -> list[str]:
        counts = self.ledger.counts
        errors = [] if counts.conserved else [f"frames are not conserved: {counts}"]
        for name, link in self.links.link_counts().items():
            if not link.conserved:
                errors.append(f"frames on {name} are not conserved: {link}")
        return errors

    def lag_summary(self) -> dict[str, Any]:
        """How well the run kept to the clock, in the keys of `summary.json`."""
        beats = {name: peer.beat for name, peer in self.parts.peers.items()}
        return {
            "speed": self.pace.speed,
            "turns": self.turns,
            **self.lag.figures("lag"),
            **self.processing.figures("processing"),
            **self.modelled.figures("delay_modelled"),
            **self.observed.figures("delay_observed"),
            **self.excess.figures("delay_excess"),
            "clocks_apart_s": self.early.quantile(0.5),
            "snapshots_skipped": self.skipped,
            "frames_not_ours": self.duplicates,
            "reports_refused": self.parts.refused,
            "parts_lost": dict(self.watch.times_lost),
            "parts": beats,
            "streams": self.hub.counts(),
        }


def run_realtime(
    scenario: Scenario | str | Path,
    out: str | Path | None = None,
    *,
    pace: Pace | None = None,
    channel: Channel | None = None,
    model: PositioningModel | None = None,
    keys_folder: Path | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    spawn: list[str] | None = None,
    hub: Hub | None = None,
    prepare: Callable[[RealtimeWorld], None] | None = None,
    conclude: Callable[[Mapping[str, Any]], None] | None = None,
    listener: Callable[[Event], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> RunResult:
    """Run a scenario by the wall clock, each part a process of its own.

    However the run ends, by a signal too, what it has written by then is readable.

    Args:
        scenario: a scenario, or the path of its file.
        out: folder to write to; None: one that lives as long as the result.
        pace: speed, and what is done about lag.
        channel: what the BSs hear instead of the scenario's traced channel.
        model: encodes and fuses instead of the scenario's model.
        keys_folder: CURVE keys; needed where `host` is not loopback.
        host: address the world and the broker bind to.
        port: of the control socket; needed where parts come from elsewhere.
        spawn: parts to start here; None for all. The others are waited for.
        hub: told of tracks and links as they come.
        prepare: called with the world before it starts: to add to its agenda.
        conclude: called with the summary of a run that has started, however it ends.
        listener: called with each event.
        progress: called with the simulated time in ns, now and then.

    Raises:
        UserError: the scenario, its weights, its trace or the keys are wrong, or a part does not start.
        InvalidRunError: frames were lost where nothing explains it.
        LagError: the run fell behind and is to abort then.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP; the run folder is closed by then.
    """
    started = time.perf_counter()
    if not isinstance(scenario, Scenario):
        scenario = Scenario.load(scenario)
    model = model_at_home(scenario) if model is None else model
    channel = channel_of(scenario) if channel is None else channel
    stations = base_stations(scenario, model)
    pace = pace or Pace()
    with output_folder(out) as folder, ExitStack() as stack:
        interruption = stack.enter_context(interruptible())
        parts = stack.enter_context(
            Parts(
                scenario,
                model,
                run_id(scenario),
                clock=WallClock(time.time_ns() + NOT_YET_NS, pace.speed).plan(),
                keys_folder=keys_folder,
                host=host,
                port=port,
                spawn=spawn,
            )
        )
        try:
            parts.start()
        except TransportLoss as error:
            raise UserError(f"the processes of the run did not start: {error}") from error
        stack.enter_context(interruption.hold())  # from here on the folder is there, and is to be closed
        recorder = stack.enter_context(
            Recorder(
                folder,
                scenario_yaml=scenario.to_yaml(),
                versions=versions(model.digest.hex()),
                headline=headline(scenario) | {"mode": "realtime"},
                rows_per_part=ROWS_PER_PART,
            )
        )
        world = RealtimeWorld(
            parts,
            pace,
            hub or Hub(run_id(scenario)),
            scenario=scenario,
            channel=channel,
            stations=stations,
            model=model,
            recorder=recorder,
            listener=listener,
        )
        if prepare is not None:
            prepare(world)
        complete, cut_short = False, True
        world.interruption = interruption
        try:
            world.run(progress)
            complete, cut_short = not world.errors, False
        finally:
            if cut_short:
                parts.stop()  # they end while the books are closed
            world.finish(cut_short=cut_short)
            if not cut_short:
                parts.stop()
            recorder.close()
            parts.close()
            wall_time_s = time.perf_counter() - started
            summary = recorder.finish(figures(world, folder, complete, wall_time_s) | world.lag_summary())
            if conclude is not None:
                conclude(summary)
        if world.errors:
            raise InvalidRunError(f"{folder.path}: invalid: {world.errors[0]}")
    result = RunResult(folder, summary)
    if out is None:
        remove_with(result)
    return result


def added(one: Counts | None, other: Counts) -> Counts:
    """Counts of two brokers, one after the other."""
    if one is None:
        return other
    dropped = Counter(one.dropped)
    dropped.update(other.dropped)
    return Counts(
        one.sent + other.sent,
        one.delivered + other.delivered,
        one.in_flight + other.in_flight,
        dict(dropped),
        one.sent_bits + other.sent_bits,
        one.delivered_bits + other.delivered_bits,
    )
