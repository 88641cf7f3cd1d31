"""The fronthaul law beside the kernel's own token bucket (`tc tbf`): the same datagrams at the same times.

Two network namespaces with a cable between them, whose sending end has the token bucket. Datagrams are sent
with pauses as planned; when each came to the bucket and when it was at the other end the kernel notes itself.
The law is then given the same sizes at the times that the kernel has noted.
"""

import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from broker.law import FronthaulLaw
from broker.streams import stream
from tests.broker.test_theory import carry
from tests.namespaces import Network

HEADERS_BYTES = 14 + 20 + 8
"""Ethernet, IP and UDP headers, which the kernel counts too; not preamble, check sequence and gap."""
JUDGED_FROM_S = 5e-3
DELAY_TOLERANCE = 0.05
DROP_TOLERANCE = 0.02
PORT = 5005
QUIET_S = 0.5
"""Nothing more comes after so long a silence."""
SEND_BUFFER = 64 << 20

# Numbers of Linux that the socket module has no names for.
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS, SO_TIMESTAMPING = 32, 33, 35, 37
TIMESTAMPING = 1 << 8 | 1 << 4 | 1 << 7 | 1 << 11
"""TX_SCHED, by software, with a number, without the datagram itself."""
IP_RECVERR, MSG_ERRQUEUE = 11, 0x2000


@dataclass(frozen=True, slots=True)
class Situation:
    """What is sent through which bucket.

    Attributes:
        name: in a few words.
        rate_bps: of the token bucket.
        burst_bytes: its depth.
        limit_bytes: room for datagrams that wait.
        times_s: when each datagram is meant to be sent.
        sizes_bytes: of each, headers included.
    """

    name: str
    rate_bps: int
    burst_bytes: int
    limit_bytes: int
    times_s: tuple[float, ...]
    sizes_bytes: tuple[int, ...]

    @property
    def law(self) -> FronthaulLaw:
        """The same for us."""
        return FronthaulLaw(
            capacity_bps=self.rate_bps, burst_bytes=self.burst_bytes, queue_bytes=self.limit_bytes
        )


def situations(lasts_s: float = 4.0, seed: int = 1) -> list[Situation]:
    """Those that are compared."""
    random = stream(seed, "test", "token bucket")
    rate_bps, size = 4_000_000, 1_000

    def poisson(load: float, mean_bytes: float) -> tuple[float, ...]:
        count = int(load * rate_bps * lasts_s / (8 * mean_bytes))
        return tuple(np.cumsum(random.exponential(8 * mean_bytes / (load * rate_bps), count)).tolist())

    light, heavy = poisson(0.3, size), poisson(0.9, size)
    mixed = poisson(0.9, 800)
    mixed_sizes = tuple(int(one) for one in random.integers(100, 1_500, len(mixed), endpoint=True))
    bursts = tuple(0.1 * k + 1e-6 * n for k in range(int(10 * lasts_s)) for n in range(30))
    over = poisson(1.3, size)
    over_mixed = poisson(1.3, 800)
    over_sizes = tuple(int(one) for one in random.integers(100, 1_500, len(over_mixed), endpoint=True))
    endless = 4_000_000
    return [
        Situation("30 % load", rate_bps, 1_600, endless, light, (size,) * len(light)),
        Situation("90 % load", rate_bps, 1_600, endless, heavy, (size,) * len(heavy)),
        Situation("90 % load, mixed sizes", rate_bps, 1_600, endless, mixed, mixed_sizes),
        Situation("bursts of 30", rate_bps, 1_600, endless, bursts, (size,) * len(bursts)),
        Situation("bursts of 30, deep bucket", rate_bps, 10_000, endless, bursts, (size,) * len(bursts)),
        Situation("130 % load, 20 kB queue", rate_bps, 1_600, 20_000, over, (size,) * len(over)),
        Situation("130 %, mixed, deep bucket", rate_bps, 10_000, 30_000, over_mixed, over_sizes),
    ]


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of the datagrams of a situation.

    Attributes:
        delays_s: of those that came through.
        dropped: how many did not.
    """

    delays_s: tuple[float, ...]
    dropped: int

    @property
    def mean_s(self) -> float:
        """Mean delay."""
        return float(np.mean(self.delays_s)) if self.delays_s else 0.0

    @property
    def p99_s(self) -> float:
        """99th percentile of the delay."""
        return float(np.quantile(self.delays_s, 0.99)) if self.delays_s else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both side by side."""

    situation: Situation
    kernel: Carried
    law: Carried

    @property
    def faults(self) -> list[str]:
        """Where they disagree by more than they may."""
        found = []
        for name, kernel, law in (
            ("mean", self.kernel.mean_s, self.law.mean_s),
            ("p99", self.kernel.p99_s, self.law.p99_s),
        ):
            if max(kernel, law) > JUDGED_FROM_S and abs(law - kernel) > DELAY_TOLERANCE * kernel:
                found.append(f"{name} {1e3 * law:.2f} ms instead of {1e3 * kernel:.2f} ms")
        if abs(self.law.dropped - self.kernel.dropped) > DROP_TOLERANCE * self.kernel.dropped:
            found.append(f"{self.law.dropped} drops instead of {self.kernel.dropped}")
        return found


def compare(situation: Situation) -> Comparison:
    """Send the datagrams of a situation through the kernel, then through the law.

    Raises:
        NetworkError: the kernel does not let us.
    """
    with Network(["near", "far"]) as network:
        network.cable("near", "10.0.0.1/24", "far", "10.0.0.2/24")
        network.shape("near", "eth", situation.rate_bps, situation.burst_bytes, situation.limit_bytes)
        with network.udp("near") as near, network.udp("far") as far:
            arrivals_ns, ends_ns = _send(situation, near, far)
    delays_s = [
        (ends_ns[number] - arrival_ns) / 1e9
        for number, arrival_ns in enumerate(arrivals_ns)
        if number in ends_ns
    ]
    kernel = Carried(tuple(delays_s), len(arrivals_ns) - len(delays_s))
    return Comparison(situation, kernel, through_law(situation, arrivals_ns))


def through_law(situation: Situation, arrivals_ns: Sequence[int]) -> Carried:
    """What the law does with datagrams that come at these times."""
    times_ns = [arrival_ns - arrivals_ns[0] for arrival_ns in arrivals_ns]
    fates = carry(situation.law, times_ns, [8 * size for size in situation.sizes_bytes])
    came = [fate for fate in fates if fate.cause is None]
    delays_s = [(fate.t_ns - fate.packet.t_sample_ns) / 1e9 for fate in came]
    return Carried(tuple(delays_s), len(fates) - len(came))


def _send(situation: Situation, near: socket.socket, far: socket.socket) -> tuple[list[int], dict[int, int]]:
    """When each datagram came to the bucket, and when those that came through were at the other end."""
    far.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SEND_BUFFER)
    far.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    far.bind(("10.0.0.2", PORT))
    near.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)  # what waits in the bucket blocks nobody
    near.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SEND_BUFFER)
    near.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, TIMESTAMPING)
    near.connect(("10.0.0.2", PORT))
    begun_s = time.monotonic() + 0.01
    for number, (t_s, size) in enumerate(zip(situation.times_s, situation.sizes_bytes, strict=True)):
        wait_s = begun_s + t_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        near.send(number.to_bytes(4, "big").ljust(size - HEADERS_BYTES, b"\0"))
    arrivals_ns = _sent_ns(near)
    assert sorted(arrivals_ns) == list(range(len(situation.times_s))), "a datagram left no time"
    far.settimeout(QUIET_S)
    return [arrivals_ns[number] for number in range(len(arrivals_ns))], _received_ns(far)


def _sent_ns(near: socket.socket) -> dict[int, int]:
    """When the kernel took each datagram into the queue of the interface."""
    times_ns: dict[int, int] = {}
    while True:
        try:
            _, ancillary, _, _ = near.recvmsg(0, 512, MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return times_ns
        number = t_ns = None
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING:
                t_ns = _nanoseconds(content)
            elif level == socket.IPPROTO_IP and kind == IP_RECVERR:
                number = struct.unpack_from("=IBBBBII", content)[6]
        assert number is not None
        assert t_ns is not None
        times_ns[number] = t_ns


def _received_ns(far: socket.socket) -> dict[int, int]:
    """When the kernel had each datagram at the other end."""
    times_ns: dict[int, int] = {}
    while True:
        try:
            datagram, ancillary, _, _ = far.recvmsg(2048, 256)
        except TimeoutError:
            return times_ns
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                times_ns[int.from_bytes(datagram[:4], "big")] = _nanoseconds(content)


def _nanoseconds(timespec: bytes) -> int:
    seconds, nanoseconds = struct.unpack_from("=qq", timespec)
    return int(seconds * 1_000_000_000 + nanoseconds)
