"""Sequence numbers of one stream of frames: what is missing, what comes twice, and when a BS began anew."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames ``first`` to ``last`` of a BS about a UE had not come when the one after them did.

    They may be late, dropped by the fronthaul law, or lost in transport: whoever knows the law can tell.
    """

    bs: str
    ue: str
    first: int
    last: int
    t_ns: int
    """Arrival of the frame that showed the gap."""


class Place(Enum):
    """Where a frame stands in its stream."""

    NEXT = "next"
    OVERTAKEN = "overtaken"
    """Fills a gap: later frames came first."""
    RESTART = "restart"
    """An old number with a new sample time: the BS counts from the start again."""
    REPLAY = "replay"
    """Was there before, or pretends to be what was."""
    FORGOTTEN = "forgotten"
    """From so far back that nobody remembers whether it was there."""


@dataclass(slots=True)
class SequenceMonitor:
    """Follows the sequence numbers of one (bs, ue)."""

    window: int = 1024
    """So many numbers back a missing frame may still come."""
    next_seq: int = 0
    newest_sample_ns: int = -1
    _missing: int = 0
    """Bit k stands for number `next_seq` - 1 - k: 200 bytes, as peers choose how many streams there are."""

    def see(self, seq: int, t_sample_ns: int) -> tuple[Place, tuple[int, int] | None]:
        """Place a frame, and give the first and last number of the gap that it shows, if any.

        Args:
            seq: its number, from 0.
            t_sample_ns: its sample time; rises with the number in an honest stream.
        """
        newer = t_sample_ns > self.newest_sample_ns
        if newer and seq == self.next_seq and not self._missing:
            self.next_seq = seq + 1
            self.newest_sample_ns = t_sample_ns
            return Place.NEXT, None
        if not newer:
            return self._old(seq), None
        place = Place.NEXT
        if seq < self.next_seq:
            place = Place.RESTART
            self.next_seq = self._missing = 0
        gap = (self.next_seq, seq - 1) if seq > self.next_seq else None
        steps = min(seq + 1 - self.next_seq, self.window + 1)
        skipped = (1 << steps) - 2
        self._missing = (self._missing << steps | skipped) & ((2 << self.window) - 1)
        self.next_seq = seq + 1
        self.newest_sample_ns = t_sample_ns
        return place, gap

    def _old(self, seq: int) -> Place:
        """Place a frame that is no newer than the newest; a missing one is missing no more."""
        back = self.next_seq - 1 - seq
        if back > self.window:
            return Place.FORGOTTEN
        if back < 0 or not self._missing >> back & 1:
            return Place.REPLAY
        self._missing ^= 1 << back
        return Place.OVERTAKEN
