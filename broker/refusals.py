"""Refusals: what was turned away, counted by cause and logged once per peer."""

import logging
from collections import Counter

from broker.frame import Cause, FrameError

_LOG = logging.getLogger(__name__)
_MOST_PEERS = 64
_MOST_CHARS = 300


def printable(text: str) -> str:
    """What a peer has said, so that it can neither begin a line of a log nor move a terminal's cursor."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:_MOST_CHARS])


class Refusals:
    """Counts refused frames by cause; the first one of each peer is logged, the others only counted."""

    def __init__(self) -> None:
        self._by_cause: Counter[Cause] = Counter()
        self._logged: set[str] = set()

    def refuse(self, error: FrameError, peer: str) -> None:
        """Count a refused frame. peer: who it came from, as far as known (a topic, an endpoint)."""
        self._by_cause[error.cause] += 1
        if peer in self._logged or len(self._logged) >= _MOST_PEERS:
            return
        self._logged.add(peer)
        _LOG.warning(
            "refused a frame from %s: %s (further ones from there are only counted)",
            printable(peer),
            printable(str(error)),
        )

    def refuse_message(self, error: FrameError, topic: bytes) -> None:
        """Count a refused message; its peer is whom the first two parts of its topic name."""
        self.refuse(error, "/".join(topic[:160].decode(errors="replace").split("/")[:2]))

    @property
    def by_cause(self) -> dict[Cause, int]:
        """How many were refused for each cause that occurred."""
        return dict(sorted(self._by_cause.items()))

    @property
    def total(self) -> int:
        """How many were refused in all."""
        return self._by_cause.total()
