"""Frames over real ZeroMQ sockets in lock-step: nothing goes on until all that was sent has come."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from broker.bus import Arrival, Bus, Transport
from broker.sequence import TransportLoss

Parts = tuple[bytes, bytes, bytes]

HANDOVER_TIMEOUT_S = 10.0


class Wire(Protocol):
    """Carries frames from the base stations to the fronthaul law, and on to the central unit."""

    def to_law(self, frames: Sequence[tuple[str, Parts]]) -> None:
        """Carry frames from the named BSs to the law; returns when all are there, unchanged."""

    def to_central_unit(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Carry what the law delivered on; returns what the central unit received, in the same order."""


class BusWire:
    """A wire over the bus: one publisher per BS, the forwarder, one subscriber for the central unit.

    Args:
        transport: `inproc`, `ipc` or `tcp`.
        bs_ids: whose publishers to make.
        timeout_s: how long a frame may take between two sockets before it counts as lost.
    """

    def __init__(
        self, transport: Transport, bs_ids: Sequence[str], timeout_s: float = HANDOVER_TIMEOUT_S
    ) -> None:
        self._timeout_s = timeout_s
        self._bus = Bus(transport)
        try:
            self._publishers = {bs: self._bus.publisher() for bs in bs_ids}
            self._subscriber = self._bus.subscriber()
            for publisher in self._publishers.values():
                publisher.wait_for_subscriber()
            self._bus.forwarder.wait_for_subscriber()
        except BaseException:
            self._bus.close(linger_ms=0)
            raise

    def to_law(self, frames: Sequence[tuple[str, Parts]]) -> None:
        """Publish frames and take them at the forwarder.

        Raises:
            TransportLoss: a frame did not come, or came changed.
        """
        for bs, parts in frames:
            self._publishers[bs].publish(parts)
        received = self._bus.forwarder.receive_exactly(len(frames), self._timeout_s)
        if not same_frames(received, [parts for _, parts in frames]):
            raise TransportLoss("the forwarder received other frames than were published")

    def to_central_unit(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Forward frames and take them at the subscriber.

        Raises:
            TransportLoss: a frame did not come, or came changed.
        """
        for arrival in arrivals:
            self._bus.forwarder.forward(arrival.parts, arrival.t_arrival_ns)
        received = self._subscriber.receive_exactly(len(arrivals), self._timeout_s)
        if received != list(arrivals):
            raise TransportLoss("the central unit received other frames than were forwarded")
        return received

    def close(self) -> None:
        """Close all sockets; nothing is on its way between two calls."""
        self._bus.close(linger_ms=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def same_frames(received: Sequence[Sequence[bytes]], published: Sequence[Parts]) -> bool:
    """Whether just the frames that were published have come, in any order."""
    by_header = {parts[1]: parts for parts in published}
    if len(by_header) < len(published):  # the very same header twice
        return sorted(map(tuple, received)) == sorted(published)
    if len(received) != len(published):
        return False
    return all(len(parts) == 3 and by_header.pop(parts[1], None) == tuple(parts) for parts in received)
