"""CURVE: who may talk to whom when sockets leave the machine.

A part has a key pair of its own. A socket that binds beyond loopback is a CURVE server and lets in only the
public keys it knows: without an authenticator CURVE encrypts, but lets every key in.

    keys/world.key        the world's: secret
    keys/bs1.key          a part's own: secret
    keys/public/bs1.pub   the public halves of all: who may connect, and who is connected to

A host needs the secrets of the parts that run on it, and the folder `public`.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import zmq
from zmq.auth.thread import ThreadAuthenticator

DOMAIN = "fronthaul"
_KEY_CHARS = 40  # of a Z85 text


class KeysError(ValueError):
    """Keys that are missing or damaged; the text is one clear line."""


@dataclass(frozen=True, slots=True)
class Keys:
    """A part's own key pair and the public keys of all, by name."""

    public: bytes
    secret: bytes
    known: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"Keys(public={self.public.decode()}, secret=…)"

    def serve(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket that will bind a CURVE server; an `Authenticator` must run beside it."""
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.public)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN.encode())

    def connect(self, socket: zmq.Socket[bytes], server: str) -> None:
        """Make a socket that will connect a CURVE client of a part, and of nobody who pretends to be it."""
        if server not in self.known:
            raise KeysError(f"no public key of {server}")
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.public)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.known[server])


def make_keys(folder: Path, names: list[str]) -> list[Path]:
    """Make a key pair for the world and for each named part; those that are there stay.

    Returns:
        The secret files that were made.

    Raises:
        KeysError: the folder cannot be written.
    """
    made = []
    try:
        for place in (folder, folder / "public"):
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in ["world", *names]:
            secret_path = folder / f"{name}.key"
            if secret_path.exists():
                continue
            public, secret = zmq.curve_keypair()
            _write(secret_path, 0o600, os.O_EXCL, public, secret)
            _write(folder / "public" / f"{name}.pub", 0o644, os.O_TRUNC, public)
            made.append(secret_path)
    except OSError as error:
        raise KeysError(f"{folder}: cannot be written: {error.strerror}") from error
    return made


def load_keys(folder: Path, name: str) -> Keys:
    """The keys of the world or of a part.

    Raises:
        KeysError: a file is missing or damaged, others may read the secret, or say who is let in.
    """
    path = folder / f"{name}.key"
    public, secret = _read(path, 2)
    if path.stat().st_mode & 0o077:
        raise KeysError(f"{path}: others may read this secret; chmod 600 {path}")
    files = sorted((folder / "public").glob("*.pub"))
    for place in (folder, folder / "public", *files):
        if place.exists() and place.stat().st_mode & 0o022:
            raise KeysError(f"{place}: others may write here, and let in whom they like; chmod go-w {place}")
    known = {path.stem: _read(path, 1)[0] for path in files}
    return Keys(public, secret, known)


def leaves_machine(endpoint: str) -> bool:
    """Whether others than this machine can reach an endpoint that is bound."""
    parts = urlsplit(endpoint)
    if parts.scheme in ("inproc", "ipc"):
        return False
    return parts.scheme != "tcp" or parts.hostname not in ("127.0.0.1", "::1", "localhost")


class Authenticator:
    """Lets the known public keys in and nobody else, for all CURVE servers of a context.

    Args:
        context: whose sockets to guard.
        known: public keys, Z85.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], known: Collection[bytes]) -> None:
        self._thread = ThreadAuthenticator(context)
        self._thread.start()
        self._thread.configure_curve_callback(DOMAIN, _Known(frozenset(known)))

    def close(self) -> None:
        """Stop; sockets must be closed before."""
        self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Known:
    """What pyzmq asks of a credentials provider."""

    def __init__(self, known: frozenset[bytes]) -> None:
        self._known = known

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a client with this public key (Z85) may come in."""
        return key in self._known


def _write(path: Path, mode: int, how: int, *lines: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | how, mode)
    with os.fdopen(handle, "wb") as file:
        file.writelines(line + b"\n" for line in lines)


def _read(path: Path, lines: int) -> list[bytes]:
    try:
        found = path.read_bytes().split()
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}; make keys with python -m sim keys") from error
    if len(found) != lines or any(len(line) != _KEY_CHARS for line in found):
        raise KeysError(f"{path}: damaged")
    return found
