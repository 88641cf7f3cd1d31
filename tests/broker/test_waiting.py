"""Waiting for sockets: as soon as there is a message, and no longer than was said."""

import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from broker.waiting import wait_for

Sockets = tuple[zmq.Socket[bytes], zmq.Socket[bytes]]


@pytest.fixture
def pair() -> Iterator[Sockets]:
    with zmq.Context() as context, context.socket(zmq.PAIR) as near, context.socket(zmq.PAIR) as far:
        near.linger = far.linger = 0
        port = near.bind_to_random_port("tcp://127.0.0.1")
        far.connect(f"tcp://127.0.0.1:{port}")
        yield near, far


def test_time_is_over_without_a_message(pair: Sockets) -> None:
    begun = time.monotonic()
    assert wait_for([pair[0]], 0.02) == []
    assert time.monotonic() - begun >= 0.02


def test_what_is_there_already_is_told_until_it_is_taken(pair: Sockets) -> None:
    near, far = pair
    for _ in range(2):
        far.send(b"word")
    for _ in range(2):
        assert wait_for([near], 10.0) == [near]
        near.recv()
    assert wait_for([near], 0.0) == []


def test_a_message_ends_the_wait(pair: Sockets) -> None:
    near, far = pair
    sender = threading.Timer(0.05, far.send, [b"word"])
    sender.start()
    begun = time.monotonic()
    assert wait_for([near], 30.0) == [near]
    assert time.monotonic() - begun < 20.0
    sender.join()


def test_a_bound_socket_meets_its_peer_while_it_is_attended_to() -> None:
    with zmq.Context() as context, context.socket(zmq.PAIR) as near, context.socket(zmq.XPUB) as bound:
        near.linger = bound.linger = 0
        port = bound.bind_to_random_port("tcp://127.0.0.1")
        with context.socket(zmq.SUB) as far:
            far.linger = 0
            far.connect(f"tcp://127.0.0.1:{port}")
            far.subscribe("a")
            for _ in range(200):
                assert wait_for([near], 0.01, [bound]) == []
                bound.send(b"a", zmq.NOBLOCK)
                if far.poll(0):
                    break
            assert far.recv(zmq.NOBLOCK) == b"a"
