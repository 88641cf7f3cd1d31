"""Waiting for sockets by the microsecond: ZeroMQ's own poll counts in milliseconds, which add up."""

import select
from collections.abc import Sequence
from time import monotonic

import zmq

_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)  # the enum's own operators cost microseconds


class Waiter:
    """Waits for the same sockets again and again.

    Args:
        sockets: to wait for.
        attended: sockets that must be looked after meanwhile: a bound one meets a new peer only while
            somebody uses it.
    """

    def __init__(
        self, sockets: Sequence[zmq.Socket[bytes]], attended: Sequence[zmq.Socket[bytes]] = ()
    ) -> None:
        self._sockets, self._attended = tuple(sockets), tuple(attended)
        self._descriptors = [socket.fileno() for socket in (*sockets, *attended)]

    def wait(self, timeout_s: float) -> list[zmq.Socket[bytes]]:
        """Sockets with a message, as soon as there is one or the time, not negative, is over."""
        until = monotonic() + timeout_s
        while True:
            for socket in self._attended:
                socket.getsockopt(_EVENTS)
            # A descriptor tells of changes only: what is there already has to be asked for.
            ready = [socket for socket in self._sockets if has_message(socket)]
            rest_s = until - monotonic()
            if ready or rest_s <= 0.0:
                return ready
            select.select(self._descriptors, (), (), rest_s)


def wait_for(
    sockets: Sequence[zmq.Socket[bytes]], timeout_s: float, attended: Sequence[zmq.Socket[bytes]] = ()
) -> list[zmq.Socket[bytes]]:
    """As `Waiter.wait`, once."""
    return Waiter(sockets, attended).wait(timeout_s)


def has_message(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message is there to be taken: a quarter of what it costs to try and find none."""
    events = socket.getsockopt(_EVENTS)
    assert isinstance(events, int)
    return bool(int(events) & _POLLIN)
