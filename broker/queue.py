"""Queue: what waits for a link, in bytes that end, in two disciplines."""

from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Collection, Hashable

from broker.law import FronthaulLaw
from broker.packet import QUEUE_FULL, SUPERSEDED, Packet

_NOT_DRAWN = (0.5, 0.5)


class Carried:
    """A packet inside a link: ours, or one of the cross traffic (packet None)."""

    __slots__ = ("jitter_draw", "loss_draws", "packet", "queued_ns", "since_ns", "size_bits")

    def __init__(self, packet: Packet | None, size_bits: int, since_ns: int, queued_ns: int = 0) -> None:
        self.packet = packet
        self.size_bits = size_bits
        self.since_ns = since_ns
        self.queued_ns = queued_ns
        self.loss_draws = self.jitter_draw = _NOT_DRAWN


class Queue(ABC):
    """Packets waiting for a link. A packet that does not fit is turned away; what is inside stays."""

    def __init__(self, room_bits: int | None) -> None:
        self.room_bits = room_bits
        self.bits = 0
        self.head_bits = 0
        """Of the packet whose turn it is, where that one takes room too."""

    @abstractmethod
    def put(self, carried: Carried) -> tuple[Carried, str] | None:
        """Take a packet in; give back the one that fell out for it, if any, with the cause."""

    @abstractmethod
    def get(self) -> Carried | None:
        """Take out the packet that is next."""

    @property
    @abstractmethod
    def waiting(self) -> Collection[Carried]:
        """All that wait, first one first."""

    def has_room(self, more_bits: int) -> bool:
        """Whether so much more may wait."""
        return self.room_bits is None or self.head_bits + self.bits + more_bits <= self.room_bits


class FifoQueue(Queue):
    """First come, first served; the one that finds no room is dropped."""

    def __init__(self, room_bits: int | None) -> None:
        super().__init__(room_bits)
        self._packets: deque[Carried] = deque()

    def put(self, carried: Carried) -> tuple[Carried, str] | None:
        """Append, or turn away when full."""
        if not self.has_room(carried.size_bits):
            return carried, QUEUE_FULL
        self._packets.append(carried)
        self.bits += carried.size_bits
        return None

    def get(self) -> Carried | None:
        """Take out the oldest."""
        if not self._packets:
            return None
        carried = self._packets.popleft()
        self.bits -= carried.size_bits
        return carried

    @property
    def waiting(self) -> Collection[Carried]:
        """All that wait, oldest first."""
        return self._packets


class FreshestQueue(Queue):
    """At most one snapshot of each (bs, ue): a newer one takes the waiting one's place in the queue."""

    def __init__(self, room_bits: int | None) -> None:
        super().__init__(room_bits)
        self._packets: OrderedDict[Hashable, Carried] = OrderedDict()

    def put(self, carried: Carried) -> tuple[Carried, str] | None:
        """Append, replace, or turn away: an older snapshot than the waiting one is itself superseded."""
        packet = carried.packet
        if packet is None:
            return self._append(id(carried), carried)
        key = packet.bs, packet.ue
        older = self._packets.get(key)
        if older is None or older.packet is None:
            return self._append(key, carried)
        if (packet.t_sample_ns, packet.seq) < (older.packet.t_sample_ns, older.packet.seq):
            return carried, SUPERSEDED
        if not self.has_room(carried.size_bits - older.size_bits):
            return carried, QUEUE_FULL
        self._packets[key] = carried
        self.bits += carried.size_bits - older.size_bits
        return older, SUPERSEDED

    def get(self) -> Carried | None:
        """Take out the one whose place is first."""
        if not self._packets:
            return None
        _, carried = self._packets.popitem(last=False)
        self.bits -= carried.size_bits
        return carried

    @property
    def waiting(self) -> Collection[Carried]:
        """All that wait, in their places."""
        return self._packets.values()

    def _append(self, key: Hashable, carried: Carried) -> tuple[Carried, str] | None:
        if not self.has_room(carried.size_bits):
            return carried, QUEUE_FULL
        self._packets[key] = carried
        self.bits += carried.size_bits
        return None


def queue_for(law: FronthaulLaw) -> Queue:
    """Give the queue a law asks for."""
    room_bits = None if law.queue_bytes is None else 8 * law.queue_bytes
    return FreshestQueue(room_bits) if law.discipline == "freshest" else FifoQueue(room_bits)
