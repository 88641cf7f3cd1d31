"""Waiting for sockets by the microsecond: ZeroMQ's own poll counts in milliseconds, which add up."""

import select
from collections.abc import Sequence
from time import monotonic

import zmq


def wait_for(
    sockets: Sequence[zmq.Socket[bytes]], timeout_s: float, attended: Sequence[zmq.Socket[bytes]] = ()
) -> list[zmq.Socket[bytes]]:
    """Sockets with a message, as soon as there is one or the time is over.

    Args:
        sockets: to wait for.
        timeout_s: not negative.
        attended: sockets that must be looked after meanwhile: a bound one meets a new peer only while
            somebody uses it.
    """
    until = monotonic() + timeout_s
    descriptors = [socket.fileno() for socket in (*sockets, *attended)]
    while True:
        for socket in attended:
            socket.getsockopt(zmq.EVENTS)
        # A descriptor tells of changes only: what is there already has to be asked for.
        ready = [socket for socket in sockets if _events(socket) & zmq.POLLIN]
        rest_s = until - monotonic()
        if ready or rest_s <= 0.0:
            return ready
        select.select(descriptors, (), (), rest_s)


def _events(socket: zmq.Socket[bytes]) -> int:
    events = socket.getsockopt(zmq.EVENTS)
    assert isinstance(events, int)
    return events
