"""The broker as a process: the shaping forwarder, which drives the fronthaul law.

In lock-step the world says what the time is; in real time the wall does. The law is the same object.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import zmq

from broker.admission import Admission
from broker.bus import Forwarder
from broker.clock import Plan, WallClock
from broker.frame import FrameError, FrameLimits, decode_frame, wire_bits
from broker.fronthaul import Fronthaul
from broker.keys import leaves_machine
from broker.packet import Fate, Packet
from broker.part import Report, Surroundings
from broker.plain import law_from_plain, plain_from_counts, plain_from_fate, tree_from_plain
from broker.sequence import TransportLoss

HANDOVER_TIMEOUT_S = 10.0
REST_S = 0.0005
"""Between two looks at the law while no frame comes: waking up for each alone costs more than it is late."""
MOST_AT_ONCE = 256
"""Messages taken from the bus before the law is looked at again."""
MOST_PER_S = 10_000
"""Frames of one base station in real time; what is more is not even read."""


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """What the broker is told by the world.

    Attributes:
        run: identity of the run whose frames are carried.
        upstream: endpoint to bind for base stations.
        downstream: endpoint to bind for the central unit.
        fronthaul: tree, attachments and seed, plain.
        overhead_bytes: of each frame on the wire.
        deadline_ns: after the sample time, for disciplines that care.
        clock: plan of the clock in real time; None in lock-step.
    """

    run: str
    upstream: str
    downstream: str
    fronthaul: Mapping[str, Any]
    overhead_bytes: int
    deadline_ns: int
    clock: Plan | None = None

    @classmethod
    def from_welcome(cls, welcome: Mapping[str, Any]) -> "BrokerConfig":
        """Read what the world sent. Raises KeyError for what is missing."""
        clock = welcome["clock"]
        return cls(
            run=str(welcome["run"]),
            upstream=str(welcome["upstream"]),
            downstream=str(welcome["downstream"]),
            fronthaul=welcome["fronthaul"],
            overhead_bytes=int(welcome["overhead_bytes"]),
            deadline_ns=int(welcome["deadline_ns"]),
            clock=clock,
        )


class BrokerService:
    """Forwards frames when the fronthaul law lets them arrive.

    Raises:
        ValueError: an endpoint leaves the machine and there are no keys.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        config = self.config = BrokerConfig.from_welcome(surroundings.welcome)
        if surroundings.keys is None and any(map(leaves_machine, (config.upstream, config.downstream))):
            raise ValueError(f"{config.upstream}: leaves this machine, which needs keys")
        self.law = Fronthaul(
            tree_from_plain(config.fronthaul["tree"]),
            config.fronthaul["attach"],
            config.fronthaul["seed"],
        )
        self._bs_ids = frozenset(config.fronthaul["attach"])
        self.forwarder = Forwarder(
            surroundings.context, config.upstream, config.downstream, keys=surroundings.keys
        )
        self.refusals = self.forwarder.refusals
        self._admission = Admission(MOST_PER_S, 2 * MOST_PER_S)
        self._clock = None if config.clock is None else WallClock.from_plan(config.clock)
        self._now_ns = 0
        self._worked_s = 0.0
        self._limits = FrameLimits()

    # In lock-step: the world grants.

    def command(self, kind: str, body: Any) -> Any:
        """`await`, `offer`, `advance`, `change`, `counts` or `begin`; see `sim.processes`, `sim.realtime`."""
        match kind:
            case "begin":
                self._clock = WallClock.from_plan(body, self._clock)
                return None
            case "await":
                self.forwarder.wait_for_subscriber(timeout_s=float(body))
                return None
            case "offer":
                return self._offer(*body)
            case "advance":
                return self._advance(int(body))
            case "change":
                return self._change(*body)
            case "counts":
                return self._counts()
        raise ValueError("no such command")

    def _offer(self, t_ns: int, expected: Sequence[Sequence[Any]]) -> Any:
        """Take the frames that the world says were published, all of them, and offer them in its order."""
        received = {}
        for message in self.forwarder.receive_exactly(len(expected), HANDOVER_TIMEOUT_S):
            frame = decode_frame(message, limits=self._limits)
            received[frame.bs, frame.ue, frame.seq] = frame.t_sample_ns, (message[0], message[1], message[2])
        offered = []
        for bs, ue, seq in expected:
            if (bs, ue, seq) not in received:
                raise TransportLoss(f"frame {bs}/{ue}#{seq} was published and did not come")
            t_sample_ns, parts = received[bs, ue, seq]
            size_bits = wire_bits(parts, self.config.overhead_bytes)
            packet = Packet(bs, ue, seq, size_bits, t_sample_ns, t_sample_ns + self.config.deadline_ns, parts)
            drops = self.law.offer(packet, t_ns)
            offered.append([list(parts), [plain_from_fate(drop) for drop in drops]])
        return [offered, self.law.next_event_ns()]

    def _advance(self, t_ns: int) -> Any:
        fates = self.law.advance(t_ns)
        self._forward(fates)
        return [[plain_from_fate(fate) for fate in fates], self.law.next_event_ns()]

    def _change(self, segment: str, t_ns: int, settings: Mapping[str, Any]) -> Any:
        if self._clock is not None:
            t_ns = self._tick()
        self.law.change(segment, t_ns, **{key: law_from_plain(value) for key, value in settings.items()})
        return self.law.next_event_ns()

    def _counts(self) -> Any:
        return {
            "all": plain_from_counts(self.law.counts()),
            "links": {name: plain_from_counts(counts) for name, counts in self.law.link_counts().items()},
            "utilisation": self.law.utilisation(),
            "refused": dict(self.refusals.by_cause),
        }

    # In real time: the wall does.

    @property
    def sockets(self) -> Sequence[zmq.Socket[bytes]]:
        """The upstream side, where frames come in."""
        return () if self._clock is None else (self.forwarder.upstream_socket,)

    @property
    def attended(self) -> Sequence[zmq.Socket[bytes]]:
        """Both ends, which are bound."""
        return self.forwarder.sockets

    def wait_s(self) -> float | None:
        """Until the law has something."""
        due_ns = self.law.next_event_ns()
        if self._clock is None or due_ns is None:
            return None
        return max(self._clock.seconds_until(due_ns), self._worked_s + REST_S - monotonic())

    def work(self) -> Iterator[Report]:
        """Offer what has come, forward what arrives, and report both: offers before anything can arrive."""
        if self._clock is None:
            return
        now_ns = self._tick()
        fates: list[Fate] = self.law.advance(now_ns)
        offered: list[Any] = []
        for parts in self.forwarder.receive(0.0, MOST_AT_ONCE):
            packet = self._admit(parts, now_ns)
            if packet is not None:
                offered.append([now_ns, packet.size_bits, list(parts)])
                fates += self.law.offer(packet, now_ns)
        fates += self.law.advance(now_ns)
        if offered:
            yield "offered", offered
        self._forward(fates)
        self._worked_s = monotonic()
        if fates:
            done_ns = self._clock.now_ns()
            yield "fates", [[*plain_from_fate(fate), done_ns] for fate in fates]

    def _admit(self, parts: Sequence[bytes], now_ns: int) -> Packet | None:
        """The packet of a frame that may pass; others are counted by cause."""
        try:
            self._admission.knock(self._peer(parts[0]))
            frame = decode_frame(parts, limits=self._limits)
            if frame.run != self.config.run:
                raise FrameError("other_run", f"of run {frame.run!r}")
            if frame.bs not in self._bs_ids:
                raise FrameError("malformed", f"{frame.bs!r} is not of this run")
            self._admission.enter(frame.bs, frame.ue, frame.t_sample_ns, now_ns)
        except FrameError as error:
            self.refusals.refuse_message(error, parts[0])
            return None
        size_bits = wire_bits(parts, self.config.overhead_bytes)
        deadline_ns = frame.t_sample_ns + self.config.deadline_ns
        body = (parts[0], parts[1], parts[2])
        return Packet(frame.bs, frame.ue, frame.seq, size_bits, frame.t_sample_ns, deadline_ns, body)

    def _peer(self, topic: bytes) -> bytes:
        """The base station that speaks; all strangers are one."""
        name = topic[len("emb/") : 80].partition(b"/")[0]
        return name if name.decode(errors="replace") in self._bs_ids else b""

    def _tick(self) -> int:
        """The time by the wall, which never falls and never lies before the run."""
        assert self._clock is not None
        self._now_ns = max(self._now_ns, self._clock.now_ns())
        return self._now_ns

    def beat(self) -> Any:
        """How the links are."""
        if self._clock is not None:
            self.law.advance_clock(self._tick())
        return self._counts()

    # Both.

    def _forward(self, fates: Sequence[Fate]) -> None:
        for fate in fates:
            if fate.kind == "delivered":
                body = fate.packet.body
                assert isinstance(body, tuple)
                self.forwarder.forward(body, fate.t_ns)

    def greeting(self) -> Any:
        """Where base stations and the central unit must connect."""
        return {"upstream": self.forwarder.upstream, "downstream": self.forwarder.downstream}

    def close(self) -> None:
        """Close both ends."""
        self.forwarder.close(200)
