"""Control: what the world and the parts of a run tell each other besides frames.

    Controller (ROUTER, binds, the world) ◀──▶ Controlled (DEALER, connects: a BS, the broker, the CU)

A message is one msgpack array [version, kind, number, body]. A request has a number and is answered by
`done` or `failed` with the same one; a report has the number 0. Nothing here is ever pickled.

A part's address on the ROUTER is its name and something that nobody can guess: whoever knew it could take it
over, and have what is sent to the part.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import msgpack
import zmq

from broker.keys import Keys
from broker.least_recent import LeastRecent
from broker.rate import RateLimit
from broker.sequence import TransportLoss

VERSION = 1
MAX_BYTES = 64 << 20
"""Largest message either side looks at."""
MOST_WAITING = 100_000
"""Messages that may wait for a peer; more are lost, which the peer's silence has announced long before."""
MOST_PER_S = 20_000
"""Messages of one peer that the world reads."""
MOST_AT_ONCE = 1000
"""Messages that are looked at before there is time for something else."""
MAX_PEERS = 1024
BEGINNINGS = ("hello", "ready")
"""Kinds of which a part that has begun anew says both: from then on it is reached where they came from."""

Context = zmq.Context[zmq.Socket[bytes]]


class ControlError(ValueError):
    """A message that is none of ours."""


@dataclass(frozen=True, slots=True)
class Message:
    """What was said, and by whom (empty: by the world)."""

    peer: str
    kind: str
    number: int
    body: Any


def pack(kind: str, number: int, body: Any) -> bytes:
    """One message."""
    packed: bytes = msgpack.packb([VERSION, kind, number, body])
    return packed


def unpack(peer: str, message: bytes) -> Message:
    """Read one message. Raises ControlError."""
    try:
        version, kind, number, body = msgpack.unpackb(message, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ControlError(f"not a control message ({error})") from None
    if version != VERSION or type(kind) is not str or type(number) is not int:
        raise ControlError(f"control message of version {str(version)[:20]}, this program has {VERSION}")
    return Message(peer, kind, number, body)


class Controller:
    """The end of the world.

    Args:
        context: whose socket to use.
        endpoint: to bind; a port `*` is chosen by the system, `endpoint` names it.
        keys: the world's, if it leaves the machine.
    """

    def __init__(self, context: Context, endpoint: str, keys: Keys | None = None) -> None:
        self.context = context
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a part whose line was cut takes its address over
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        self.socket.set_hwm(MOST_WAITING)
        self.socket.linger = 200
        if keys is not None:
            keys.serve(self.socket)
        self.socket.bind(endpoint)
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.refused = 0
        self._known = None if keys is None else keys.known
        self._number = 0
        self._limits: LeastRecent[str, RateLimit] = LeastRecent(
            lambda: RateLimit(MOST_PER_S, 2 * MOST_PER_S), MAX_PEERS
        )
        self._addresses: LeastRecent[str, list[bytes]] = LeastRecent(lambda: [b""], MAX_PEERS)

    def send(self, peer: str, kind: str, body: Any = None) -> int:
        """Say something to a part, if it has been heard; gives the number of the request."""
        self._number += 1
        address = self._addresses[peer][0]
        if address:
            self.socket.send_multipart((address, pack(kind, self._number, body)))
        return self._number

    def receive(self, timeout_s: float) -> list[Message]:
        """Wait for the first message, then take all that are there; what is none of ours is counted."""
        messages: list[Message] = []
        if not self.socket.poll(round(1000 * timeout_s)):
            return messages
        try:
            for _ in range(MOST_AT_ONCE):
                parts = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
                try:
                    address = parts[0].bytes
                    peer = address.decode("ascii").partition("/")[0]
                    self._check(peer, parts[-1])
                    message = unpack(peer, parts[-1].bytes)
                    if message.kind in BEGINNINGS or not self._addresses[peer][0]:
                        self._addresses[peer][0] = address
                    messages.append(message)
                except (ControlError, UnicodeDecodeError):
                    self.refused += 1
        except zmq.Again:
            pass
        return messages

    def _check(self, peer: str, part: zmq.Frame) -> None:
        """A key speaks for the part it was made for alone, and no part too often. Raises ControlError."""
        if self._known is not None:
            key = part.get("User-Id")
            if not isinstance(key, str) or self._known.get(peer) != key.encode():
                raise ControlError(f"{peer} has not the key of {peer}")
        if not self._limits[peer].takes():
            raise ControlError(f"{peer} says too much")

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class Controlled:
    """The end of a part.

    Args:
        context: whose socket to use.
        endpoint: where the world is.
        name: of the part: `broker`, `cu`, or the BS.
        keys: the part's, if the world is on another machine.
    """

    def __init__(self, context: Context, endpoint: str, name: str, keys: Keys | None = None) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, f"{name}/{secrets.token_hex(16)}".encode())
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self.socket.set_hwm(MOST_WAITING)
        self.socket.linger = 200
        if keys is not None:
            keys.connect(self.socket, "world")
        self.socket.connect(endpoint)

    def report(self, kind: str, body: Any = None, number: int = 0) -> None:
        """Tell the world something; never waits for it."""
        try:
            self.socket.send(pack(kind, number, body), zmq.NOBLOCK)
        except zmq.Again:
            return  # the world has been away for very long

    def receive(self) -> list[Message]:
        """Take what is there without waiting."""
        messages: list[Message] = []
        try:
            while len(messages) < MOST_AT_ONCE:
                messages.append(unpack("", self.socket.recv(zmq.NOBLOCK)))
        except zmq.Again:
            return messages
        return messages

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def answers(
    controller: Controller, numbers: Mapping[int, str], timeout_s: float, alive: Any = None
) -> dict[int, Any]:
    """Wait for the answers to some requests.

    Args:
        controller: where they were made.
        numbers: of the requests, and who was asked: nobody else answers.
        timeout_s: for all of them.
        alive: called while waiting; may raise that a part has died.

    Raises:
        TransportLoss: a part said that it cannot, or did not answer in time.
    """
    missing, found = set(numbers), dict[int, Any]()
    until = monotonic() + timeout_s
    while missing:
        for message in controller.receive(min(0.25, max(0.0, until - monotonic()))):
            if message.number not in missing or message.peer != numbers[message.number]:
                continue
            if message.kind == "failed":
                raise TransportLoss(f"{message.peer}: {message.body}")
            if message.kind != "done":
                continue
            missing.remove(message.number)
            found[message.number] = message.body
        if missing and alive is not None:
            alive()
        if missing and monotonic() > until:
            raise TransportLoss(f"{len(missing)} parts did not answer within {timeout_s:g} s")
    return found
