"""The central unit as a process: collects `emb/`, fuses, tracks, and reports what it knows."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import zmq

from broker.bus import Arrival, Subscriber
from broker.clock import WallClock
from broker.frame import Frame, FrameError, decode_frame
from broker.part import Report, Surroundings
from broker.refusals import Refusals
from broker.sequence import TransportLoss
from nodes.central_unit import CentralUnit
from nodes.cu_policy import CuPolicy
from nodes.model_spec import model_from_spec, warm_up
from nodes.plain import (
    plain_from_cu_counts,
    plain_from_result,
    plain_from_track,
    plain_from_verdict,
    track_from_plain,
)
from nodes.tracker import TrackerParams

HANDOVER_TIMEOUT_S = 10.0
MOST_AT_ONCE = 256
"""Frames taken before what is due is fused."""
FUSE_WITHIN_NS = 3_000_000
"""After a snapshot is complete."""


class CentralUnitService:
    """Hands frames to the central unit and tells the world what came of them.

    The welcome: run, model, policy, tracker, expected (BSs), downstream (endpoint to subscribe to), tracks
    (what was last known, of a run that goes on), clock (its plan, or None in lock-step).
    """

    def __init__(self, surroundings: Surroundings) -> None:
        welcome: Mapping[str, Any] = surroundings.welcome
        model = model_from_spec(welcome["model"])
        warm_up(model, None)
        self.run = str(welcome["run"])
        self.unit = CentralUnit(
            model,
            CuPolicy(**welcome["policy"]),
            TrackerParams(**welcome["tracker"]),
            expected=list(welcome["expected"]),
            run=self.run,
        )
        self.unit.resume([track for plain in welcome["tracks"] if (track := track_from_plain(plain))])
        self._known_models = {model.digest}
        clock = welcome["clock"]
        self._clock = None if clock is None else WallClock.from_plan(clock)
        self._now_ns = 0
        self._completed: set[int] = set()
        self._fuse_ns: int | None = None
        self.refusals = Refusals()
        self._subscriber = Subscriber(
            surroundings.context,
            str(welcome["downstream"]),
            keys=surroundings.keys,
            restarts=self._clock is not None,
        )

    # In lock-step: the world grants.

    def command(self, kind: str, body: Any) -> Any:
        """`grant` a time with the frames that arrive then; `track`, `counts`; `begin` in real time."""
        match kind:
            case "begin":
                self._clock = WallClock.from_plan(body, self._clock)
                return None
            case "grant":
                return self._grant(*body)
            case "track":
                return plain_from_track(self.unit.track(body[0], body[1]))
            case "counts":
                return plain_from_cu_counts(self.unit.counts)
        raise ValueError("no such command")

    def _grant(self, t_ns: int, expected: Sequence[tuple[int, str, str, int]]) -> Any:
        """Wait for all frames that arrive at a time, process them in their order, and acknowledge.

        The acknowledgement begins with a hash of what was received.
        """
        received = [
            (arrival.t_arrival_ns, frame.bs, frame.ue, frame.seq, frame, arrival)
            for arrival in self._subscriber.receive_exactly(len(expected), HANDOVER_TIMEOUT_S)
            for frame in (decode_frame(arrival.parts, known_models=self._known_models),)
        ]
        received.sort(key=lambda entry: entry[:4])
        keys = [list(entry[:4]) for entry in received]
        if keys != [list(key) for key in expected]:
            raise TransportLoss(f"the central unit was to receive {expected}, and received {keys}")
        verdicts = [plain_from_verdict(self.unit.receive(entry[4], entry[0])) for entry in received]
        results = [plain_from_result(result) for result in self.unit.advance(t_ns)]
        digest = arrivals_digest([entry[5] for entry in received])
        return [digest, verdicts, results, self.unit.next_deadline_ns()]

    # In real time: the wall says what the time is.

    @property
    def sockets(self) -> Sequence[zmq.Socket[bytes]]:
        """Where frames arrive."""
        return () if self._clock is None else (self._subscriber.socket,)

    @property
    def attended(self) -> Sequence[zmq.Socket[bytes]]:
        """None: all sockets connect."""
        return ()

    def wait_s(self) -> float | None:
        """Until the next snapshot's deadline, or those that closed are fused."""
        due_ns = self._fuse_ns if self._fuse_ns is not None else self.unit.next_deadline_ns()
        if self._clock is None or due_ns is None:
            return None
        return self._clock.seconds_until(due_ns)

    def work(self) -> Iterator[Report]:
        """Take what has come, fuse what closed, and report both."""
        if self._clock is None:
            return
        received = []
        now_ns = self._tick()  # what is there together arrives together: what it completes is fused in one go
        for arrival in self._subscriber.receive(0.0, MOST_AT_ONCE):
            frame = self._admit(arrival)
            if frame is not None:
                verdict = self.unit.receive(frame, now_ns)
                key = [frame.bs, frame.ue, frame.seq, arrival.t_arrival_ns, now_ns]
                received.append([*key, *plain_from_verdict(verdict), list(arrival.parts[:3])])
                if verdict.kind == "completes":
                    self._completed.add(frame.t_sample_ns)
                    self._fuse_ns = self._fuse_ns or now_ns + FUSE_WITHIN_NS
        if received:
            yield "received", received
        if self._may_wait(now_ns):
            return
        self._completed.clear()
        self._fuse_ns = None
        results = self.unit.advance(now_ns)
        if results:
            done_ns = self._clock.now_ns()
            yield "results", [[done_ns, plain_from_result(result)] for result in results]

    def _may_wait(self, now_ns: int) -> bool:
        """Whether what has closed waits for other UEs that were sampled at the same time.

        One after the other their frames come from the same links, and many are fused as fast as one.
        """
        if self._fuse_ns is None or now_ns >= self._fuse_ns:
            return False
        return any(self.unit.others_open(t_sample_ns) for t_sample_ns in self._completed)

    def _admit(self, arrival: Arrival) -> Frame | None:
        """A frame that is as documented and of this run; others are counted by cause."""
        try:
            frame = decode_frame(arrival.parts, known_models=self._known_models)
            if frame.run != self.run:
                raise FrameError("other_run", f"of run {frame.run!r}")
        except FrameError as error:
            self.refusals.refuse_message(error, arrival.parts[0])
            return None
        return frame

    def _tick(self) -> int:
        assert self._clock is not None
        self._now_ns = max(self._now_ns, self._clock.now_ns())
        return self._now_ns

    def beat(self) -> Any:
        """Counts, and what was turned away."""
        refused = dict(self.refusals.by_cause)
        for cause, count in self._subscriber.refusals.by_cause.items():
            refused[cause] = refused.get(cause, 0) + count
        return plain_from_cu_counts(self.unit.counts) | {
            "turned_away": refused,
            "losses": self._subscriber.losses,
        }

    # Both.

    def greeting(self) -> Any:
        """Nothing but that it is ready."""
        return None

    def close(self) -> None:
        """Close the socket."""
        self._subscriber.close(0)


def arrivals_digest(arrivals: Sequence[Arrival]) -> bytes:
    """What a central unit acknowledges: a hash of the frames of one grant and of when they arrived."""
    digest = hashlib.blake2b(digest_size=16)
    for arrival in arrivals:
        digest.update(arrival.t_arrival_ns.to_bytes(8, "big"))
        for part in arrival.parts:
            digest.update(len(part).to_bytes(4, "big"))
            digest.update(part)
    return digest.digest()
