"""Random streams, one per purpose, entity and sequence number: no component shifts another's draws."""

from hashlib import blake2b

import numpy as np
from numpy.random import Generator, Philox


def stream(root_seed: int, purpose: str, entity: str, sequence: int = 0) -> Generator:
    """Give the generator of one purpose, entity and sequence number; the same arguments always draw the same.

    Philox is counter-based: the key comes from (root_seed, purpose, entity), the highest of the four counter
    words is `sequence`, so 2^192 blocks lie between one sequence number and the next.
    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    if not 0 <= sequence < 1 << 64:
        raise ValueError(f"sequence {sequence} is not in 0 ... 2^64 - 1")
    key = int.from_bytes(_key(root_seed, purpose, entity), "little")
    return Generator(Philox(key=key, counter=sequence << 192))


class Streams:
    """The streams of one root seed, through a single generator: five times cheaper than `stream`.

    What has to be drawn from one must be drawn before the next is asked for.
    """

    def __init__(self, root_seed: int) -> None:
        self._root_seed = root_seed
        self._bits = Philox(key=0)
        self._generator = Generator(self._bits)
        self._counter = np.zeros(4, np.uint64)
        self._fresh = self._bits.state
        self._keys: dict[tuple[str, str], np.ndarray[tuple[int], np.dtype[np.uint64]]] = {}

    def at(self, purpose: str, entity: str, sequence: int = 0) -> Generator:
        """Give the generator as `stream` would make it."""
        key = self._keys.get((purpose, entity))
        if key is None:
            key = np.frombuffer(_key(self._root_seed, purpose, entity), "<u8").astype(np.uint64)
            self._keys[purpose, entity] = key
        self._counter[3] = sequence
        self._bits.state = self._fresh | {"state": {"counter": self._counter, "key": key}}
        return self._generator

    def __reduce__(self) -> tuple[type["Streams"], tuple[int]]:
        """Travels as its seed: arrays that come to another process may be read-only there."""
        return Streams, (self._root_seed,)


class Draws:
    """Two uniform numbers per named event: a pure function of (root seed, purpose, entity, event).

    For one or two numbers per frame this is ten times cheaper than a `stream`, and needs no memory of what
    was drawn before: a frame meets the same fortune whatever became of the others.
    """

    __slots__ = ("_keyed",)

    def __init__(self, root_seed: int, purpose: str, entity: str) -> None:
        self._keyed = blake2b(key=_key(root_seed, purpose, entity), digest_size=16)

    def at(self, event: str) -> tuple[float, float]:
        """Give the event's two independent numbers, uniform in the open interval (0, 1)."""
        keyed = self._keyed.copy()
        keyed.update(event.encode())
        bits = int.from_bytes(keyed.digest(), "little")
        return ((bits & _MASK) + 0.5) * _STEP, ((bits >> 64 & _MASK) + 0.5) * _STEP


_MASK = (1 << 52) - 1
_STEP = 2.0**-52


def _key(root_seed: int, purpose: str, entity: str) -> bytes:
    return blake2b(repr((root_seed, purpose, entity)).encode(), digest_size=16).digest()
