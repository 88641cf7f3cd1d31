"""Interruption: Ctrl-C and SIGTERM, which end a run once, and never while something is written down."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether somebody wants a run to end.

    The first signal raises KeyboardInterrupt where the run happens to be, or, once it is `held`, only where
    the run looks. Later signals do nothing: they would break off what the first one has begun.
    """

    def __init__(self) -> None:
        self.is_asked_for = False
        self.held = False

    def look(self) -> None:
        """Raises KeyboardInterrupt if the run is to end."""
        if self.is_asked_for:
            raise KeyboardInterrupt

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self.is_asked_for:
            return
        self.is_asked_for = True
        if not self.held:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """For a while SIGTERM and Ctrl-C are an interruption; a Ctrl-C that was ignored before still is."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, handler in before.items():
        if number == signal.SIGTERM or handler is not signal.SIG_IGN:
            signal.signal(number, interruption._signalled)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
