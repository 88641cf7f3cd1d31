"""Frame v1: what one base station says about one UE at one time. Byte by byte in docs/frame.md."""

import math
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, Literal, get_args

import msgpack

VERSION = 1
MOST_STREAMS = 1 << 16
"""Most streams of which a `FrameEncoder` keeps what is the same in all of their frames."""
OVERHEAD_BYTES = 54
"""Of each frame: Ethernet preamble 8, header 14, check sequence 4, gap 12; VLAN tag 4; eCPRI headers 12."""

Cause = Literal[
    "version", "length", "non_finite", "unknown_model", "oversize", "malformed",
    "other_run", "foreign_key", "rate", "replay", "future",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = get_args(Cause)


class FrameError(ValueError):
    """A frame that is refused, and the cause it is counted under."""

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.cause}: {self.args[0]}"


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """The largest frame a receiver looks at."""

    topic_bytes: int = 160
    header_bytes: int = 384
    payload_bytes: int = 1 << 20
    name_chars: int = 64
    dims: int = 1 << 16
    bits: int = 16


DEFAULT_LIMITS = FrameLimits()


@dataclass(frozen=True, slots=True)
class Frame:
    """A quantised embedding with its times, its gain and the digest of the weights that made it."""

    run: str
    bs: str
    ue: str
    seq: int
    """Counts the frames of one (bs, ue) from 0."""
    t_sample_ns: int
    t_publish_ns: int
    dims: int
    bits: int
    """Bits per dimension."""
    step: float
    """Width of a quantiser step."""
    gain_db: float
    """Signal over noise per resource element in dB; float32 on the wire."""
    model: bytes
    """8-byte digest of the weights."""
    payload: bytes
    """Bit-packed indices: ceil(dims * bits / 8) bytes, most significant bit first."""

    @property
    def topic(self) -> str:
        """The name subscribers filter by; ends with a slash so that ue1 does not select ue10."""
        return f"emb/{self.bs}/{self.ue}/"

    @property
    def payload_bits(self) -> int:
        """The paper's payload: dims * bits, without padding, gain or header."""
        return self.dims * self.bits


def encode_frame(frame: Frame, *, limits: FrameLimits = DEFAULT_LIMITS) -> tuple[bytes, bytes, bytes]:
    """Turn a frame into topic, header and payload. Raises FrameError where a receiver would refuse it."""
    check_frame(frame, limits)
    return frame_parts(frame)


def frame_parts(frame: Frame) -> tuple[bytes, bytes, bytes]:
    """Turn a frame that is known to be good into topic, header and payload."""
    head = _PACKER.pack(
        (
            VERSION,
            frame.run,
            frame.bs,
            frame.ue,
            frame.seq,
            frame.t_sample_ns,
            frame.t_publish_ns,
            frame.dims,
            frame.bits,
            float(frame.step),
        )
    )
    header = _ARRAY_OF_12 + head[1:] + _TAIL.pack(_FLOAT32, frame.gain_db, _BIN8, 8, frame.model)
    return frame.topic.encode(), header, frame.payload


class FrameEncoder:
    """`encode_frame` for frame after frame: what those of a stream have in common is checked and packed once.

    limits: of what a receiver looks at.
    """

    def __init__(self, limits: FrameLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._streams: dict[tuple[Any, ...], tuple[bytes, bytes, bytes, int, int]] = {}

    def encode(self, frame: Frame) -> tuple[bytes, bytes, bytes]:
        """Turn a frame into topic, header and payload. Raises FrameError where a receiver would refuse it."""
        key = (frame.run, frame.bs, frame.ue, frame.dims, frame.bits, frame.step, frame.model)
        stream = self._streams.get(key)
        if stream is None:
            check_frame(frame, self._limits)
            if len(self._streams) >= MOST_STREAMS:
                self._streams.clear()
            stream = self._streams[key] = _in_common(frame)
        topic, head, middle, size, filling = stream
        payload, gain_db = frame.payload, frame.gain_db
        numbers = (frame.seq, frame.t_sample_ns, frame.t_publish_ns)
        for value in numbers:
            if type(value) is not int or not 0 <= value < _INT64:
                check_frame(frame, self._limits)
        if (
            numbers[2] < numbers[1]
            or not abs(gain_db) <= 1e6
            or len(payload) != size
            or payload[-1] & filling
        ):
            check_frame(frame, self._limits)
        tail = _TAIL.pack(_FLOAT32, gain_db, _BIN8, 8, frame.model)
        return topic, b"".join((head, _PACKER.pack(numbers)[1:], middle, tail)), payload


def _in_common(frame: Frame) -> tuple[bytes, bytes, bytes, int, int]:
    """Topic, header before and after the numbers, size of payloads, and the bits in them that are zero."""
    head = _ARRAY_OF_12 + _PACKER.pack((VERSION, frame.run, frame.bs, frame.ue))[1:]
    middle = _PACKER.pack((frame.dims, frame.bits, float(frame.step)))[1:]
    filling = (1 << -frame.payload_bits % 8) - 1
    return frame.topic.encode(), head, middle, len(frame.payload), filling


def decode_frame(
    parts: Sequence[bytes],
    *,
    known_models: Container[bytes] | None = None,
    limits: FrameLimits = DEFAULT_LIMITS,
) -> Frame:
    """Read a frame from its three parts. Raises FrameError with the cause when anything is not as documented.

    known_models: digests of the weights at hand; None accepts any.
    """
    if len(parts) != 3:
        raise FrameError("malformed", f"{len(parts)} parts instead of 3")
    topic, header, payload = parts
    if len(topic) > limits.topic_bytes:
        raise FrameError("oversize", f"topic of {len(topic)} bytes, at most {limits.topic_bytes}")
    if len(header) > limits.header_bytes:
        raise FrameError("oversize", f"header of {len(header)} bytes, at most {limits.header_bytes}")
    if len(payload) > limits.payload_bytes:
        raise FrameError("oversize", f"payload of {len(payload)} bytes, at most {limits.payload_bytes}")
    frame = Frame(*_read_header(header), payload=payload)
    check_frame(frame, limits)
    if topic != frame.topic.encode():
        raise FrameError("malformed", f"topic {topic[:40]!r} but header says {frame.topic!r}")
    if known_models is not None and frame.model not in known_models:
        raise FrameError("unknown_model", f"weights {frame.model.hex()} are not known here")
    return frame


def wire_bits(parts: Sequence[bytes], overhead_bytes: int = OVERHEAD_BYTES) -> int:
    """Bits a frame takes on the link: topic, header (with the gain), payload and transport overhead."""
    return 8 * (sum(map(len, parts)) + overhead_bytes)


_PACKER = msgpack.Packer()
_ARRAY_OF_12 = b"\x9c"
_FLOAT32, _FLOAT64, _BIN8 = 0xCA, 0xCB, 0xC4
_TAIL = Struct(">BfBB8s")  # gain as float32, model digest as bin8 of 8 bytes
_STEP_AT = -_TAIL.size - 9
_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
_INT64 = 1 << 63


def is_name(text: str) -> bool:
    """Whether a text may name a run, a BS or a UE."""
    return _NAME.fullmatch(text) is not None and len(text) <= DEFAULT_LIMITS.name_chars


def header_fields(header: bytes, version: int, count: int) -> tuple[Any, ...]:
    """Fields of a header: a msgpack array that begins with its version.

    Args:
        header: untrusted bytes, of a length already checked.
        version: the one that is read.
        count: of all fields, the version included.

    Raises:
        FrameError: it is none; says the cause.
    """
    try:
        fields = msgpack.unpackb(header, use_list=False, strict_map_key=True)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise FrameError("malformed", f"header is not msgpack ({error})") from None
    if type(fields) is not tuple or not fields:
        raise FrameError("malformed", "header is not a msgpack array")
    if type(fields[0]) is not int or fields[0] != version:
        raise FrameError("version", f"version {str(fields[0])[:20]}, this program reads {version}")
    if len(fields) != count:
        raise FrameError("malformed", f"header has {len(fields)} fields instead of {count}")
    return fields


def _read_header(
    header: bytes,
) -> tuple[str, str, str, int, int, int, int, int, float, float, bytes]:
    fields = header_fields(header, VERSION, 12)
    _, run, bs, ue, seq, t_sample_ns, t_publish_ns, dims, bits, step, gain_db, model = fields
    for name, value in zip(("run", "bs", "ue"), (run, bs, ue), strict=True):
        if type(value) is not str:
            raise FrameError("malformed", f"{name} is not text")
    if type(model) is not bytes:
        raise FrameError("malformed", "model is not binary")
    if len(model) != 8:
        raise FrameError("length", f"model digest of {len(model)} bytes instead of 8")
    if type(step) is not float or type(gain_db) is not float:
        raise FrameError("malformed", "step and gain must be floating-point numbers")
    if header[0] != _ARRAY_OF_12[0] or header[-_TAIL.size] != _FLOAT32 or header[_STEP_AT] != _FLOAT64:
        raise FrameError("malformed", "step must be a msgpack float 64 and gain a float 32")
    return run, bs, ue, seq, t_sample_ns, t_publish_ns, dims, bits, step, gain_db, model


def check_frame(frame: Frame, limits: FrameLimits = DEFAULT_LIMITS) -> None:
    """Hold a frame to the rules of docs/frame.md. Raises FrameError where a receiver would refuse it."""
    for name, text in (("run", frame.run), ("bs", frame.bs), ("ue", frame.ue)):
        if len(text) > limits.name_chars:
            raise FrameError("oversize", f"{name} of {len(text)} characters, at most {limits.name_chars}")
        if _NAME.fullmatch(text) is None:
            raise FrameError("malformed", f"{name} {text!r} is not made of letters, digits, '_', '.' and '-'")
    for value in (frame.seq, frame.t_sample_ns, frame.t_publish_ns, frame.dims, frame.bits):
        if type(value) is not int or not 0 <= value < _INT64:
            raise FrameError("malformed", "seq, times, dims and bits must be integers in 0 ... 2^63 - 1")
    if frame.t_publish_ns < frame.t_sample_ns:
        raise FrameError("malformed", "published before it was sampled")
    if not frame.dims or not frame.bits:
        raise FrameError("malformed", "dims and bits must be at least 1")
    if frame.dims > limits.dims or frame.bits > limits.bits:
        raise FrameError(
            "oversize", f"{frame.dims} x {frame.bits} bits, at most {limits.dims} x {limits.bits}"
        )
    if not math.isfinite(frame.step) or not math.isfinite(frame.gain_db):
        raise FrameError("non_finite", f"step {frame.step}, gain {frame.gain_db} dB")
    if frame.step <= 0.0:
        raise FrameError("malformed", f"step {frame.step} is not positive")
    if abs(frame.gain_db) > 1e6:
        raise FrameError("malformed", f"gain {frame.gain_db} dB")
    if len(frame.model) != 8:
        raise FrameError("length", f"model digest of {len(frame.model)} bytes instead of 8")
    if len(frame.payload) != (frame.payload_bits + 7) // 8:
        raise FrameError(
            "length", f"payload of {len(frame.payload)} bytes, {frame.dims} x {frame.bits} bits announced"
        )
    if frame.payload[-1] & ((1 << -frame.payload_bits % 8) - 1):
        raise FrameError("malformed", "bits after the last index are not zero")
