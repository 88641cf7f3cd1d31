"""The two hashes of a run: what happened when (portable), and with which content (this machine)."""

import hashlib
from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

HASH_BYTES = 16
ORDER = ("sample", "publish", "drop", "arrive", "late", "refuse", "fix", "revise", "miss")
"""Of events of one nanosecond: faults first, then the way of a frame."""

_NEVER = 1 << 63
_RANK = {kind: rank for rank, kind in enumerate(ORDER)}


class Event(NamedTuple):
    """One thing that happened, in words that are the same on every machine.

    Times, names, counts and sizes only: nothing that comes out of floating-point arithmetic on channels,
    embeddings or positions belongs in here.
    """

    t_ns: int
    kind: str
    entity: str
    detail: str = ""

    def __str__(self) -> str:
        t_ns, kind, entity, detail = self
        return f"{t_ns // 1_000_000_000}.{t_ns % 1_000_000_000:09d} {kind} {entity} {detail}".rstrip()


class Fingerprint:
    """Hashes events in one canonical order: by time, then by kind, then by their text.

    The order in which a driver reports the events of one nanosecond is its own business and does not
    change the result, so a run in one process and the same run over several hash equally.

    Args:
        listener: called with each event in the canonical order.
    """

    def __init__(self, listener: Callable[[Event], None] | None = None) -> None:
        self._pending: list[tuple[int, int, Event, bytes]] = []
        self._soonest_ns = _NEVER
        self._events = hashlib.blake2b(digest_size=HASH_BYTES)
        self._contents = hashlib.blake2b(digest_size=HASH_BYTES)
        self._listener = listener
        self.count = 0

    def add(self, event: Event, content: bytes = b"") -> None:
        """Take an event, and the content (payload, fix, track) that only the digest covers."""
        t_ns = event.t_ns
        self._pending.append((t_ns, _RANK.get(event.kind, -1), event, content))
        if t_ns < self._soonest_ns:
            self._soonest_ns = t_ns

    def advance(self, t_ns: int) -> None:
        """Hash all events before `t_ns`; none may be added before it from now on."""
        if self._soonest_ns >= t_ns:
            return
        pending = self._pending
        pending.sort()
        count = bisect_left(pending, (t_ns,))
        self._pending = pending[count:]
        self._soonest_ns = self._pending[0][0] if self._pending else _NEVER
        self._hash(pending[:count])

    @staticmethod
    def rank(kind: str) -> int:
        """Where an event of this kind stands among those of its nanosecond."""
        return _RANK.get(kind, -1)

    def finish(self) -> None:
        """Hash what is left."""
        self.advance(_NEVER)

    @property
    def fingerprint(self) -> str:
        """Hash of times, entities, events, sizes and fates: equal on every machine."""
        return self._events.hexdigest()

    @property
    def digest(self) -> str:
        """Hash of the same and of payload bits, fixes and tracks: equal on one machine and its versions."""
        return self._contents.hexdigest()

    def _hash(self, entries: list[tuple[int, int, Event, bytes]]) -> None:
        lines: list[bytes] = []
        contents: list[bytes] = []
        for _, _, event, content in entries:
            line = f"{event}\n".encode()
            lines.append(line)
            contents += (line, len(content).to_bytes(8, "little"), content)
        self._events.update(b"".join(lines))
        self._contents.update(b"".join(contents))
        self.count += len(entries)
        if self._listener is not None:
            for _, _, event, _ in entries:
                self._listener(event)
