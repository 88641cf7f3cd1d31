"""Frames on their way in real time, as broker and central unit report them, until their end is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from broker.frame import Frame
from sim.wire import Parts

Key = tuple[str, str, int]
"""BS, UE and sequence number."""


@dataclass(slots=True)
class Passage:
    """One frame that a BS owes.

    Attributes:
        t_sample_ns: when the UE was sampled.
        owed_s: when the BS heard the snapshot, monotonic.
        since_s: when something was last heard of the frame, or could have been, monotonic.
        frame, parts, size_bits: known as soon as the broker has it.
        t_offer_ns: when the broker had it.
        t_arrival_ns: when the law let it arrive.
    """

    t_sample_ns: int
    owed_s: float
    since_s: float
    frame: Frame | None = None
    parts: Parts | None = None
    size_bits: int = 0
    t_offer_ns: int | None = None
    t_arrival_ns: int | None = None


class Passages:
    """All frames on their way; bounded by what the law and the failures leave there."""

    def __init__(self) -> None:
        self._open: dict[Key, Passage] = {}
        self.delays_ns: dict[tuple[str, int], dict[str, int]] = {}
        """Delay by the law of the frames of each snapshot that is not closed yet, per BS."""

    def __len__(self) -> int:
        return len(self._open)

    def owe(self, key: Key, t_sample_ns: int) -> None:
        """A BS hears a snapshot."""
        now_s = monotonic()
        self._open[key] = Passage(t_sample_ns, now_s, now_s)

    def get(self, key: Key) -> Passage | None:
        """A frame that is on its way; None when its end is known."""
        passage = self._open.get(key)
        if passage is not None:
            passage.since_s = monotonic()
        return passage

    def end(self, key: Key) -> Passage | None:
        """The end of a frame is known."""
        return self._open.pop(key, None)

    def silent_for(self, seconds: float) -> Iterator[tuple[Key, Passage]]:
        """Frames of which nothing has been heard for so long."""
        before = monotonic() - seconds
        return iter([(key, passage) for key, passage in self._open.items() if passage.since_s < before])

    def hear(self) -> None:
        """Time did not pass as it should have: nothing is overdue yet."""
        now_s = monotonic()
        for passage in self._open.values():
            passage.since_s = now_s

    def forget(self, ue: str, t_sample_ns: int) -> dict[str, Any]:
        """The delays of a snapshot that has closed."""
        return self.delays_ns.pop((ue, t_sample_ns), {})

    def forget_before(self, t_sample_ns: int) -> None:
        """The delays of snapshots of long ago: what comes late is noted when its snapshot has closed."""
        for key in [key for key in self.delays_ns if key[1] < t_sample_ns]:
            del self.delays_ns[key]
