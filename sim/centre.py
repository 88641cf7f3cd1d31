"""The central unit in virtual time, and the books that are kept about what it does.

The world feeds it from the bus, a replay from a recording.
"""

from collections.abc import Sequence

from broker.bus import Arrival
from broker.frame import Frame, decode_frame
from nodes import CentralUnit, CuPolicy, Fix, Miss, PositioningModel, Track, TrackerParams, Verdict
from sim.agenda import Agenda, Alarm, Moment
from sim.clock import NANOSECONDS_PER_SECOND, ns_from_s
from sim.fingerprint import Event, Fingerprint
from sim.fix_book import FixBook, Snapshot, SnapshotKey
from sim.frame_ledger import LATE, FrameLedger
from sim.record import Records
from sim.scenario import Scenario

XYZ = ("x", "y", "z")


class Centre:
    """Hands frames to the central unit at their arrival, wakes it at its deadlines, and writes down the rest.

    Args:
        scenario: says the policy and how UEs move.
        model: fuses.
        run: identity of the run, in every frame; None takes any.
        agenda: the clock.
        ledger: of the frames.
        events: of the run.
        recorder: takes fixes and tracks.
    """

    def __init__(
        self,
        scenario: Scenario,
        model: PositioningModel,
        run: str | None,
        *,
        agenda: Agenda,
        ledger: FrameLedger,
        events: Fingerprint,
        recorder: Records,
    ) -> None:
        self._agenda = agenda
        self._ledger = ledger
        self._events = events
        self._recorder = recorder
        self._known_models = {model.digest}
        self.policy = cu_policy(scenario)
        self.unit = self._central_unit(scenario, model, run)
        self.book = FixBook(recorder.tables["fixes"].append)
        self.revisions = 0
        self.errors: list[str] = []
        self._revised: list[SnapshotKey] = []
        self._deadline = Alarm(agenda, Moment.DEADLINE, self.advance)

    def _central_unit(self, scenario: Scenario, model: PositioningModel, run: str | None) -> CentralUnit:
        return CentralUnit(model, self.policy, tracker_params(scenario), expected=scenario.bs_ids, run=run)

    def expect(self, snapshot: Snapshot) -> None:
        """A UE has been sampled: there should be a fix by the deadline."""
        self._open(snapshot)
        closing_ns = snapshot.t_sample_ns + self.policy.deadline_ns
        self._agenda.call(closing_ns, Moment.CLOSE, lambda: self._give_up(snapshot))

    def _open(self, snapshot: Snapshot) -> None:
        """Write down that a UE has been sampled."""
        self.book.open(snapshot)
        self._record_truth(snapshot)

    def _record_truth(self, snapshot: Snapshot) -> None:
        place = dict(zip(XYZ, snapshot.position_m.tolist(), strict=True))
        self._recorder.bus.json(
            f"truth/{snapshot.ue}/",
            "truth",
            {"t_s": snapshot.t_sample_ns / NANOSECONDS_PER_SECOND, "position_m": place},
            t_sample_ns=snapshot.t_sample_ns,
            t_ns=snapshot.t_sample_ns,
            seq=snapshot.seq,
        )

    def receive(self, arrivals: Sequence[Arrival]) -> None:
        """Frames arrive now, all that do."""
        for arrival in arrivals:
            self._receive_one(arrival)
        self.advance()
        # A late frame that was let in, but with which there are still too few for a fix.
        for ue, t_sample_ns in self._revised:
            self._close_unused(ue, t_sample_ns)
        self._revised.clear()

    def advance(self) -> None:
        """Let the central unit close what is due now."""
        for result in self.unit.advance(self._agenda.now_ns):
            self._book(result)
        self._deadline.set(self.unit.next_deadline_ns())

    def _book(self, result: Fix | Miss) -> None:
        """Write down what became of a snapshot that closed."""
        if isinstance(result, Fix):
            self._keep(result)
        else:
            self._miss(result.ue, result.t_sample_ns, result.t_fix_ns, result.track)
            self._close_unused(result.ue, result.t_sample_ns)

    def _close_unused(self, ue: str, t_sample_ns: int) -> None:
        """A snapshot has no fix: its frames are part of none, unless late ones may still make one of them."""
        if self.policy.late == "drop":
            self._ledger.close(ue, t_sample_ns)
            return
        last_ns = t_sample_ns + self.policy.deadline_ns + self.policy.horizon_ns
        at_ns = max(last_ns, self._agenda.now_ns)
        self._agenda.call(at_ns, Moment.CLOSE, lambda: self._ledger.close(ue, t_sample_ns))

    def _receive_one(self, arrival: Arrival) -> None:
        frame = self._decoded(arrival)
        self._book_arrival(frame, arrival, self.unit.receive(frame, arrival.t_arrival_ns))

    def _book_arrival(self, frame: Frame, arrival: Arrival, verdict: Verdict) -> None:
        """Write down what became of a frame that arrived."""
        now_ns = arrival.t_arrival_ns
        key = (frame.bs, frame.ue, frame.seq)
        name = f"{frame.bs}/{frame.ue}#{frame.seq}"
        self._recorder.bus.frame(
            frame.topic, arrival.parts[1:], t_sample_ns=frame.t_sample_ns, t_ns=now_ns, seq=frame.seq
        )
        if verdict.taken:
            self._ledger.arrive(key, now_ns)
            self._events.add(Event(now_ns, "arrive", name))
            if verdict.kind == "revises":
                self._revised.append((frame.ue, frame.t_sample_ns))
        elif verdict.kind == "late":
            self._ledger.refuse(key, now_ns, LATE)
            self._events.add(Event(now_ns, "late", name))
        else:
            cause = verdict.cause or verdict.kind
            self._ledger.refuse(key, now_ns, cause)
            self._events.add(Event(now_ns, "refuse", name, cause))
            self.errors.append(f"the central unit refused {name}: {cause}")

    def _decoded(self, arrival: Arrival) -> Frame:
        return decode_frame(arrival.parts, known_models=self._known_models)

    def _keep(self, fix: Fix) -> None:
        self._ledger.close(fix.ue, fix.t_sample_ns, fix.bs_used)
        snapshot = self.book.fix(fix)
        self.revisions += snapshot is None
        kind = "revise" if snapshot is None else "fix"
        content = fix.position_m.tobytes() + fix.covariance_m2.tobytes() + track_bytes(fix.track)
        self._events.add(Event(fix.t_fix_ns, kind, f"{fix.ue}#{fix.seq}", ",".join(fix.bs_used)), content)
        self._record_fix(fix)
        self._record_track(fix.track, fix.t_fix_ns, fix.seq)

    def _record_fix(self, fix: Fix) -> None:
        self._recorder.bus.json(
            f"fix/{fix.ue}/",
            "fix",
            {
                "t_s": fix.t_fix_ns / NANOSECONDS_PER_SECOND,
                "position_m": dict(zip(XYZ, fix.position_m.tolist(), strict=True)),
                "covariance_m2": fix.covariance_m2.ravel().tolist(),
                "bs_used": fix.bs_used,
                "ages_s": {bs: age / NANOSECONDS_PER_SECOND for bs, age in fix.ages_ns.items()},
                "revision": fix.revision,
                "outcome": fix.outcome.name.lower(),
            },
            t_sample_ns=fix.t_sample_ns,
            t_ns=fix.t_fix_ns,
            seq=fix.seq,
        )

    def _give_up(self, snapshot: Snapshot) -> None:
        """A deadline has passed of which the central unit may not know: perhaps no frame came at all."""
        if self.book.snapshot(snapshot.ue, snapshot.t_sample_ns) is None:
            return
        track = self.unit.track(snapshot.ue, snapshot.t_sample_ns)
        closing_ns = snapshot.t_sample_ns + self.policy.deadline_ns
        self._miss(snapshot.ue, snapshot.t_sample_ns, closing_ns + self.policy.processing_ns, track)

    def _miss(self, ue: str, t_sample_ns: int, t_ns: int, track: Track | None) -> None:
        snapshot = self.book.miss(ue, t_sample_ns, t_ns, track)
        if snapshot is None:
            return
        self._events.add(Event(t_ns, "miss", f"{ue}#{snapshot.seq}"), track_bytes(track))
        self._record_track(track, t_ns, snapshot.seq)

    def _record_track(self, track: Track | None, t_ns: int, seq: int) -> None:
        if track is None:
            return
        self._recorder.bus.json(
            f"track/{track.ue}/",
            "track",
            {
                "t_s": track.t_ns / NANOSECONDS_PER_SECOND,
                "position_m": dict(zip(XYZ, track.position_m.tolist(), strict=True)),
                "velocity_mps": dict(zip(XYZ, track.velocity_mps.tolist(), strict=True)),
                "covariance": track.covariance.ravel().tolist(),
                "coasting": track.coasting,
            },
            t_sample_ns=track.t_ns,
            t_ns=t_ns,
            seq=seq,
        )


def cu_policy(scenario: Scenario) -> CuPolicy:
    """The central unit's policy as the scenario says it."""
    return CuPolicy(
        deadline_ns=ns_from_s(scenario.cu.deadline),
        min_bs=scenario.cu.min_bs,
        late=scenario.cu.late,
        processing_ns=ns_from_s(scenario.cu.processing),
    )


def tracker_params(scenario: Scenario) -> TrackerParams:
    """The tracker's parameters as the scenario says them."""
    return TrackerParams(acceleration_mps2=scenario.tracker.acceleration, gate=scenario.tracker.gate)


def track_bytes(track: Track | None) -> bytes:
    """A track as the digest sees it."""
    if track is None:
        return b""
    return track.position_m.tobytes() + track.velocity_mps.tobytes() + track.covariance.tobytes()
