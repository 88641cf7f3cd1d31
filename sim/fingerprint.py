"""The two hashes of a run: what happened when (portable), and with which content (this machine)."""

import hashlib
import heapq
from collections.abc import Callable
from dataclasses import dataclass

HASH_BYTES = 16
ORDER = ("sample", "publish", "drop", "arrive", "late", "refuse", "fix", "revise", "miss")
"""Of events of one nanosecond: faults first, then the way of a frame."""

_RANK = {kind: rank for rank, kind in enumerate(ORDER)}


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """One thing that happened, in words that are the same on every machine.

    Times, names, counts and sizes only: nothing that comes out of floating-point arithmetic on channels,
    embeddings or positions belongs in here.
    """

    t_ns: int
    kind: str
    entity: str
    detail: str = ""

    def __str__(self) -> str:
        seconds, nanoseconds = divmod(self.t_ns, 1_000_000_000)
        return f"{seconds}.{nanoseconds:09d} {self.kind} {self.entity} {self.detail}".rstrip()


class Fingerprint:
    """Hashes events in one canonical order: by time, then by kind, then by their text.

    The order in which a driver reports the events of one nanosecond is its own business and does not
    change the result, so a run in one process and the same run over several hash equally.

    Args:
        listener: called with each event in the canonical order.
    """

    def __init__(self, listener: Callable[[Event], None] | None = None) -> None:
        self._pending: list[tuple[int, int, Event, bytes]] = []
        self._events = hashlib.blake2b(digest_size=HASH_BYTES)
        self._contents = hashlib.blake2b(digest_size=HASH_BYTES)
        self._listener = listener
        self.count = 0

    def add(self, event: Event, content: bytes = b"") -> None:
        """Take an event, and the content (payload, fix, track) that only the digest covers."""
        heapq.heappush(self._pending, (event.t_ns, _RANK.get(event.kind, -1), event, content))

    def advance(self, t_ns: int) -> None:
        """Hash all events before `t_ns`; none may be added before it from now on."""
        while self._pending and self._pending[0][0] < t_ns:
            self._hash(*heapq.heappop(self._pending)[2:])

    @staticmethod
    def rank(kind: str) -> int:
        """Where an event of this kind stands among those of its nanosecond."""
        return _RANK.get(kind, -1)

    def finish(self) -> None:
        """Hash what is left."""
        while self._pending:
            self._hash(*heapq.heappop(self._pending)[2:])

    @property
    def fingerprint(self) -> str:
        """Hash of times, entities, events, sizes and fates: equal on every machine."""
        return self._events.hexdigest()

    @property
    def digest(self) -> str:
        """Hash of the same and of payload bits, fixes and tracks: equal on one machine and its versions."""
        return self._contents.hexdigest()

    def _hash(self, event: Event, content: bytes) -> None:
        line = f"{event}\n".encode()
        self._events.update(line)
        self._contents.update(line + len(content).to_bytes(8, "little") + content)
        self.count += 1
        if self._listener is not None:
            self._listener(event)
