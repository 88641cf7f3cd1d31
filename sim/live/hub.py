"""The hub between a run and those who watch it: bounded, the latest value of a key wins, nobody waits."""

from collections import deque
from collections.abc import Mapping
from threading import Lock
from types import TracebackType
from typing import Any, Self

MAX_KEYS = 4096
MAX_VIEWERS = 32
HISTORY = 1200

Value = Mapping[str, Any]
Changes = dict[str, Value]


class TooManyViewersError(RuntimeError):
    """As many viewers as allowed are there already."""


class View:
    """What one viewer has not taken yet: at most one value per key. A context that leaves the hub at its end.

    Attributes:
        history: values published before the viewer came, {key: oldest first}.
        dropped: values that a newer one of their key replaced before they were taken.
    """

    def __init__(self, hub: "Hub", history: dict[str, list[Value]]) -> None:
        self.history = history
        self.dropped = 0
        self._hub = hub
        self._changes: Changes = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.leave(self)

    def put(self, key: str, value: Value) -> None:
        """Offer a value; for the hub, which holds its lock."""
        self.dropped += key in self._changes
        self._changes[key] = value

    def take(self) -> Changes:
        """What is new since the last time."""
        with self._hub.lock:
            changes, self._changes = self._changes, {}
        return changes


class Hub:
    """Takes values under keys from one thread and hands them to viewers in others; publishing never waits.

    Memory is bounded by `max_keys` times (`history` + one per viewer), however slow viewers are.

    Args:
        history: values kept per key for viewers who come later.
        max_keys: values under further keys are refused.
        max_viewers: at a time.
    """

    def __init__(
        self, *, history: int = HISTORY, max_keys: int = MAX_KEYS, max_viewers: int = MAX_VIEWERS
    ) -> None:
        self.lock = Lock()
        self.refused = 0
        """Values under keys beyond `max_keys`."""
        self.dropped = 0
        """Values that viewers who have left did not get."""
        self._max_keys = max_keys
        self._max_viewers = max_viewers
        self._length = history
        self._history: dict[str, deque[Value]] = {}
        self._views: list[View] = []

    def publish(self, key: str, value: Value, *, latest_only: bool = False) -> None:
        """Publish a value, which must not be changed afterwards.

        Args:
            key: what it is a value of.
            value: goes into JSON.
            latest_only: viewers who come later need only the newest value of this key.
        """
        with self.lock:
            history = self._history.get(key)
            if history is None:
                if len(self._history) >= self._max_keys:
                    self.refused += 1
                    return
                history = self._history[key] = deque(maxlen=1 if latest_only else self._length)
            history.append(value)
            for view in self._views:
                view.put(key, value)

    def view(self) -> View:
        """Join as a viewer.

        Raises:
            TooManyViewersError: no more viewers are let in.
        """
        with self.lock:
            if len(self._views) >= self._max_viewers:
                raise TooManyViewersError(f"{self._max_viewers} viewers are there already")
            view = View(self, {key: list(values) for key, values in self._history.items()})
            self._views.append(view)
            return view

    def leave(self, view: View) -> None:
        """A viewer goes; the second time nothing happens."""
        with self.lock:
            if view in self._views:
                self._views.remove(view)
                self.dropped += view.dropped

    @property
    def viewers(self) -> int:
        """How many are watching."""
        return len(self._views)
