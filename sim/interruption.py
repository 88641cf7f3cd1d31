"""Interruption: Ctrl-C, SIGTERM and SIGHUP, which end a run once, never while something is written down."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether somebody wants a run to end.

    The first signal raises KeyboardInterrupt where the run happens to be, or, once it is `held`, only where
    the run looks. Later signals do nothing: they would break off what the first one has begun. So a run looks
    in any case now and then: what is raised while an object is taken down Python does not pass on.
    """

    def __init__(self) -> None:
        self.is_asked_for = False
        self.held = False

    def look(self) -> None:
        """Raises KeyboardInterrupt if the run is to end."""
        if self.is_asked_for:
            raise KeyboardInterrupt

    @contextmanager
    def hold(self) -> Iterator[None]:
        """For a while it is held; afterwards it is as before."""
        before, self.held = self.held, True
        try:
            yield
        finally:
            self.held = before

    def let_go(self) -> None:
        """Hold it no longer; raises KeyboardInterrupt if it was asked for meanwhile."""
        self.held = False
        self.look()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self.is_asked_for:
            return
        self.is_asked_for = True
        if not self.held:
            raise KeyboardInterrupt


def interruption_in_charge() -> Interruption | None:
    """That of the `interruptible` around this, if there is one; only the main thread can be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        return None
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if isinstance(owner, Interruption) else None


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """For a while SIGTERM, Ctrl-C and SIGHUP are an interruption; the last two not if they were ignored.

    Within another one it is the same interruption; one that was held here counts when it ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Interruption()
        return
    around = interruption_in_charge()
    if around is not None:
        held = around.held
        try:
            yield around
        finally:
            around.held = held
        if not held:
            around.look()
        return
    interruption = Interruption()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number, handler in before.items():
        if number == signal.SIGTERM or handler is not signal.SIG_IGN:
            signal.signal(number, interruption._signalled)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
