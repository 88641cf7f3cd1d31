"""Bad messages by the million at whoever takes messages: malformed, truncated, replayed, oversized.

Each is built so that it must be refused, with the cause it must be counted under; among them good ones pass.
Central unit, forwarder and base station are those of the processes, with real sockets and a clock that the
flood turns.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Any, Protocol

import msgpack
import numpy as np
import zmq
from numpy.random import Generator

from broker.admission import Admission
from broker.bus import Forwarder, Publisher
from broker.clock import WallClock
from broker.frame import Frame, FrameLimits, decode_frame, frame_parts
from broker.law import FronthaulLaw
from broker.part import Surroundings
from broker.plain import plain_from_law
from broker.service import BrokerService
from broker.streams import stream
from models.testing import GeometryModel
from nodes import BaseStation, CuPolicy, Fix, TrackerParams
from nodes.air import MAX_ELEMENTS, Air, encode_air
from nodes.model_spec import spec_of
from nodes.plain import result_from_plain
from nodes.service_bs import BaseStationService
from nodes.service_cu import CentralUnitService
from sim.parts import AirSocket

Parts = list[bytes]
Context = zmq.Context[zmq.Socket[bytes]]
RUN = "run1"
MODEL = GeometryModel(("bs1", "bs2"), dims=12)
POSITION_M = np.array([10.0, 20.0, 3.0])
PILOTS = MODEL.pilots_at(POSITION_M, shape=(2, 2, 4))
GOOD_EVERY = 1000
AT_ONCE = 100
STEP_NS = 100_000_000
ENDLESS = 1 << 40
PATIENCE_S = 60.0
GOOD_MESSAGES = 2
"""Of each good snapshot."""


class Clock(WallClock):
    """Goes only when it is turned."""

    def __init__(self) -> None:
        super().__init__(0)
        self.t_ns = STEP_NS

    def now_ns(self) -> int:
        return self.t_ns


def bad_messages(good: Parts, random: Generator, most: int) -> Iterator[tuple[str, Parts]]:
    """Messages that are nearly like a good one, with the cause each must be refused for.

    Args:
        good: topic, header and content of a good message, whose header begins with version, run, bs, ue, seq,
            t_sample_ns, t_publish_ns.
        random: where the choices come from.
        most: largest content that is looked at.
    """
    topic, header, content = good
    fields = msgpack.unpackb(header)
    while True:
        kind = int(random.integers(12))
        match kind:
            case 0:  # a part cut off
                at = int(random.integers(3))
                whole = good[at]
                least = (
                    len(b"emb/bs1/") if at == 0 else 0
                )  # with less of its topic it is not even subscribed to
                cut = [*good]
                cut[at] = whole[: int(random.integers(least, len(whole)))]
                yield ("length" if at == 2 else "malformed"), cut
            case 1:  # a part too long
                yield "length", [topic, header, content + random.bytes(int(random.integers(1, 400)))]
            case 2:
                yield (
                    "malformed",
                    [topic, header + random.bytes(int(random.integers(1, 100))), content],
                )
            case 3:  # parts missing or too many
                yield "malformed", [topic, header] if random.integers(2) else [*good, b"", b""]
            case 4:  # noise in place of the header; c1 begins nothing in msgpack
                yield "malformed", [topic, b"\xc1" + random.bytes(int(random.integers(200))), content]
            case 5:  # nested deeply, which makes careless readers fall over
                yield "malformed", [topic, b"\x91" * int(random.integers(1, 384)), content]
            case 6:  # of another version
                version = [0, 2, -1, True, None, "1", 1.0][int(random.integers(7))]
                yield "version", [topic, msgpack.packb([version, *fields[1:]]), content]
            case 7:  # oversized
                what = int(random.integers(200))
                if what == 0:
                    yield "oversize", [topic, header, bytes(most + 1)]
                elif what < 100:
                    yield "oversize", [topic, header + bytes(384), content]
                else:
                    yield "oversize", [topic + b"x" * 160, header, content]
            case 8:  # another topic than the header's
                yield (
                    "malformed",
                    [topic[:-1] + random.bytes(4).hex().encode() + b"/", header, content],
                )
            case 9:  # a field of another type
                at = int(random.integers(1, 7))
                wrong: Any = [None, -1, 1.5, [], {}, b"x"][int(random.integers(6))]
                yield "malformed", [topic, _with(header, fields, at, wrong), content]
            case 10:  # a time or number that does not fit
                at = int(random.integers(4, 7))
                yield "malformed", [topic, _with(header, fields, at, (1 << 63) + at), content]
            case _:  # empty
                yield "malformed", [topic, b"", b""]


def _with(header: bytes, fields: list[Any], at: int, value: Any) -> bytes:
    """A header with another field; all others stay, byte by byte."""
    begins = 1 + sum(len(msgpack.packb(one)) for one in fields[:at])
    ends = begins + len(msgpack.packb(fields[at]))
    return header[:begins] + bytes(msgpack.packb(value)) + header[ends:]


class Target(Protocol):
    """Who is flooded."""

    most: int

    def good(self, number: int) -> tuple[Parts, list[tuple[str, Parts]]]:
        """Send a good snapshot; gives one of its messages, and proper ones that must be refused now."""
        ...

    def send(self, parts: Parts) -> None:
        """Send a message."""
        ...

    def work(self) -> None:
        """Take what has come."""
        ...

    def seen(self) -> int:
        """How many messages have been taken, good ones included."""
        ...


def flood(target: Target, count: int, seed: int = 1) -> Counter[str]:
    """Send so many bad messages, a good snapshot before every thousand; gives the causes they must have."""
    random = stream(seed, "test", "flood")
    causes = Counter[str]()
    for number in range(count):
        if number % GOOD_EVERY == 0:
            before = target.seen()
            good, tempting = target.good(number // GOOD_EVERY)
            _settle(target, before + GOOD_MESSAGES)
            source = bad_messages(good, random, target.most)
        cause, parts = (
            tempting[int(random.integers(len(tempting)))] if random.integers(4) == 0 else next(source)
        )
        causes[cause] += 1
        target.send(parts)
        if number % AT_ONCE == AT_ONCE - 1 or number == count - 1:
            _settle(target, number + 1 + GOOD_MESSAGES * (number // GOOD_EVERY + 1))
    return causes


def _settle(target: Target, messages: int) -> None:
    """Let a target take all messages that were sent."""
    until = monotonic() + PATIENCE_S
    while target.seen() < messages:
        assert monotonic() < until, f"{target.seen()} of {messages} messages came"
        target.work()
    assert target.seen() == messages


def proper_but_wrong(frame: Frame, t_ns: int) -> dict[str, Frame]:
    """Frames that can be read, and must not be taken."""
    return {
        "other_run": replace(frame, run="run2", t_sample_ns=t_ns + 1, t_publish_ns=t_ns + 1),
        "future": replace(frame, t_sample_ns=1 << 62, t_publish_ns=1 << 62),
        "unknown_bs": replace(frame, bs="bs9", t_sample_ns=t_ns + 1, t_publish_ns=t_ns + 1),
        "unknown_model": replace(frame, model=b"stranger", t_sample_ns=t_ns + 1, t_publish_ns=t_ns + 1),
    }


class _Flooded:
    """What targets have in common: a clock, good frames of two base stations, and those there were."""

    most = FrameLimits().payload_bytes

    def __init__(self) -> None:
        self.clock = Clock()
        self.passed = 0
        self._taken = 0
        self._stations = [BaseStation(bs, MODEL, RUN) for bs in MODEL.bs_ids]
        self._old: list[Parts] = []

    def seen(self) -> int:
        return self._taken + sum(self.refused.values())

    @property
    def refused(self) -> Counter[str]:
        raise NotImplementedError

    def _frames(self) -> list[Frame]:
        self.clock.t_ns += STEP_NS
        frames = []
        for station in self._stations:
            frame = station.snapshot("ue1", None, self.clock.t_ns, PILOTS, 1.0, self.clock.t_ns)
            assert frame is not None
            frames.append(frame)
        return frames

    def _replays(self, sent: list[Parts], cause: str) -> list[tuple[str, Parts]]:
        """What was sent now and before."""
        self._old = [*self._old[-20:], *sent]
        return [(cause, parts) for parts in self._old]


class FloodedUnit(_Flooded):
    """A central unit, behind a forwarder that lets everything through."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._forwarder = Forwarder(context, "inproc://unit-up", "inproc://unit-down")
        policy, tracker = CuPolicy(deadline_ns=50_000_000), TrackerParams()
        self._service = CentralUnitService(
            Surroundings(
                context,
                None,
                {
                    "run": RUN,
                    "model": spec_of(MODEL, ""),
                    "policy": {name: getattr(policy, name) for name in policy.__slots__},
                    "tracker": {name: getattr(tracker, name) for name in tracker.__slots__},
                    "expected": list(MODEL.bs_ids),
                    "downstream": self._forwarder.downstream,
                    "tracks": [],
                    "clock": self.clock.plan(),
                },
            )
        )
        self._service._clock = self.clock
        self._forwarder.wait_for_subscriber()

    def good(self, number: int) -> tuple[Parts, list[tuple[str, Parts]]]:
        frames = self._frames()
        sent = [list(frame_parts(frame)) for frame in frames]
        for parts in sent:
            self.send(parts)
        wrong = proper_but_wrong(frames[0], self.clock.t_ns)
        stamped = [
            ("malformed", [*sent[0], b"\xc1"]),
            ("malformed", [*sent[0], b""]),
            ("oversize", [*sent[0], bytes(20)]),
            ("replay", [*sent[0], msgpack.packb([self.clock.t_ns, number * GOOD_MESSAGES // 2])]),
            ("replay", [*sent[0], msgpack.packb([self.clock.t_ns - 1, 1 << 40])]),
        ]
        return sent[0], [
            *((cause, list(frame_parts(frame))) for cause, frame in wrong.items()),
            *self._replays(sent, "duplicate"),
            *stamped,
        ]

    def send(self, parts: Parts) -> None:
        if len(parts) == 3:
            self._forwarder.forward(parts, self.clock.t_ns)
        else:  # with a stamp of its own, or none
            self._forwarder.sockets[1].send_multipart(parts)

    def work(self) -> None:
        for kind, content in self._service.work():
            if kind == "received":
                self._taken += sum(one[5] in ("accepted", "completes") for one in content)
            else:
                for _, result in content:
                    fix = result_from_plain(result)
                    assert isinstance(fix, Fix)
                    assert fix.bs_used == MODEL.bs_ids
                    assert np.abs(fix.position_m - POSITION_M).max() < 1.0
                    self.passed += 1

    @property
    def refused(self) -> Counter[str]:
        beat = self._service.beat()
        assert beat["losses"] == 0
        assert beat["late"] == 0
        return Counter(beat["turned_away"]) + Counter(beat["refused"])

    def close(self) -> None:
        self._service.close()
        self._forwarder.close(0)


class FloodedBroker(_Flooded):
    """A forwarder between base stations and nobody."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        law = plain_from_law(FronthaulLaw())
        self._service = BrokerService(
            Surroundings(
                context,
                None,
                {
                    "run": RUN,
                    "upstream": "inproc://broker-up",
                    "downstream": "inproc://broker-down",
                    "fronthaul": {
                        "tree": {bs: [law, None] for bs in MODEL.bs_ids},
                        "attach": {bs: bs for bs in MODEL.bs_ids},
                        "seed": 1,
                    },
                    "overhead_bytes": 54,
                    "deadline_ns": 50_000_000,
                    "clock": None,
                },
            )
        )
        self._service._clock = self.clock
        self._service._admission = Admission(ENDLESS, ENDLESS)
        forwarder = self._service.forwarder
        self._publisher = Publisher(context, forwarder.upstream, beside=forwarder)
        self._publisher.wait_for_subscriber()

    def good(self, number: int) -> tuple[Parts, list[tuple[str, Parts]]]:
        frames = self._frames()
        sent = [list(frame_parts(frame)) for frame in frames]
        for parts in sent:
            self.send(parts)
        wrong = proper_but_wrong(frames[0], self.clock.t_ns)
        wrong["malformed"] = wrong.pop("unknown_bs")
        del wrong["unknown_model"]  # which weights there are is not the broker's business
        return sent[0], [
            *((cause, list(frame_parts(frame))) for cause, frame in wrong.items()),
            *self._replays(sent, "replay"),
        ]

    def send(self, parts: Parts) -> None:
        self._publisher.publish(parts)

    def work(self) -> None:
        for kind, content in self._service.work():
            if kind == "offered":
                self._taken += len(content)
            else:
                self.passed += sum(fate[0] == "delivered" for fate in content)

    @property
    def refused(self) -> Counter[str]:
        return Counter(self._service.refusals.by_cause)

    def close(self) -> None:
        self._publisher.close(0)
        self._service.close()


class FloodedStation(_Flooded):
    """A base station, between the air and a forwarder."""

    most = 8 * MAX_ELEMENTS

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._forwarder = Forwarder(context, "inproc://bs-up", "inproc://bs-down")
        self._air = AirSocket(context, "inproc://air", None, bounded=False)
        self._service = BaseStationService(
            Surroundings(
                context,
                None,
                {
                    "run": RUN,
                    "bs": "bs1",
                    "model": spec_of(MODEL, ""),
                    "bits": 10,
                    "dims": MODEL.dims,
                    "air": self._air.endpoint,
                    "upstream": self._forwarder.upstream,
                    "stale_ns": STEP_NS,
                    "clock": self.clock.plan(),
                },
            )
        )
        self._service._clock = self.clock
        self._service._admission = Admission(ENDLESS, ENDLESS)
        self._air.wait_for(["air/bs1/"], 10.0)
        assert self._forwarder.receive(0.1) == []  # which lets the two sockets meet
        self._service._publisher.wait_for_subscriber()

    def good(self, number: int) -> tuple[Parts, list[tuple[str, Parts]]]:
        self.clock.t_ns += STEP_NS
        t_ns = self.clock.t_ns
        sent = []
        for ue in ("ue1", "ue2"):
            sent.append(Air(RUN, "bs1", ue, number, t_ns, t_ns, 1.0, PILOTS))
            self._air.publish(sent[-1])
        later = replace(sent[0], t_sample_ns=t_ns + 1, t_publish_ns=t_ns + 1)
        wrong = {
            "other_run": replace(later, run="run2"),
            "future": replace(later, t_sample_ns=1 << 62, t_publish_ns=1 << 62),
            "non_finite": replace(later, pilots=np.full_like(PILOTS, np.nan)),
            "malformed": replace(later, t_publish_ns=t_ns),
        }
        return list(encode_air(sent[0])), [
            *((cause, list(encode_air(air))) for cause, air in wrong.items()),
            ("malformed", list(encode_air(replace(later, ue="u/e")))),
            ("malformed", list(encode_air(replace(later, t_publish_ns=1 << 62)))),
            ("non_finite", list(encode_air(replace(later, noise_variance=0.0)))),
            *self._replays([list(encode_air(air)) for air in sent], "replay"),
        ]

    def send(self, parts: Parts) -> None:
        self._air.publish_parts(parts)

    def work(self) -> None:
        assert list(self._service.work()) == []
        self._taken = self._service.heard
        for parts in self._forwarder.receive(0.0):
            frame = decode_frame(parts, known_models={MODEL.digest})
            assert frame.t_sample_ns == self.clock.t_ns
            self.passed += 1

    @property
    def refused(self) -> Counter[str]:
        return Counter(self._service.beat()["refused"])

    def close(self) -> None:
        self._service.close()
        self._air.close()
        self._forwarder.close(0)


TARGETS: dict[str, Callable[[Context], FloodedUnit | FloodedBroker | FloodedStation]] = {
    "central unit": FloodedUnit,
    "forwarder": FloodedBroker,
    "base station": FloodedStation,
}


def flooded(name: str, count: int) -> tuple[Counter[str], Counter[str], int, int]:
    """Flood one of the targets.

    Gives the causes that the messages must have had, those they had, how many good messages came through as
    what they should become, and of how many.
    """
    context: Context = zmq.Context()
    try:
        target = TARGETS[name](context)
        try:
            due = flood(target, count)
            rounds = -(-count // GOOD_EVERY)
            whole = rounds if name == "central unit" else GOOD_MESSAGES * rounds
            until = monotonic() + PATIENCE_S
            while target.passed < whole and monotonic() < until:
                target.work()
            return due, target.refused, target.passed, whole
        finally:
            target.close()
    finally:
        context.destroy(linger=0)
