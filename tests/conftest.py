"""Fixtures for every test: no ZeroMQ socket or context outlives the test that made it."""

from collections.abc import Callable, Iterator
from threading import Thread

import pytest
import zmq
from hypothesis import settings

CLOSING_TIMEOUT_S = 5.0

# A busy machine is no reason to fail: time limits are those of whole tests.
settings.register_profile("fronthaul", deadline=None)
settings.load_profile("fronthaul")


@pytest.fixture(autouse=True)
def zmq_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Track the contexts a test makes; close what it left open, with linger 0, and then fail it."""
    contexts: list[zmq.Context[zmq.Socket[bytes]]] = []
    make: Callable[..., None] = zmq.Context.__init__

    def make_tracked(self: zmq.Context[zmq.Socket[bytes]], *args: object, **kwargs: object) -> None:
        make(self, *args, **kwargs)
        contexts.append(self)

    monkeypatch.setattr(zmq.Context, "__init__", make_tracked)
    yield
    left_open = [context for context in contexts if not context.closed]
    for context in left_open:
        _end(context)
    assert not left_open, f"{len(left_open)} ZeroMQ contexts were left open"


@pytest.fixture
def zmq_context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """Give a context whose sockets are closed with linger 0 and which is ended under a timeout."""
    context = zmq.Context()
    yield context
    _end(context)


def _end(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    closing = Thread(target=context.destroy, kwargs={"linger": 0}, daemon=True)
    closing.start()
    closing.join(CLOSING_TIMEOUT_S)
    assert not closing.is_alive(), f"a ZeroMQ context did not end within {CLOSING_TIMEOUT_S} s"
