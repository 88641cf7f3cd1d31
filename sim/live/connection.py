"""Connections of the live view: one that has not asked, or does not take the answer, in time is closed."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

REQUEST_WITHIN_S = 10.0
"""So long a request may take from the connection, or from its first byte, to its last."""
TAKEN_WITHIN_S = 30.0
"""So long nothing may be taken of what waits to be taken."""


class Connection(H11Protocol):
    """As of uvicorn, which itself waits for ever, for a request and for an answer to be taken."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected, who is to ask for something now."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # writing pauses as soon as anything waits
        self._wait()

    def data_received(self, data: bytes) -> None:
        """A part of a request has come, or all of it."""
        super().data_received(data)
        if self._is_answering():
            self._wait_no_longer()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by either side."""
        self._wait_no_longer()
        self._is_taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Something waits to be taken by the other side."""
        super().pause_writing()
        self._see_taken(None)

    def resume_writing(self) -> None:
        """All has been taken."""
        self._is_taken()
        super().resume_writing()

    def _see_taken(self, before: int | None) -> None:
        """Hang up if as much waits as before, else look again later."""
        self._is_taken()
        waiting = self.transport.get_write_buffer_size()
        if before is not None and waiting >= before:
            self.transport.abort()
        else:
            self._stalled = self.loop.call_later(TAKEN_WITHIN_S, self._see_taken, waiting)

    def _is_taken(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _is_answering(self) -> bool:
        """Whether a request is here as a whole, and not answered yet."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(REQUEST_WITHIN_S, self.transport.close)

    def _wait_no_longer(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
