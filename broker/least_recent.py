"""A mapping of bounded size that lets go of what was not touched for longest."""

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LeastRecent(Generic[K, V]):
    """Makes an entry for a key when it is first asked for, and forgets the least recently asked-for one.

    Args:
        make: gives the entry of a new key.
        limit: most entries, at least 1.
    """

    def __init__(self, make: Callable[[], V], limit: int) -> None:
        assert limit >= 1
        self._make = make
        self._limit = limit
        self._entries: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        entry = self._entries.pop(key, None)
        if entry is None:
            entry = self._make()
            if len(self._entries) >= self._limit:
                del self._entries[next(iter(self._entries))]
        self._entries[key] = entry
        return entry

    def __len__(self) -> int:
        return len(self._entries)
