"""A run without agenda, frames and sockets: the same laws, asked in the same order, with the same figures.

Where late frames are dropped, nothing that the central unit concludes changes what arrives. So a run has two
halves. In the first the world decides what arrives in time, of frames whose sizes are known before. In the
second all snapshots are fused, those of many runs together and each different one once, and the trackers of
many runs step together. `sim.world.World` says what happens in which order; a test compares the summaries
digit by digit.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from broker.fronthaul import Fronthaul
from broker.packet import Fate, Packet
from nodes import Payload, PositioningModel, Track, Tracker, TrackerParams
from nodes.central_unit import Update
from sim.agenda import Moment
from sim.centre import cu_policy, track_bytes, tracker_params
from sim.clock import NANOSECONDS_PER_SECOND, ns_from_s
from sim.faults import FaultEvent, schedule
from sim.fingerprint import HASH_BYTES, Fingerprint
from sim.frame_ledger import BS_DOWN, LATE, SILENT
from sim.run_folder import TableName
from sim.scenario import Scenario
from sim.study.fusions import Fusions, Heard
from sim.study.stations import Bank, KnowingStation, Messages, knowing_stations
from sim.world import CSI_BITS_PER_ELEMENT

Floats = npt.NDArray[np.float64]

UNKNOWN = -1
ANY_RUN = "0" * 8
"""Stands for a run's identity, which nobody asks for: only its length matters."""
NOTHING = np.full(3, np.nan), np.full((3, 3), np.nan)
UPPER = np.triu_indices(3)
FIX, GIVE_UP = 0, 1


def is_direct(scenario: Scenario) -> bool:
    """Whether a scenario's run has two halves."""
    return scenario.cu.late == "drop"


@dataclass(slots=True)
class Snapshot:
    """A UE at a sample time, and what the central unit has of it."""

    number: int
    ue: str
    seq: int
    t_sample_ns: int
    position_m: Floats
    sizes: dict[int, Payload] = field(default_factory=dict)
    """What each base station, by its number, has sent of it."""
    heard: list[int] = field(default_factory=list)
    """Numbers of the base stations that arrived in time."""
    t_close_ns: int = UNKNOWN

    @property
    def name(self) -> str:
        """As in events."""
        return f"{self.ue}#{self.seq}"


class DirectRun:
    """One run; has after both halves what `sim.api.figures` asks of a world.

    Args:
        scenario: what happens; late frames are dropped.
        model: of the base stations.
        bank: what they hear.

    Raises:
        UserError: the model cannot send what the scenario wants.
    """

    def __init__(self, scenario: Scenario, model: PositioningModel, bank: Bank) -> None:
        assert is_direct(scenario)
        self.scenario = scenario
        self.policy = cu_policy(scenario)
        self.fronthaul = Fronthaul(*scenario.fronthaul.laws(), scenario.seed)
        self.events = Events()
        self.faults: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.now_ns = 0
        self.csi_bits = 0
        self.fixes_revised = 0
        self.snapshots_open = 0
        self._bank = bank
        self._stations: list[KnowingStation] = list(knowing_stations(scenario, model, bank, ANY_RUN).values())
        self._order = [list(model.bs_ids).index(station.bs_id) for station in self._stations]
        self._processing_ns = ns_from_s(scenario.bs.processing)
        self._overhead_bits = 8 * round(scenario.fronthaul.overhead)
        self._times_ns = {ue: scenario.sample_times_ns(ue).tolist() for ue in scenario.ue_ids}
        self._names = {
            (number, ue): bank.names(station.bs_id, ue)
            for number, station in enumerate(self._stations)
            for ue in scenario.ue_ids
        }
        self._known: dict[tuple[int, str, int, int], Messages] = {}
        self._agenda: list[tuple[int, int, int, Any]] = []
        self._numbers = iter(range(1 << 62))
        self._outbox: dict[int, list[tuple[Snapshot, int, Payload]]] = {}
        self._snapshots: list[Snapshot] = []
        self._rows: list[FrameRow] = []
        self._fixes: list[FixRow] = []
        self._tables: dict[TableName, dict[str, pa.Array]] = {}

    # The first half.

    def happen(self) -> None:
        """Let everything before the end happen, but for what the central unit concludes."""
        end_ns = self.scenario.duration_ns
        for ue in self.scenario.ue_ids:
            self._go_on(self._live(ue))
        self._go_on(self._fail())
        while self._agenda and self._agenda[0][0] < end_ns:
            t_ns, moment, _, thing = heapq.heappop(self._agenda)
            if moment == Moment.PUBLISH:
                self._publish(t_ns)
            else:
                self._go_on(thing)
        for fate in self.fronthaul.advance(end_ns - 1):  # nobody has waited for any of them
            self._meet(fate)
        self.now_ns = end_ns
        if self._snapshots:
            self.csi_bits = int(np.prod(self._bank.csi_shape)) * CSI_BITS_PER_ELEMENT
        self._close(end_ns)
        self._audit()

    @property
    def fusible(self) -> list[Heard]:
        """What is to be fused."""
        return [self._content(snapshot) for snapshot in self._snapshots if self._is_fix(snapshot)]

    def _at(self, t_ns: int, moment: Moment, thing: Any) -> None:
        heapq.heappush(self._agenda, (t_ns, moment, next(self._numbers), thing))

    def _go_on(self, steps: Iterator[tuple[int, Moment]]) -> None:
        following = next(steps, None)
        if following is not None:
            self._at(*following, steps)

    def _live(self, ue: str) -> Iterator[tuple[int, Moment]]:
        """A UE is heard, snapshot by snapshot."""
        truth = self._bank.truth(self.scenario, ue)
        for seq, t_ns in enumerate(self._times_ns[ue]):
            yield t_ns, Moment.SAMPLE
            snapshot = Snapshot(len(self._snapshots), ue, seq, t_ns, truth[seq])
            self._snapshots.append(snapshot)
            self.events.add(t_ns, "sample", snapshot.name)
            self._embed(snapshot)

    def _embed(self, snapshot: Snapshot) -> None:
        """Each BS decides what it sends, and keeps it until it is processed."""
        ue, seq, t_ns = snapshot.ue, snapshot.seq, snapshot.t_sample_ns
        t_publish_ns = t_ns + self._processing_ns
        outbox = self._outbox.get(t_publish_ns)
        if outbox is None:
            outbox = self._outbox[t_publish_ns] = []
            self._at(t_publish_ns, Moment.PUBLISH, None)
        for number, station in enumerate(self._stations):
            self._rows.append(FrameRow(station.bs_id, t_ns))
            size = station.size(ue, seq, t_ns) if station.up else None
            if size is None:
                self._drop(snapshot, number, t_ns, SILENT if station.up else BS_DOWN)
            else:
                outbox.append((snapshot, number, size))

    def _publish(self, t_ns: int) -> None:
        """What is processed now goes into the fronthaul."""
        offered = []
        for snapshot, number, size in self._outbox.pop(t_ns):
            station = self._stations[number]
            if not station.up:
                self._drop(snapshot, number, t_ns, BS_DOWN)
                continue
            snapshot.sizes[number] = size
            row = self._rows[snapshot.number * len(self._stations) + number]
            row.t_publish_ns = t_ns
            row.payload_bits = size.bits * size.dims
            messages = self._messages(number, snapshot.ue, size)
            row.wire_bits = messages.bits[snapshot.seq] + self._overhead_bits
            name = self._names[number, snapshot.ue][snapshot.seq]
            self.events.add(t_ns, "publish", name, f"{row.wire_bits} bit", messages.payloads[snapshot.seq])
            body = (snapshot, number, row)
            offered.append(
                Packet(
                    station.bs_id,
                    snapshot.ue,
                    snapshot.seq,
                    row.wire_bits,
                    snapshot.t_sample_ns,
                    body=body,
                )
            )
        for packet in offered:
            for fate in self.fronthaul.offer(packet, t_ns):
                self._meet(fate)

    def _messages(self, number: int, ue: str, size: Payload) -> Messages:
        key = (number, ue, size.bits, size.dims)
        known = self._known.get(key)
        if known is None:
            times_ns = self._times_ns[ue]
            station = self._stations[number]
            known = self._known[key] = station.messages(ue, size, times_ns, self._processing_ns)
        return known

    def _meet(self, fate: Fate) -> None:
        """A frame meets its fate."""
        body: Any = fate.packet.body
        snapshot, number, row = body
        t_ns = fate.t_ns
        if fate.cause is not None:
            self._drop(snapshot, number, t_ns, fate.cause)
            return
        row.t_arrival_ns = t_ns
        name = self._names[number, snapshot.ue][snapshot.seq]
        if t_ns > snapshot.t_sample_ns + self.policy.deadline_ns:
            row.fate, row.cause = "dropped", LATE
            self.events.add(t_ns, LATE, name)
            return
        row.fate = "delivered"
        self.events.add(t_ns, "arrive", name)
        snapshot.heard.append(number)
        if len(snapshot.heard) == len(self._stations):
            snapshot.t_close_ns = t_ns

    def _drop(self, snapshot: Snapshot, number: int, t_ns: int, cause: str) -> None:
        row = self._rows[snapshot.number * len(self._stations) + number]
        row.fate, row.cause = "dropped", cause
        self.events.add(t_ns, "drop", self._names[number, snapshot.ue][snapshot.seq], cause)

    def _fail(self) -> Iterator[tuple[int, Moment]]:
        """Faults strike and end."""
        for fault in schedule(self.scenario):
            yield fault.t_ns, Moment.FAULT
            self._strike(fault)

    def _strike(self, fault: FaultEvent) -> None:
        if fault.aspect == "bs":
            next(one for one in self._stations if one.bs_id == fault.target).up = bool(fault.setting)
        else:
            self.fronthaul.change(fault.target, fault.t_ns, **fault.change)
        self.events.add(fault.t_ns, fault.kind, fault.target, fault.detail)
        t_s = fault.t_ns / NANOSECONDS_PER_SECOND
        self.faults.append({"t_s": t_s, "kind": fault.kind, "target": fault.target, "detail": fault.detail})

    def _close(self, end_ns: int) -> None:
        """Snapshots that are not complete close at their deadlines."""
        for snapshot in self._snapshots:
            snapshot.heard.sort(key=self._order.__getitem__)
            deadline_ns = snapshot.t_sample_ns + self.policy.deadline_ns
            if snapshot.t_close_ns == UNKNOWN and deadline_ns < end_ns:
                snapshot.t_close_ns = deadline_ns
            if snapshot.t_close_ns == UNKNOWN:
                self.snapshots_open += 1

    def _audit(self) -> None:
        """Compare what arrived with what the fronthaul law has counted itself."""
        law = self.fronthaul.counts()
        arrived = sum(row.t_arrival_ns != UNKNOWN for row in self._rows)
        if law.delivered != arrived:
            self.errors.append(f"the law delivered {law.delivered} frames, {arrived} arrived")
        if not law.conserved or not all(one.conserved for one in self.fronthaul.link_counts().values()):
            self.errors.append("frames in the fronthaul are not conserved")

    # The second half.

    def _is_fix(self, snapshot: Snapshot) -> bool:
        return snapshot.t_close_ns != UNKNOWN and len(snapshot.heard) >= max(1, self.policy.min_bs)

    def _content(self, snapshot: Snapshot) -> Heard:
        sizes = snapshot.sizes
        return Heard(
            snapshot.ue,
            snapshot.seq,
            tuple([(self._stations[at].bs_id, sizes[at].bits, sizes[at].dims) for at in snapshot.heard]),
        )

    def conclude(self, fusions: Fusions, tracker: Tracker, prefix: str) -> Generator[Update, None, None]:
        """Book what becomes of snapshots; yields the fixes of each time for the tracker to take in.

        Args:
            fusions: know all that is `fusible`.
            tracker: of this run and others.
            prefix: of this run's UEs in it.
        """
        closings = [
            (snapshot.t_close_ns, FIX, snapshot.ue, snapshot.t_sample_ns, snapshot)
            if snapshot.heard
            else (snapshot.t_close_ns, GIVE_UP, "", snapshot.number, snapshot)
            for snapshot in self._snapshots
            if snapshot.t_close_ns != UNKNOWN
        ]
        closings.sort(key=lambda closing: closing[:4])
        # To a UE's track those of others make no difference: close in one step until a UE comes again.
        at = 0
        while at < len(closings):
            together: list[Snapshot] = []
            ues: set[str] = set()
            while at < len(closings) and closings[at][4].ue not in ues:
                together.append(closings[at][4])
                ues.add(closings[at][4].ue)
                at += 1
            fixes = {
                snapshot.number: fusions.known(self._content(snapshot))
                for snapshot in together
                if self._is_fix(snapshot)
            }
            if fixes:
                good = [snapshot for snapshot in together if snapshot.number in fixes]
                yield Update(
                    [prefix + snapshot.ue for snapshot in good],
                    [snapshot.t_sample_ns for snapshot in good],
                    np.array([position_m for position_m, _ in fixes.values()]),
                    np.array([covariance_m2 for _, covariance_m2 in fixes.values()]),
                )
            for snapshot in together:
                track = tracker.track(prefix + snapshot.ue, snapshot.t_sample_ns)
                self._book(snapshot, fixes.get(snapshot.number), track)
        self.events.finish()

    def _book(self, snapshot: Snapshot, fix: tuple[Floats, Floats] | None, track: Track | None) -> None:
        t_ns = snapshot.t_close_ns + self.policy.processing_ns
        if fix is None:
            self.events.add(t_ns, "miss", snapshot.name, "", track_bytes(track))
        else:
            for number in snapshot.heard:
                self._rows[snapshot.number * len(self._stations) + number].used = True
            used = ",".join([self._stations[number].bs_id for number in snapshot.heard])
            content = fix[0].tobytes() + fix[1].tobytes() + track_bytes(track)
            self.events.add(t_ns, "fix", snapshot.name, used, content)
        self._fixes.append(FixRow(snapshot, t_ns, fix, track))

    def batches(self, name: TableName, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The tables at the end, as far as figures need them; see `sim.metrics.Tables`."""
        if not (self._rows if name == "frames" else self._fixes):
            return
        made = self._tables.get(name)
        if made is None:
            made = frame_columns(self._rows) if name == "frames" else fix_columns(self._fixes)
            self._tables[name] = made
        chosen = list(made) if columns is None else columns
        yield pa.RecordBatch.from_arrays([made[column] for column in chosen], names=chosen)


@dataclass(slots=True)
class FrameRow:
    """One frame that a base station owes."""

    bs: str
    t_sample_ns: int
    t_publish_ns: int = UNKNOWN
    t_arrival_ns: int = UNKNOWN
    fate: str = "in_flight"
    cause: str | None = None
    payload_bits: int = 0
    wire_bits: int = 0
    used: bool = False


@dataclass(frozen=True, slots=True)
class FixRow:
    """What became of one snapshot."""

    snapshot: Snapshot
    t_fix_ns: int
    fix: tuple[Floats, Floats] | None
    track: Track | None


def frame_columns(rows: Sequence[FrameRow]) -> dict[str, pa.Array]:
    """The columns of `frames.parquet` that figures are made of."""
    columns = {
        "bs": pa.array([row.bs for row in rows]),
        "fate": pa.array([row.fate for row in rows]),
        "cause": pa.array([row.cause for row in rows], pa.string()),
        "payload_bits": pa.array([row.payload_bits for row in rows]),
        "wire_bits": pa.array([row.wire_bits for row in rows]),
        "used": pa.array([row.used for row in rows]),
        "t_sample_ns": pa.array([row.t_sample_ns for row in rows]),
    }
    published = np.array([row.t_publish_ns for row in rows], np.int64)
    arrived = np.array([row.t_arrival_ns for row in rows], np.int64)
    columns["t_publish_ns"] = pa.array(published, mask=published == UNKNOWN)
    columns["t_arrival_ns"] = pa.array(arrived, mask=arrived == UNKNOWN)
    return columns


def fix_columns(rows: Sequence[FixRow]) -> dict[str, pa.Array]:
    """The columns of `fixes.parquet` that figures are made of; what there is not is NaN."""
    fixes = [NOTHING if row.fix is None else row.fix for row in rows]
    missed = np.array([row.fix is None for row in rows])
    t_fix_ns = np.array([row.t_fix_ns for row in rows], np.int64)
    t_sample_ns = np.array([row.snapshot.t_sample_ns for row in rows], np.int64)
    latency_s = np.where(missed, np.nan, (t_fix_ns - t_sample_ns) / NANOSECONDS_PER_SECOND)
    columns = {
        "ue": pa.array([row.snapshot.ue for row in rows]),
        "t_sample_ns": pa.array(t_sample_ns),
        "t_fix_ns": pa.array(t_fix_ns),
        "missed": pa.array(missed),
        "latency_s": pa.array(latency_s),
    }
    tracked = [
        NOTHING if row.track is None else (row.track.position_m, row.track.covariance[:3, :3]) for row in rows
    ]
    for prefix, pairs in (("", fixes), ("track_", tracked)):
        add_positions(columns, prefix, np.array([position_m for position_m, _ in pairs]))
        upper = np.array([covariance for _, covariance in pairs])[:, UPPER[0], UPPER[1]]
        for pair, column in zip(("xx", "xy", "xz", "yy", "yz", "zz"), upper.T, strict=True):
            columns[f"{prefix}cov_{pair}"] = pa.array(np.ascontiguousarray(column))
    add_positions(columns, "true_", np.array([row.snapshot.position_m for row in rows]))
    return columns


def add_positions(columns: dict[str, pa.Array], prefix: str, positions_m: Floats) -> None:
    """Columns x, y and z."""
    for axis, column in zip("xyz", positions_m.T, strict=True):
        columns[f"{prefix}{axis}_m"] = pa.array(np.ascontiguousarray(column))


class Events:
    """The events of a run, hashed at its end as `sim.fingerprint.Fingerprint` does."""

    def __init__(self) -> None:
        self._all: list[tuple[int, str, str, str, bytes]] = []
        self.count = 0
        self.fingerprint = ""
        self.digest = ""

    def add(self, t_ns: int, kind: str, entity: str, detail: str = "", content: bytes = b"") -> None:
        """Take an event."""
        self._all.append((t_ns, kind, entity, detail, content))

    def finish(self) -> None:
        """Hash all, in order."""
        ranks = {kind: Fingerprint.rank(kind) for kind in {event[1] for event in self._all}}
        in_order = sorted([(event[0], ranks[event[1]], *event[1:]) for event in self._all])
        lines: list[bytes] = []
        contents: list[bytes] = []
        for t_ns, _, kind, entity, detail, content in in_order:
            seconds, nanoseconds = divmod(t_ns, NANOSECONDS_PER_SECOND)
            text = f"{seconds}.{nanoseconds:09d} {kind} {entity} {detail}".rstrip()
            line = f"{text}\n".encode()
            lines.append(line)
            contents += (line, len(content).to_bytes(8, "little"), content)
        self.fingerprint = hashlib.blake2b(b"".join(lines), digest_size=HASH_BYTES).hexdigest()
        self.digest = hashlib.blake2b(b"".join(contents), digest_size=HASH_BYTES).hexdigest()
        self.count = len(self._all)
        self._all.clear()


def conclude_together(runs: Sequence[DirectRun], fusions: Fusions) -> None:
    """Conclude runs whose first half is over, the updates of one sample time in one call of a tracker.

    A tracker never sees times that run ahead of one of its runs, so no track is forgotten too soon.

    Args:
        runs: of the same embeddings.
        fusions: know all that is `fusible`.
    """
    trackers: dict[TrackerParams, Tracker] = {}
    coming: list[tuple[int, int, Update]] = []
    conclusions: list[Iterator[Update]] = []
    tracker_of: list[Tracker] = []

    def go_on(number: int) -> None:
        update = next(conclusions[number], None)
        if update is not None:
            heapq.heappush(coming, (min(update.t_ns), number, update))

    for number, run in enumerate(runs):
        params = tracker_params(run.scenario)
        tracker_of.append(trackers.setdefault(params, Tracker(params)))
        conclusions.append(run.conclude(fusions, tracker_of[number], f"{number}/"))
        go_on(number)
    while coming:
        t_ns = coming[0][0]
        now: dict[int, list[tuple[int, Update]]] = {}
        while coming and coming[0][0] == t_ns:
            _, number, update = heapq.heappop(coming)
            now.setdefault(id(tracker_of[number]), []).append((number, update))
        for together in now.values():
            tracker_of[together[0][0]].update(
                [ue for _, update in together for ue in update.ues],
                [t_ns for _, update in together for t_ns in update.t_ns],
                np.concatenate([update.positions_m for _, update in together]),
                np.concatenate([update.covariances_m2 for _, update in together]),
            )
            for number, _ in together:
                go_on(number)
