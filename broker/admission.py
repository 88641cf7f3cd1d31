"""Admission: what a proper message may still be: one of too many, a replay, of a time to come."""

from collections.abc import Callable
from time import monotonic

from broker.frame import FrameError
from broker.least_recent import LeastRecent
from broker.rate import RateLimit

MAX_STREAMS = 1 << 16
"""Most (bs, ue) whose newest sample is remembered at once."""
MAX_PEERS = 1 << 10
LEAD_NS = 2_000_000_000
"""So far may the clock of a peer be ahead."""


class _Newest:
    """The newest sample time of a stream."""

    __slots__ = ("t_sample_ns",)

    def __init__(self) -> None:
        self.t_sample_ns = -1


class Admission:
    """Lets in what each stream has not had before, of each peer only so much. Takes bounded memory.

    Args:
        rate_hz: messages of one peer per second.
        burst: messages of one peer at once.
        clock: gives seconds that never go back.
    """

    def __init__(self, rate_hz: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._limits: LeastRecent[bytes, RateLimit] = LeastRecent(
            lambda: RateLimit(rate_hz, burst, clock), MAX_PEERS
        )
        self._newest: LeastRecent[tuple[str, str], _Newest] = LeastRecent(_Newest, MAX_STREAMS)

    def knock(self, peer: bytes) -> None:
        """Count a message of a peer, before it is read. Raises FrameError: too many."""
        if not self._limits[peer].takes():
            raise FrameError("rate", "more messages than a peer may send")

    def enter(self, bs: str, ue: str, t_sample_ns: int, now_ns: int) -> None:
        """Let a message of a stream in. Raises FrameError: it is no newer than the last one, or too new."""
        if t_sample_ns > now_ns + LEAD_NS:
            raise FrameError("future", f"sampled at {t_sample_ns} ns, it is {now_ns} ns")
        newest = self._newest[bs, ue]
        if t_sample_ns <= newest.t_sample_ns:
            raise FrameError("replay", f"sampled at {t_sample_ns} ns, after {newest.t_sample_ns} ns had come")
        newest.t_sample_ns = t_sample_ns
