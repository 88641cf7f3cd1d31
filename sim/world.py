"""The world in virtual time: from where UEs are to what the central unit knows of it.

One law after the other is given the time and does its part; this module owns the order in which they are
asked, and nothing else. What it does with one snapshot reads from top to bottom in `World`.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import simpy

from broker.bus import Arrival
from broker.frame import Frame, FrameEncoder, wire_bits
from broker.fronthaul import Fronthaul
from broker.packet import Fate, Packet
from broker.sequence import TransportLoss
from nodes import BaseStation, PolicyError, PositioningModel, SendPolicy
from sim.agenda import Agenda, Alarm, Moment
from sim.centre import Centre
from sim.clock import NANOSECONDS_PER_SECOND, ns_from_s
from sim.errors import UserError
from sim.faults import FaultEvent, schedule
from sim.fingerprint import Event, Fingerprint
from sim.fix_book import Snapshot
from sim.frame_ledger import BS_DOWN, SILENT, FrameLedger
from sim.policies import policy_of
from sim.record import Records
from sim.scenario import Scenario
from sim.wire import Parts, Wire

POSITIONS_AT_ONCE = 512
MOST_AT_ONCE = 512
"""Frames sent over the bus before they are received."""
Station = TypeVar("Station", bound=BaseStation)
CSI_BITS_PER_ELEMENT = 64
"""Of one complex64: what the paper's η refers to."""


class Channel(Protocol):
    """What the base stations hear."""

    @property
    def noise_variance(self) -> npt.NDArray[Any]:
        """Of one resource element at each BS, [num_bs]."""
        ...

    def pilots(self, ue: str, index: int, /) -> npt.NDArray[np.complex64]:
        """Pilots of a UE's snapshot at all BSs, noise included: [num_bs, num_slots, num_ant, num_sc]."""
        ...


class World:
    """Everything between the UEs and the central unit, one nanosecond after the other.

    Args:
        scenario: what happens.
        channel: what the BSs hear.
        stations: the BSs, from `base_stations`.
        model: fuses at the central unit.
        wire: carries frames to the fronthaul law and on to the central unit.
        recorder: open; takes all that happens.
        listener: called with each event, in order.
        events: hashes the events, instead of a `Fingerprint` for the listener.
        centre: makes the central unit with its books.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        channel: Channel,
        stations: Mapping[str, BaseStation],
        model: PositioningModel,
        wire: Wire,
        recorder: Records,
        listener: Callable[[Event], None] | None = None,
        events: Fingerprint | None = None,
        centre: type[Centre] = Centre,
    ) -> None:
        self.scenario = scenario
        self._channel = channel
        self._wire = wire
        self._recorder = recorder
        self._agenda = Agenda()
        self.events = Fingerprint(listener) if events is None else events
        self.ledger = FrameLedger(recorder.tables["frames"].append)
        self._stations = stations
        self.fronthaul = Fronthaul(*scenario.fronthaul.laws(), scenario.seed)
        self.centre = centre(
            scenario,
            model,
            run_id(scenario),
            agenda=self._agenda,
            ledger=self.ledger,
            events=self.events,
            recorder=recorder,
        )
        self.csi_bits = 0
        self.faults: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._processing_ns = ns_from_s(scenario.bs.processing)
        self._noise_variance = np.asarray(channel.noise_variance, np.float64).tolist()
        self._encoder = FrameEncoder()
        self._overhead_bytes = round(scenario.fronthaul.overhead)
        self._outbox: defaultdict[int, list[Frame]] = defaultdict(list)
        self._passed_ns = 0
        """All that happens before this has happened, also where no event was at it."""
        self._next_fate = Alarm(self._agenda, Moment.ARRIVE, self._carry)

    def run(self, progress: Callable[[int], None] | None = None) -> None:
        """Let the scenario happen, from 0 up to but not including its duration.

        A loss between two sockets, where nothing may get lost, ends the run and is told in `errors`.

        Args:
            progress: called with the time now and then.
        """
        self._begin()
        self._agenda.process(self._fail(schedule(self.scenario)))
        end_ns = self.scenario.duration_ns
        try:
            self._agenda.run(end_ns, each=self._passing_of_time(progress))
            self._reach(end_ns)
        except TransportLoss as error:
            self.errors.append(f"frames were lost outside the fronthaul law: {error}")

    def listen(self, listener: Callable[..., None]) -> None:
        """Have someone told of each truth, fix, track and fault as it is recorded.

        Args:
            listener: called like `sim.record.BusWriter.json`, without the schema.
        """
        self._recorder.bus.listener = listener

    def intervene(self, fault: FaultEvent) -> None:
        """Let a fault strike that is not in the scenario; recorded like those that are.

        Args:
            fault: at a time not before what has happened and before what happens next, as `run` tells it to
                `progress`.
        """
        self._strike(fault)

    def finish(self, *, cut_short: bool = False) -> None:
        """Close the books, however far the run has come.

        Args:
            cut_short: an exception ended the run, perhaps between two entries that belong together: the
                books are closed, but not compared.
        """
        self.ledger.finish()
        self.events.finish()
        self.errors += self.centre.errors
        if not cut_short:
            self.errors += self._audit()

    @property
    def now_ns(self) -> int:
        """How far the run has come."""
        return max(self._agenda.now_ns, self._passed_ns)

    @property
    def fixes_revised(self) -> int:
        """Fixes that took the place of an earlier one of the same snapshot."""
        return self.centre.revisions

    @property
    def snapshots_open(self) -> int:
        """Snapshots that have neither a fix nor passed their deadline."""
        return self.centre.book.still_open

    # The way of one snapshot.

    def _begin(self) -> None:
        """Let the UEs live."""
        for ue in self.scenario.ue_ids:
            self._agenda.process(self._live(ue))

    def _live(self, ue: str) -> Generator[simpy.Event, Any, None]:
        """Move a UE and have it heard, snapshot by snapshot."""
        for snapshot in self._snapshots(ue):
            yield self._agenda.at(snapshot.t_sample_ns, Moment.SAMPLE)
            self.events.add(Event(snapshot.t_sample_ns, "sample", f"{ue}#{snapshot.seq}"))
            self.centre.expect(snapshot)
            self._embed(snapshot, self._channel.pilots(ue, snapshot.seq))

    def _embed(self, snapshot: Snapshot, pilots: npt.NDArray[np.complex64]) -> None:
        """Each BS encodes and quantises what it heard and keeps the frame until it is processed."""
        self.csi_bits = pilots[0].size * CSI_BITS_PER_ELEMENT
        t_publish_ns = snapshot.t_sample_ns + self._processing_ns
        if t_publish_ns not in self._outbox:
            self._agenda.call(t_publish_ns, Moment.PUBLISH, self._publish)
        self._outbox[t_publish_ns] += self._frames(snapshot, pilots, t_publish_ns)

    def _frames(
        self, snapshot: Snapshot, pilots: npt.NDArray[np.complex64], t_publish_ns: int
    ) -> list[Frame]:
        """What the BSs will publish of a snapshot."""
        ue, seq, t_sample_ns = snapshot.ue, snapshot.seq, snapshot.t_sample_ns
        frames = []
        for station, heard, noise_variance in zip(
            self._stations.values(), pilots, self._noise_variance, strict=True
        ):
            self.ledger.owe(station.bs_id, ue, seq, t_sample_ns)
            try:
                frame = station.snapshot(ue, seq, t_sample_ns, heard, noise_variance, t_publish_ns)
            except PolicyError as error:
                raise UserError(str(error)) from error
            if frame is None:
                cause = SILENT if station.up else BS_DOWN
                self._withhold(station.bs_id, ue, seq, t_sample_ns, cause, t_sample_ns)
            else:
                frames.append(frame)
        return frames

    def _publish(self) -> None:
        """Frames that are processed now go over the bus into the fronthaul."""
        now_ns = self._agenda.now_ns
        self._hand_over(self._outbox.pop(now_ns))
        self._look_ahead()

    def _hand_over(self, frames: Iterable[Frame]) -> None:
        """Publish frames, in order of time, and offer them to the fronthaul law."""
        published: list[tuple[Frame, Parts]] = []
        for frame in frames:
            if self._stations[frame.bs].up:
                published.append((frame, self._encoder.encode(frame)))
            else:
                self._withhold(frame.bs, frame.ue, frame.seq, frame.t_sample_ns, BS_DOWN, frame.t_publish_ns)
        for first in range(0, len(published), MOST_AT_ONCE):
            some = published[first : first + MOST_AT_ONCE]
            self._wire.to_law([(frame.bs, parts) for frame, parts in some])
        for frame, parts in published:
            self._offer(frame, parts, frame.t_publish_ns)

    def _look_ahead(self) -> None:
        """Be woken when the fronthaul law may have decided something."""
        self._next_fate.set(self.fronthaul.next_event_ns())

    def _offer(self, frame: Frame, parts: Parts, now_ns: int) -> None:
        size_bits = wire_bits(parts, self._overhead_bytes)
        self.ledger.publish(frame, size_bits)
        event = Event(now_ns, "publish", f"{frame.bs}/{frame.ue}#{frame.seq}", f"{size_bits} bit")
        self.events.add(event, frame.payload)
        deadline_ns = frame.t_sample_ns + self.centre.policy.deadline_ns
        body = Sent(parts, frame)
        packet = Packet(frame.bs, frame.ue, frame.seq, size_bits, frame.t_sample_ns, deadline_ns, body)
        for fate in self.fronthaul.offer(packet, now_ns):
            self._lose(fate)

    def _carry(self) -> None:
        """What the fronthaul law has decided by now: frames go on over the bus, or are lost."""
        now_ns = self._agenda.now_ns
        delivered = []
        for fate in self.fronthaul.advance(now_ns):
            if fate.kind == "delivered":
                delivered.append(Arrival(sent_in(fate.packet).parts, fate.t_ns))
            else:
                self._lose(fate)
        if delivered:
            self.centre.receive(self._wire.to_central_unit(delivered))
        self._look_ahead()

    def _reach(self, end_ns: int) -> None:
        """The end of the run: let the fronthaul law come to it, in which nothing is left to happen."""
        self.fronthaul.advance(end_ns - 1)

    # What goes wrong on purpose.

    def _fail(self, faults: tuple[FaultEvent, ...]) -> Generator[simpy.Event, Any, None]:
        """Faults strike and end."""
        for fault in faults:
            yield self._agenda.at(fault.t_ns, Moment.FAULT)
            self._strike(fault)

    def _strike(self, fault: FaultEvent) -> None:
        if fault.aspect == "bs":
            self._stations[fault.target].up = bool(fault.setting)
        else:
            self.fronthaul.change(fault.target, fault.t_ns, **fault.change)
            self._look_ahead()
        self.events.add(Event(fault.t_ns, fault.kind, fault.target, fault.detail))
        entry = {
            "t_s": fault.t_ns / NANOSECONDS_PER_SECOND,
            "kind": fault.kind,
            "target": fault.target,
            "detail": fault.detail,
        }
        self.faults.append(entry)
        self._record_fault(fault, entry)

    def _record_fault(self, fault: FaultEvent, entry: dict[str, Any]) -> None:
        self._recorder.bus.json(
            f"fault/{fault.target}/", "fault", entry, t_sample_ns=fault.t_ns, t_ns=fault.t_ns, seq=0
        )

    def _withhold(
        self, bs: str, ue: str, seq: int, t_sample_ns: int, cause: str, t_ns: int | None = None
    ) -> None:
        """A BS does not publish the frame that it owes; None: now."""
        t_ns = self._agenda.now_ns if t_ns is None else t_ns
        self._drop(bs, ue, seq, t_sample_ns, t_ns, cause, ())

    def _lose(self, fate: Fate) -> None:
        """The fronthaul law drops a frame."""
        packet = fate.packet
        assert fate.cause is not None
        parts = sent_in(packet).parts[1:]
        self._drop(packet.bs, packet.ue, packet.seq, packet.t_sample_ns, fate.t_ns, fate.cause, parts)

    def _drop(
        self, bs: str, ue: str, seq: int, t_sample_ns: int, t_ns: int, cause: str, parts: Sequence[bytes]
    ) -> None:
        self.ledger.drop((bs, ue, seq), cause)
        self.events.add(Event(t_ns, "drop", f"{bs}/{ue}#{seq}", cause))
        self._recorder.bus.lost(
            f"{bs}/{ue}/", parts, t_sample_ns=t_sample_ns, t_ns=t_ns, seq=seq, cause=cause
        )

    # Time and truth.

    def _snapshots(self, ue: str) -> Iterator[Snapshot]:
        return snapshots_of(self.scenario, ue)

    def _passing_of_time(self, progress: Callable[[int], None] | None) -> Callable[[int], None]:
        last_ns = -1

        def passes(t_ns: int) -> None:
            nonlocal last_ns
            if t_ns == last_ns:
                return
            last_ns = t_ns
            self._pass(t_ns)
            self._passed_ns = t_ns
            if progress is not None:
                progress(t_ns)

        return passes

    def _pass(self, t_ns: int) -> None:
        """All that happens before a time has happened."""
        self.events.advance(t_ns)

    def _audit(self) -> list[str]:
        """Compare the ledger with what the fronthaul law and the central unit have counted themselves."""
        counts, law, unit = self.ledger.counts, self.fronthaul.counts(), self.centre.unit.counts
        errors = []
        if not counts.conserved:
            errors.append(f"frames are not conserved: {counts}")
        for name, link in self.fronthaul.link_counts().items():
            if not link.conserved:
                errors.append(f"frames on {name} are not conserved: {link}")
        if not law.conserved:
            errors.append(f"frames in the fronthaul are not conserved: {law}")
        if not self.errors and law.delivered != unit.received:
            errors.append(
                f"the law delivered {law.delivered} frames, the central unit received {unit.received}"
            )
        for cause, dropped in law.dropped.items():
            if counts.dropped.get(cause, 0) != dropped:
                errors.append(
                    f"the law dropped {dropped} for {cause}, the ledger says {counts.dropped.get(cause, 0)}"
                )
        return errors


def snapshots_of(scenario: Scenario, ue: str) -> Iterator[Snapshot]:
    """Where a UE really is at each of its sample times."""
    times_ns = scenario.sample_times_ns(ue)
    trajectory = scenario.trajectory(ue)
    for first in range(0, len(times_ns), POSITIONS_AT_ONCE):
        some_ns = times_ns[first : first + POSITIONS_AT_ONCE]
        positions_m = trajectory.position_in_world_m(some_ns / NANOSECONDS_PER_SECOND)
        for seq, (t_ns, position_m) in enumerate(
            zip(some_ns.tolist(), positions_m, strict=True), start=first
        ):
            yield Snapshot(ue, seq, t_ns, position_m)


def run_id(scenario: Scenario) -> str:
    """Identity of a run, in every frame: the same for the same scenario, however it is transported."""
    return scenario.model_copy(update={"transport": "inproc"}).digest()[:8]


def base_stations(
    scenario: Scenario, model: PositioningModel, policy: SendPolicy | None = None
) -> dict[str, BaseStation]:
    """The scenario's base stations, in its order.

    Args:
        scenario: names them and says what they send.
        model: encodes.
        policy: decides at each BS what is sent of each snapshot, instead of the scenario's policy.

    Raises:
        UserError: the model does not know one of them, or cannot send what the scenario wants.
    """
    run = run_id(scenario)
    return {bs: station_of(scenario, bs, model, run, policy, BaseStation) for bs in scenario.bs_ids}


def station_of(
    scenario: Scenario,
    bs: str,
    model: PositioningModel,
    run: str,
    policy: SendPolicy | None,
    kind: type[Station],
) -> Station:
    """One base station of a scenario, of a kind; arguments and errors as of `base_stations`."""
    message = scenario.model.message_of(bs)
    try:
        policy = policy_of(scenario, bs) if policy is None else policy
        return kind(bs, model, run, bits=message.bits, dims=message.dims, policy=policy)
    except ValueError as error:
        raise UserError(f"model {scenario.model.name}: {bs}: {error}") from error


class Sent(NamedTuple):
    """What `World` gives a packet as its body: a frame, and the bytes that it is on the wire."""

    parts: Parts
    frame: Frame


def sent_in(packet: Packet) -> Sent:
    """The body of a packet of `World`."""
    body = packet.body
    assert isinstance(body, Sent)
    return body
