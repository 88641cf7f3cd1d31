"""Sequence check: on a hop that keeps order, a number that is missing was lost by the transport."""

from collections.abc import Hashable

MAX_SOURCES = 1 << 16


class TransportLoss(RuntimeError):  # noqa: N818 - what happened, not that it is an error
    """Frames went missing between sockets, where nothing may, not in the fronthaul law."""


class SequenceCheck:
    """Watches that the numbers of each source come one after the other.

    late_join: begin at the first number seen of a source instead of at 0; of the sources seen first, those
    beyond `MAX_SOURCES` are forgotten, and begin anew when they are seen again.
    restarts: a source may come back after it was ended and count from 0 again: a lower number begins anew.
    """

    def __init__(self, *, late_join: bool = False, restarts: bool = False) -> None:
        self._late_join = late_join
        self._restarts = restarts
        self._next: dict[Hashable, int] = {}

    def saw(self, source: Hashable, number: int) -> None:
        """Note a number that arrived. Raises TransportLoss when it is not the next one."""
        expected = self._next.get(source)
        if expected is None:
            if self._late_join and len(self._next) >= MAX_SOURCES:
                del self._next[next(iter(self._next))]
            expected = number if self._late_join else 0
        self._next[source] = number + 1
        if number != expected and not (self._restarts and number < expected):
            raise TransportLoss(f"{_text(source)}: number {number} arrived, {expected} was next")


def _text(source: Hashable) -> str:
    if isinstance(source, bytes):
        return source.decode(errors="replace")
    return "/".join(source) if isinstance(source, tuple) else str(source)
