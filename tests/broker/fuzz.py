"""What a fuzzer gives to the readers of untrusted bytes: frames, air, stamps, control messages.

An input is one byte that says which reader, then the parts, each behind its length in two bytes, the last one
without. A reader may refuse, by its own error; whatever else it raises is a finding, and so is a message that
reads differently once it has been written again.
"""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from broker.bus import read_arrival
from broker.control import ControlError, pack, unpack
from broker.frame import Frame, FrameError, decode_frame, encode_frame
from nodes.air import Air, decode_air, encode_air

READERS = ("frame", "air", "stamp", "control")
WATCHED = ("broker/frame.py", "broker/bus.py", "broker/control.py", "nodes/air.py")
_OWN_TOPIC = 0x80
"""In the first byte: the topic is made from the header, to reach what lies behind this check."""


def join(reader: str, *parts: bytes) -> bytes:
    """The input of a message."""
    framed = b"".join(len(part).to_bytes(2, "big") + part for part in parts[:-1])
    return bytes([READERS.index(reader)]) + framed + parts[-1]


def seeds() -> list[bytes]:
    """Good messages to begin with."""
    frame = encode_frame(
        Frame("r", "bs1", "ue1", 7, 10**9, 10**9, 5, 10, 0.0125, 17.25, b"weights!", bytes(7))
    )
    air = encode_air(Air("r", "bs1", "ue1", 1, 2, 3, 0.5, np.ones((1, 2, 1), np.complex64)))
    return [
        join("frame", *frame),
        join("air", *air),
        join("stamp", *frame, b"\x92\x05\x00"),
        join("control", pack("hello", 0, {"pid": 1})),
    ]


def one_input(fuzzed: bytes) -> None:
    """Give an input to its reader. Raises AssertionError, or whatever the reader let out."""
    first, rest = fuzzed[:1] or b"\0", fuzzed[1:]
    reader = READERS[first[0] % len(READERS)]
    parts = []
    for _ in range({"frame": 2, "air": 2, "stamp": 3, "control": 0}[reader]):
        length = int.from_bytes(rest[:2], "big")
        parts.append(rest[2 : 2 + length])
        rest = rest[2 + length :]
    parts.append(rest)
    if first[0] & _OWN_TOPIC and reader in ("frame", "air"):
        parts[0] = _topic(reader, parts)
    try:
        _read(reader, parts)
    except (FrameError, ControlError):
        return


def _read(reader: str, parts: list[bytes]) -> None:
    match reader:
        case "frame":
            frame = decode_frame(parts)
            assert repr(decode_frame(encode_frame(frame))) == repr(frame)
        case "air":
            air = decode_air(parts)
            again = decode_air(encode_air(air))
            assert (again.pilots == air.pilots).all()
            assert again.topic == air.topic == parts[0].decode()
        case "stamp":
            arrival, before = read_arrival(parts)
            assert type(arrival.t_arrival_ns) is type(before) is int
        case "control":
            message = unpack("bs1", parts[0])
            assert type(message.kind) is str


def _topic(reader: str, parts: list[bytes]) -> bytes:
    """The topic that a header names, if it is one."""
    import msgpack

    try:
        fields = msgpack.unpackb(parts[1])
        return f"{'emb' if reader == 'frame' else 'air'}/{fields[2]}/{fields[3]}/".encode()
    except Exception:  # whatever: it will be refused
        return parts[0]


def mutants(corpus: list[bytes], source: random.Random) -> Iterator[bytes]:
    """Inputs made from those of a corpus that may grow meanwhile."""
    tokens = [
        b"\xc0",
        b"\xcb" + bytes(8),
        b"\xca\x7f\xc0\0\0",
        b"\xff" * 9,
        b"\x9c",
        b"\xdd\xff\xff\xff\xff",
        b"\xd4\x01\0",
    ]
    while True:
        mutant = bytearray(source.choice(corpus))
        for _ in range(source.randint(1, 4)):
            at = source.randrange(len(mutant) + 1)
            match source.randrange(5):
                case 0:
                    mutant[at : at + 1] = bytes([source.randrange(256)])
                case 1:
                    del mutant[at : at + source.randint(1, 8)]
                case 2:
                    mutant[at:at] = source.randbytes(source.randint(1, 8))
                case 3:
                    mutant[at : at + source.randint(0, 9)] = source.choice(tokens)
                case _ if mutant:
                    mutant[min(at, len(mutant) - 1)] ^= 1 << source.randrange(8)
                case _:
                    pass
        yield bytes(mutant)


def guided(count: int, seed: int = 1) -> tuple[int, int]:
    """Try so many inputs, keeping those that reach lines which none reached before.

    Gives the lines that were reached and the inputs that were kept: what atheris does better, without it.
    """
    corpus, reached = seeds(), set[tuple[str, int]]()
    source = random.Random(seed)
    new: Iterator[bytes] = mutants(corpus, source)
    for number in range(count):
        fuzzed = corpus[number] if number < len(READERS) else next(new)
        before = len(reached)
        _traced(one_input, fuzzed, reached)
        if len(reached) > before and number >= len(READERS):
            corpus.append(fuzzed)
    return len(reached), len(corpus)


def _traced(run: Callable[[bytes], None], fuzzed: bytes, reached: set[tuple[str, int]]) -> None:
    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        if event == "line":
            reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(fuzzed)
    except BaseException as error:
        error.add_note(f"input: {fuzzed.hex()}")
        raise
    finally:
        sys.settrace(before)


def write_seeds(folder: Path) -> None:
    """A corpus to begin with, as atheris wants it."""
    for number, seed in enumerate(seeds()):
        (folder / f"good-{number}").write_bytes(seed)
        (folder / f"own-topic-{number}").write_bytes(bytes([seed[0] | _OWN_TOPIC]) + seed[1:])
