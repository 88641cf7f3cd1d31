"""Bus: publishers, a forwarder and subscribers over ZeroMQ. It carries frames and never loses one.

    Publisher (XPUB) ──▶ Forwarder (XSUB | XPUB) ──▶ Subscriber (SUB)

High-water marks are off: queues and losses belong to the fronthaul law. Frames of one publisher stay in
order; those of different ones come in any order. No socket may be used from two threads.
"""

from collections.abc import Callable, Sequence
from itertools import count
from tempfile import TemporaryDirectory
from time import monotonic
from types import TracebackType
from typing import Literal, NamedTuple, Self, get_args
from uuid import uuid4

import msgpack
import zmq

from broker.frame import FrameError
from broker.keys import Keys
from broker.least_recent import LeastRecent
from broker.refusals import Refusals
from broker.sequence import SequenceCheck, TransportLoss
from broker.waiting import has_message

Transport = Literal["inproc", "ipc", "tcp"]
LINGER_MS = 1000
"""How long a closing socket tries to hand over what it still holds."""
MAX_PART_BYTES = 2 << 20
"""A peer that sends a larger part is cut off by ZeroMQ itself."""
MAX_SUBSCRIPTION_BYTES = 1024
MAX_STREAMS = 1 << 16
"""Most topics whose numbers are followed at once."""
MOST_RECEIVED = 1000
"""So many messages of one peer wait here; what it sends beyond that waits with it, and nothing is lost."""
RECONNECT_MS, RECONNECT_MAX_MS = 50, 500


MaySay = Callable[[zmq.Frame], bool]
"""Whether the sender of a message, known by its first part, may say that."""


def _anybody(_: zmq.Frame) -> bool:
    return True


_SNDMORE, _NOBLOCK = int(zmq.SNDMORE), int(zmq.NOBLOCK)  # the enum's own operators cost microseconds
_STAMP = msgpack.Packer()


class Arrival(NamedTuple):
    """The three parts of a frame and when the fronthaul law let it arrive."""

    parts: tuple[bytes, bytes, bytes]
    t_arrival_ns: int


class _Subscriptions:
    """What the peers of a publishing socket have subscribed to.

    woken: sockets of the same thread that take part in the handshake. ZeroMQ lets a bound socket meet a new
    peer only while somebody uses it: waiting on the publishing socket alone would wait for ever.
    """

    def __init__(self, socket: zmq.Socket[bytes], woken: Sequence[zmq.Socket[bytes]]) -> None:
        self._socket = socket
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        for other in woken:
            self._poller.register(other, zmq.POLLERR)  # looked after, but never a reason to return
        self._prefixes: list[bytes] = []

    def wait_for(self, topic: str, subscribers: int, timeout_s: float) -> None:
        """Wait until enough peers have subscribed to a topic; what is published afterwards reaches them."""
        name = topic.encode()
        deadline = monotonic() + timeout_s
        while sum(name.startswith(prefix) for prefix in self._prefixes) < subscribers:
            if not self._poller.poll(max(0, round(1000 * (deadline - monotonic())))):
                raise TimeoutError(f"no {subscribers} subscribers to {topic!r} within {timeout_s} s")
            self._note(self._socket.recv())

    def tidy(self) -> None:
        """Take what has come meanwhile, which would otherwise stay in memory; only so much at once."""
        for _ in range(MOST_RECEIVED):
            if not has_message(self._socket):
                break
            self._note(self._socket.recv(_NOBLOCK))

    def _note(self, message: bytes) -> None:
        if message[:1] == b"\x01" and len(self._prefixes) < MOST_RECEIVED:
            self._prefixes.append(message[1:])
        elif message[:1] == b"\x00" and message[1:] in self._prefixes:
            self._prefixes.remove(message[1:])


class Publisher:
    """The end of a base station: connects to a forwarder's upstream endpoint and publishes frames.

    beside: the forwarder, if the same thread drives it. keys: if the forwarder is on another machine.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        *,
        beside: "Forwarder | None" = None,
        keys: Keys | None = None,
    ) -> None:
        self._socket = _publishing_socket(context)
        _reconnecting(self._socket, keys)
        self._socket.connect(endpoint)
        woken = () if beside is None else (beside._from_publishers,)
        self._subscriptions = _Subscriptions(self._socket, woken)

    def wait_for_subscriber(
        self, topic: str = "emb/", *, subscribers: int = 1, timeout_s: float = 10.0
    ) -> None:
        """Wait, without sleeping, until somebody is subscribed to a topic. Raises TimeoutError."""
        self._subscriptions.wait_for(topic, subscribers, timeout_s)

    def publish(self, parts: Sequence[bytes]) -> None:
        """Send one frame."""
        send_parts(self._socket, parts)

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close the socket."""
        self._socket.close(linger_ms)


class Forwarder:
    """The middle: binds both ends. What its owner receives upstream she forwards downstream, when she likes.

    upstream, downstream: endpoints to bind; a port `*` is chosen by the system, the attributes name it.
    keys: if they leave the machine; then the key of a part speaks for the base station of its name alone,
    and what it says of others is refused. Raises OSError when an endpoint cannot be bound.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        upstream: str,
        downstream: str,
        prefixes: Sequence[str] = ("emb/",),
        *,
        keys: Keys | None = None,
    ) -> None:
        self._from_publishers = _configured(context.socket(zmq.XSUB))
        self._from_publishers.rcvhwm = MOST_RECEIVED
        self._from_publishers.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
        self._to_subscribers = _publishing_socket(context)
        self.refusals = Refusals()
        self._owners = None if keys is None else {key.decode(): name for name, key in keys.known.items()}
        if keys is not None:
            keys.serve(self._from_publishers)
            keys.serve(self._to_subscribers)
        try:
            self.upstream = _bind(self._from_publishers, upstream)
            self.downstream = _bind(self._to_subscribers, downstream)
        except OSError:
            self.close(0)
            raise
        self._subscriptions = _Subscriptions(self._to_subscribers, (self._from_publishers,))
        self._forwarded: LeastRecent[bytes, list[int]] = LeastRecent(lambda: [0], MAX_STREAMS)
        for prefix in prefixes:
            self._from_publishers.send(b"\x01" + prefix.encode())

    def wait_for_subscriber(
        self, topic: str = "emb/", *, subscribers: int = 1, timeout_s: float = 10.0
    ) -> None:
        """Wait, without sleeping, until somebody is subscribed downstream. Raises TimeoutError."""
        self._subscriptions.wait_for(topic, subscribers, timeout_s)

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """Both sockets, to be looked after."""
        return self._from_publishers, self._to_subscribers

    @property
    def upstream_socket(self) -> zmq.Socket[bytes]:
        """The socket of `receive`, to be polled together with others."""
        return self._from_publishers

    def receive(self, timeout_s: float, most: int | None = None) -> list[list[bytes]]:
        """Wait for the first message, then take all that are there, or so many; none after the timeout."""
        self._subscriptions.tidy()
        return _receive(self._from_publishers, timeout_s, most, self._may_say)

    def receive_exactly(self, count: int, timeout_s: float = 10.0) -> list[list[bytes]]:
        """Take as many messages as were published. Raises TransportLoss when fewer come in time."""
        return _receive_exactly(self._from_publishers, count, timeout_s, self._may_say)

    def _may_say(self, first: zmq.Frame) -> bool:
        """Whether the key of a message's sender is that of the base station which its topic names."""
        if self._owners is None:
            return True
        owner = self._owners.get(str(first.get("User-Id")), "")
        if first.bytes.startswith(f"emb/{owner}/".encode()):
            return True
        self.refusals.refuse(
            FrameError("foreign_key", f"{owner or 'nobody'} says {first.bytes[:40]!r}"), owner
        )
        return False

    def forward(self, parts: Sequence[bytes], t_arrival_ns: int) -> None:
        """Send a frame on with a fourth part: msgpack [t_arrival_ns, earlier frames of this topic]."""
        topic = parts[0]
        forwarded = self._forwarded[topic]
        send_parts(self._to_subscribers, (*parts, _STAMP.pack((t_arrival_ns, forwarded[0]))))
        forwarded[0] += 1

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close both sockets."""
        self._from_publishers.close(linger_ms)
        self._to_subscribers.close(linger_ms)


class Subscriber:
    """The end of a central unit: connects to a forwarder's downstream endpoint.

    A message without a proper fourth part is refused and counted in `refusals`.

    keys: if the forwarder is on another machine.
    restarts: a forwarder may come back and count from 0; what is lost is counted in `losses`, not raised,
    and what is no newer than what came before it is refused as a replay.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        prefixes: Sequence[str] = ("emb/",),
        *,
        keys: Keys | None = None,
        restarts: bool = False,
    ) -> None:
        self._socket = _configured(context.socket(zmq.SUB))
        self._socket.rcvhwm = MOST_RECEIVED
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
        _reconnecting(self._socket, keys)
        for prefix in prefixes:
            self._socket.subscribe(prefix)
        self._socket.connect(endpoint)
        self._sequence = SequenceCheck(late_join=True, restarts=restarts)
        self._restarts = restarts
        self._newest: LeastRecent[bytes, list[int]] = LeastRecent(lambda: [-1, -1], MAX_STREAMS)
        self.losses = 0
        self.refusals = Refusals()

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket of `receive`, to be polled together with others."""
        return self._socket

    def receive(self, timeout_s: float, most: int | None = None) -> list[Arrival]:
        """Wait for the first frame, then take all that are there, or so many; none after the timeout.

        Raises TransportLoss when a frame that was forwarded did not come.
        """
        return self._arrivals(_receive(self._socket, timeout_s, most))

    def receive_exactly(self, count: int, timeout_s: float = 10.0) -> list[Arrival]:
        """Take as many frames as were forwarded. Raises TransportLoss when fewer come in time."""
        arrivals: list[Arrival] = []
        while len(arrivals) < count:
            missing = count - len(arrivals)
            arrivals += self._arrivals(_receive_exactly(self._socket, missing, timeout_s))
        return arrivals

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close the socket."""
        self._socket.close(linger_ms)

    def _arrivals(self, messages: list[list[bytes]]) -> list[Arrival]:
        arrivals = []
        for message in messages:
            try:
                arrival, before = read_arrival(message)
                if self._restarts:
                    self._is_newer(message[0], [arrival.t_arrival_ns, before])
            except FrameError as error:
                self.refusals.refuse_message(error, message[0])
                continue
            try:
                self._sequence.saw(message[0], before)
            except TransportLoss:
                if not self._restarts:
                    raise
                self.losses += 1
            arrivals.append(arrival)
        return arrivals

    def _is_newer(self, topic: bytes, stamp: list[int]) -> None:
        """Whether a stamp comes after the last one of its topic. Raises FrameError."""
        newest = self._newest[topic]
        if stamp <= newest:
            raise FrameError("replay", f"stamp {stamp} came after {newest}")
        newest[:] = stamp


class Bus:
    """A forwarder and, on demand, publishers and subscribers connected to it, all in one thread.

    Other threads and processes make their own `Publisher` and `Subscriber` with the forwarder's endpoints.

    transport: "inproc" (one process), "ipc" (a socket in a private temporary folder) or "tcp" (loopback).
    context: whose sockets to use; without one the bus makes its own and ends it.
    """

    def __init__(
        self, transport: Transport = "inproc", context: zmq.Context[zmq.Socket[bytes]] | None = None
    ) -> None:
        if transport not in get_args(Transport):
            raise ValueError(f"transport {transport!r}, must be inproc, ipc or tcp")
        self._owns_context = context is None
        self.context = zmq.Context() if context is None else context
        self._folder = TemporaryDirectory(prefix="fronthaul-") if transport == "ipc" else None
        self._ends: list[Publisher | Subscriber] = []
        try:
            self.forwarder = Forwarder(self.context, *_endpoints(transport, self._folder))
        except OSError:
            self._end()
            raise

    def publisher(self) -> Publisher:
        """Give a new publisher, connected upstream."""
        publisher = Publisher(self.context, self.forwarder.upstream, beside=self.forwarder)
        self._ends.append(publisher)
        return publisher

    def subscriber(self, *prefixes: str) -> Subscriber:
        """Give a new subscriber, connected downstream; to all frames if no prefix is given."""
        subscriber = Subscriber(self.context, self.forwarder.downstream, prefixes or ("emb/",))
        self._ends.append(subscriber)
        return subscriber

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close everything; may be called twice."""
        for end in self._ends:
            end.close(linger_ms)
        self.forwarder.close(linger_ms)
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(LINGER_MS if kind is None else 0)

    def _end(self) -> None:
        if self._owns_context:
            self.context.term()
        if self._folder is not None:
            self._folder.cleanup()


def _endpoints(transport: Transport, folder: TemporaryDirectory[str] | None) -> tuple[str, str]:
    if folder is not None:
        return f"ipc://{folder.name}/up", f"ipc://{folder.name}/down"
    if transport == "tcp":
        return "tcp://127.0.0.1:*", "tcp://127.0.0.1:*"
    name = uuid4().hex
    return f"inproc://{name}-up", f"inproc://{name}-down"


def _configured(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """Set what every socket of the bus has in common."""
    socket.set_hwm(0)
    socket.linger = LINGER_MS
    return socket


def _reconnecting(socket: zmq.Socket[bytes], keys: Keys | None) -> None:
    """Set what a socket needs that connects: it comes back soon when its peer does."""
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    if keys is not None:
        keys.connect(socket, "broker")


def _publishing_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    socket = _configured(context.socket(zmq.XPUB))
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_SUBSCRIPTION_BYTES)  # all that comes in on it
    socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # tell of every subscriber, not only of the first to a topic
    return socket


def _bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise OSError(error.errno, f"cannot bind {endpoint}: {error.strerror}") from None
    bound = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(bound, bytes)
    return bound.rstrip(b"\0").decode()


def send_parts(socket: zmq.Socket[bytes], parts: Sequence[bytes]) -> None:
    """Send a message of several parts, at a third of what `send_multipart` costs."""
    for part in parts[:-1]:
        socket.send(part, _SNDMORE)
    socket.send(parts[-1])


def _receive(
    socket: zmq.Socket[bytes],
    timeout_s: float,
    most: int | None = None,
    may_say: MaySay = _anybody,
) -> list[list[bytes]]:
    messages: list[list[bytes]] = []
    if timeout_s > 0.0 and not socket.poll(round(1000 * timeout_s)):
        return messages
    _drain(socket, messages, most, may_say)
    return messages


def _receive_exactly(
    socket: zmq.Socket[bytes],
    count: int,
    timeout_s: float,
    may_say: MaySay = _anybody,
) -> list[list[bytes]]:
    messages: list[list[bytes]] = []
    deadline = monotonic() + timeout_s
    while True:
        _drain(socket, messages, count, may_say)
        if len(messages) == count:
            return messages
        if not socket.poll(max(0, round(1000 * (deadline - monotonic())))):
            raise TransportLoss(f"{len(messages)} of {count} frames came within {timeout_s} s")


def _drain(
    socket: zmq.Socket[bytes],
    messages: list[list[bytes]],
    most: int | None,
    may_say: MaySay = _anybody,
) -> None:
    """Take what is there without waiting, up to a number in all; leave out what may not be said.

    That counts too: else whoever says it without end is listened to without end.
    """
    try:
        for _ in count() if most is None else range(most - len(messages)):
            part = socket.recv(_NOBLOCK, copy=False)
            is_said = may_say(part)
            message = [part.bytes]
            while part.more:
                part = socket.recv(_NOBLOCK, copy=False)
                message.append(part.bytes)
            if is_said:
                messages.append(message)
    except zmq.Again:
        return


def read_arrival(message: Sequence[bytes]) -> tuple[Arrival, int]:
    """A frame with its stamp, and how many came before it. Raises FrameError."""
    if len(message) != 4:
        raise FrameError("malformed", f"{len(message)} parts instead of 4")
    topic, header, payload, stamp = message
    if len(stamp) > 19:
        raise FrameError("oversize", f"arrival stamp of {len(stamp)} bytes, at most 19")
    try:
        t_arrival_ns, before = msgpack.unpackb(stamp, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException):
        raise FrameError("malformed", "arrival stamp is not a msgpack array of two") from None
    if type(t_arrival_ns) is not int or type(before) is not int:
        raise FrameError("malformed", "arrival stamp is not made of integers")
    return Arrival((topic, header, payload), t_arrival_ns), before
