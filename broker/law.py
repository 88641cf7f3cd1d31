"""Fronthaul law: the values that say how a link carries frames. Formulas and checks in docs/fronthaul.md."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import ClassVar, Literal, Protocol, runtime_checkable

NANOBITS = 1_000_000_000
"""A link of C bit/s serves exactly C of these billionths of a bit per nanosecond."""

_STANDARD_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class CapacityTrace:
    """A capacity that is constant between the given times; the last one holds for ever.

    times_ns: strictly increasing, the first is 0. capacities_bps: one for each, in bit/s; 0 stands still.
    """

    times_ns: tuple[int, ...]
    capacities_bps: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.times_ns or self.times_ns[0] != 0:
            raise ValueError("a capacity trace begins at 0 ns")
        if any(later <= earlier for earlier, later in pairwise(self.times_ns)):
            raise ValueError("times of a capacity trace must increase")
        if len(self.times_ns) != len(self.capacities_bps):
            raise ValueError("a capacity trace has one capacity for each time")
        if min(self.capacities_bps) < 0:
            raise ValueError("capacity must not be negative")

    def piece_at(self, t_ns: int) -> int:
        """Give the number of the piece that holds at a time."""
        return bisect_right(self.times_ns, t_ns) - 1


Capacity = float | CapacityTrace | None
"""Bit/s (rounded to a whole number), a trace, or None for a link that takes no time to send."""


@runtime_checkable
class Jitter(Protocol):
    """How long a frame travels once it is sent, as a function of one uniform number."""

    kind: ClassVar[str]

    def delay_ns(self, u: float, latency_ns: int) -> int:
        """Give the one-way delay, latency included and never negative, for u in (0, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class NoJitter:
    """Every frame travels exactly the latency."""

    kind: ClassVar[str] = "none"

    def delay_ns(self, u: float, latency_ns: int) -> int:
        """Give the latency."""
        return latency_ns


@dataclass(frozen=True, slots=True)
class UniformJitter:
    """Delay uniform within latency ± spread, cut off at 0."""

    spread_ns: int
    kind: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        _not_negative("spread_ns", self.spread_ns)

    def delay_ns(self, u: float, latency_ns: int) -> int:
        """Give low + u (high - low) with low = max(0, latency - spread)."""
        low = max(0, latency_ns - self.spread_ns)
        return round(low + u * (latency_ns + self.spread_ns - low))


@dataclass(frozen=True, slots=True)
class NormalJitter:
    """Delay normal about the latency, truncated at 0 (the law given that it is not negative)."""

    sigma_ns: int
    kind: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        _not_negative("sigma_ns", self.sigma_ns)

    def delay_ns(self, u: float, latency_ns: int) -> int:
        """Give latency + sigma z with z from the upper 1 - Phi(-latency / sigma) of the normal law."""
        if self.sigma_ns == 0:
            return latency_ns
        below = _STANDARD_NORMAL.cdf(-latency_ns / self.sigma_ns)
        v = min(below + u * (1.0 - below), 1.0 - 2.0**-53)
        return max(0, round(latency_ns + self.sigma_ns * _STANDARD_NORMAL.inv_cdf(v)))


@dataclass(frozen=True, slots=True)
class ExponentialJitter:
    """Latency plus an exponential extra."""

    mean_ns: int
    kind: ClassVar[str] = "exponential"

    def __post_init__(self) -> None:
        _not_negative("mean_ns", self.mean_ns)

    def delay_ns(self, u: float, latency_ns: int) -> int:
        """Give latency - mean ln(1 - u)."""
        return latency_ns + round(-self.mean_ns * math.log1p(-u))


@dataclass(frozen=True, slots=True)
class LognormalJitter:
    """Latency plus a lognormal extra: its median, and the standard deviation of its logarithm."""

    median_ns: int
    shape: float
    kind: ClassVar[str] = "lognormal"

    def __post_init__(self) -> None:
        _not_negative("median_ns", self.median_ns)
        _not_negative("shape", self.shape)

    def delay_ns(self, u: float, latency_ns: int) -> int:
        """Give latency + median exp(shape z)."""
        return latency_ns + round(self.median_ns * math.exp(self.shape * _STANDARD_NORMAL.inv_cdf(u)))


@runtime_checkable
class Loss(Protocol):
    """Whether a frame is lost on its way, as a two-state chain over the frames of a link."""

    kind: ClassVar[str]

    @property
    def rate(self) -> float:
        """The fraction of frames lost in the long run."""
        ...

    def first_state(self, u: float) -> bool:
        """Give the state (bad or not) the link begins in, for u in (0, 1)."""
        ...

    def draw(self, bad: bool, u_lost: float, u_turn: float) -> tuple[bool, bool]:
        """Give whether this frame is lost, and the state the next one meets."""
        ...


@dataclass(frozen=True, slots=True)
class NoLoss:
    """Nothing is lost."""

    kind: ClassVar[str] = "none"
    rate: ClassVar[float] = 0.0

    def first_state(self, u: float) -> bool:
        """Give the only state."""
        return False

    def draw(self, bad: bool, u_lost: float, u_turn: float) -> tuple[bool, bool]:
        """Lose nothing."""
        return False, False


@dataclass(frozen=True, slots=True)
class BernoulliLoss:
    """Every frame is lost with the same probability, whatever became of the others."""

    rate: float
    kind: ClassVar[str] = "bernoulli"

    def __post_init__(self) -> None:
        _probability("rate", self.rate)

    def first_state(self, u: float) -> bool:
        """Give the only state."""
        return False

    def draw(self, bad: bool, u_lost: float, u_turn: float) -> tuple[bool, bool]:
        """Lose the frame with probability `rate`."""
        return u_lost < self.rate, False


@dataclass(frozen=True, slots=True)
class GilbertElliottLoss:
    """Losses in bursts: a good and a bad state that turn into each other from frame to frame.

    to_bad, to_good: probabilities p and r of turning, per frame. loss_in_bad, loss_in_good: 1 - h and 1 - k.
    Source: Gilbert 1960, Elliott 1963; the parameters are those of Linux netem's `loss gemodel`.
    """

    to_bad: float
    to_good: float
    loss_in_bad: float = 1.0
    loss_in_good: float = 0.0
    kind: ClassVar[str] = "gilbert_elliott"

    def __post_init__(self) -> None:
        for name in ("to_bad", "to_good", "loss_in_bad", "loss_in_good"):
            _probability(name, getattr(self, name))
        if self.to_bad + self.to_good == 0.0:
            raise ValueError("to_bad and to_good must not both be 0")

    @property
    def bad_share(self) -> float:
        """The fraction of frames that meet the bad state: p / (p + r)."""
        return self.to_bad / (self.to_bad + self.to_good)

    @property
    def rate(self) -> float:
        """The fraction of frames lost in the long run."""
        return self.bad_share * self.loss_in_bad + (1.0 - self.bad_share) * self.loss_in_good

    @property
    def mean_burst_frames(self) -> float:
        """The mean number of frames lost in a row, P(L) / (P(L) - P(L, L)); 1 / r for the defaults."""
        in_bad, in_good = self.loss_in_bad, self.loss_in_good
        twice = self.bad_share * in_bad * ((1.0 - self.to_good) * in_bad + self.to_good * in_good)
        twice += (1.0 - self.bad_share) * in_good * (self.to_bad * in_bad + (1.0 - self.to_bad) * in_good)
        ends = self.rate - twice
        return self.rate / ends if ends > 0.0 else math.inf

    def first_state(self, u: float) -> bool:
        """Begin in the long-run distribution."""
        return u < self.bad_share

    def draw(self, bad: bool, u_lost: float, u_turn: float) -> tuple[bool, bool]:
        """Lose the frame by the state it meets, then let the state turn."""
        if bad:
            return u_lost < self.loss_in_bad, u_turn >= self.to_good
        return u_lost < self.loss_in_good, u_turn < self.to_bad


@dataclass(frozen=True, slots=True)
class CrossTraffic:
    """Other people's packets: they take their place in the queue and the server, and are not our frames.

    kind: "poisson" (exponential gaps) or "constant" (equal gaps, random phase).
    """

    kind: Literal["poisson", "constant"]
    rate_bps: int
    packet_bytes: int = 1500

    def __post_init__(self) -> None:
        if self.kind not in ("poisson", "constant"):
            raise ValueError(f"cross traffic {self.kind!r}, must be poisson or constant")
        if self.rate_bps <= 0 or self.packet_bytes <= 0:
            raise ValueError("rate and packet size of cross traffic must be positive")

    @property
    def packet_bits(self) -> int:
        """Bits of one packet."""
        return 8 * self.packet_bytes


@dataclass(frozen=True, slots=True)
class FronthaulLaw:
    """How one segment carries frames, in one direction.

    capacity_bps: bit/s, a CapacityTrace, or None (sending takes no time). latency_ns: one way, after sending.
    jitter, loss: NoJitter(), NoLoss() or a named law. keep_order: no frame overtakes an earlier one.
    queue_bytes: room for frames that wait (the one being sent not counted), None for endless room.
    burst_bytes: depth of a token bucket: so much goes out at once after a rest, as through a shaper.
    discipline: "fifo" (drop-tail) or "freshest" (a newer snapshot of a (bs, ue) takes a waiting one's place).
    outages: (start_ns, stop_ns) pairs, in order and apart; the link is down from start until before stop.
    """

    capacity_bps: Capacity = None
    latency_ns: int = 0
    jitter: Jitter = NoJitter()
    loss: Loss = NoLoss()
    queue_bytes: int | None = None
    burst_bytes: int = 0
    discipline: Literal["fifo", "freshest"] = "fifo"
    outages: tuple[tuple[int, int], ...] = ()
    cross_traffic: CrossTraffic | None = None
    keep_order: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.capacity_bps, CapacityTrace):
            whole_bps(self.capacity_bps)
        _not_negative("latency_ns", self.latency_ns)
        if self.queue_bytes is not None:
            _not_negative("queue_bytes", self.queue_bytes)
        _not_negative("burst_bytes", self.burst_bytes)
        if self.discipline not in ("fifo", "freshest"):
            raise ValueError(f"discipline {self.discipline!r}, must be fifo or freshest")
        edges = [edge for outage in self.outages for edge in outage]
        if any(later <= earlier for earlier, later in pairwise(edges)):
            raise ValueError("outages must be (start_ns, stop_ns) pairs in order that do not touch")


def whole_bps(capacity_bps: float | None) -> int | None:
    """Round a capacity to a whole number of bit/s. Raises ValueError when it is negative or not finite."""
    if capacity_bps is None:
        return None
    _not_negative("capacity_bps", capacity_bps)
    return round(capacity_bps)


def _not_negative(name: str, value: float) -> None:
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is {value}, must be finite and not negative")


def _probability(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is {value}, must be in 0 ... 1")
