import contextlib
import dataclasses
import logging
import math
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import Frame, FrameError, FrameLimits, Refusals, decode_frame, encode_frame, wire_bits
from broker.frame import CAUSES, FrameEncoder

NAMES = st.from_regex(r"[A-Za-z0-9_.\-]{1,20}", fullmatch=True)
INT64 = st.integers(0, 2**63 - 1)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    dims, bits = draw(st.integers(1, 200)), draw(st.integers(1, 16))
    size = (dims * bits + 7) // 8
    payload = bytearray(draw(st.binary(min_size=size, max_size=size)))
    payload[-1] &= 0xFF << (-dims * bits % 8) & 0xFF
    t_sample_ns, t_publish_ns = sorted((draw(INT64), draw(INT64)))
    return Frame(
        run=draw(NAMES),
        bs=draw(NAMES),
        ue=draw(NAMES),
        seq=draw(INT64),
        t_sample_ns=t_sample_ns,
        t_publish_ns=t_publish_ns,
        dims=dims,
        bits=bits,
        step=draw(st.floats(min_value=5e-324, max_value=1e300)),
        gain_db=draw(st.floats(-1e6, 1e6, width=32)),
        model=draw(st.binary(min_size=8, max_size=8)),
        payload=bytes(payload),
    )


FRAME = Frame(
    run="run1",
    bs="bs3",
    ue="ue12",
    seq=7,
    t_sample_ns=1_000_000_000,
    t_publish_ns=1_002_000_000,
    dims=24,
    bits=10,
    step=0.0125,
    gain_db=17.25,
    model=b"weights!",
    payload=bytes(range(30)),
)
FIELDS: tuple[Any, ...] = (
    1,
    "run1",
    "bs3",
    "ue12",
    7,
    10**9,
    1_002_000_000,
    24,
    10,
    0.0125,
    17.25,
    b"weights!",
)


def header_of(*fields: Any) -> bytes:
    """Pack twelve fields as documented, whatever they are; other numbers of fields as they come."""
    if len(fields) != 12 or not isinstance(fields[10], float):
        return bytes(msgpack.packb(fields))
    tail = b"\xca" + struct.pack(">f", fields[10]) + bytes(msgpack.packb(fields[11]))
    head: bytes = msgpack.packb(fields[:10])
    return b"\x9c" + head[1:] + tail


def header_with(place: int, value: Any) -> bytes:
    return header_of(*FIELDS[:place], value, *FIELDS[place + 1 :])


def refused(parts: Any, **how: Any) -> str:
    with pytest.raises(FrameError) as refusal:
        decode_frame(parts, **how)
    return refusal.value.cause


@given(frames())
def test_decode_gives_back_what_was_encoded(frame: Frame) -> None:
    parts = encode_frame(frame)
    assert decode_frame(parts) == frame
    assert encode_frame(decode_frame(parts)) == parts


@given(frames(), INT64, INT64, INT64)
def test_an_encoder_gives_the_same_bytes_again_and_again(
    frame: Frame, seq: int, one: int, other: int
) -> None:
    encoder = FrameEncoder()
    t_sample_ns, t_publish_ns = sorted((one, other))
    for own in (
        frame,
        dataclasses.replace(frame, seq=seq, t_sample_ns=t_sample_ns, t_publish_ns=t_publish_ns),
        dataclasses.replace(frame, bs="other"),
        frame,
    ):
        assert encoder.encode(own) == encode_frame(own)


@given(frames())
def test_an_encoder_refuses_later_frames_of_a_stream_too(frame: Frame) -> None:
    encoder = FrameEncoder()
    encoder.encode(frame)
    for wrong in (
        {"seq": -1},
        {"seq": True},
        {"t_publish_ns": 0, "t_sample_ns": 1},
        {"gain_db": math.nan},
        {"gain_db": 2e6},
        {"payload": frame.payload + b"\0"},
    ):
        with pytest.raises(FrameError):
            encoder.encode(dataclasses.replace(frame, **wrong))


@pytest.mark.parametrize("dims_bits", range(1, 17))
def test_an_encoder_refuses_every_bit_after_the_last_index_in_later_frames_too(dims_bits: int) -> None:
    encoder, size = FrameEncoder(), (dims_bits + 7) // 8
    good = dataclasses.replace(FRAME, dims=1, bits=dims_bits, payload=bytes(size))
    encoder.encode(good)
    for bit in range(8 * size):
        payload = (1 << 8 * size - 1 - bit).to_bytes(size)
        frame = dataclasses.replace(good, payload=payload)
        if bit < dims_bits:
            assert encoder.encode(frame) == encode_frame(frame)
        else:
            with pytest.raises(FrameError, match="after the last index"):
                encoder.encode(frame)


def test_bytes_are_those_of_the_page() -> None:
    topic, header, payload = encode_frame(FRAME)
    assert topic == b"emb/bs3/ue12/"
    assert header == header_of(*FIELDS)
    assert header.hex(" ") == (
        "9c 01 a4 72 75 6e 31 a3 62 73 33 a4 75 65 31 32 07 ce 3b 9a ca 00 ce 3b b9 4e 80 18 0a "
        "cb 3f 89 99 99 99 99 99 9a ca 41 8a 00 00 c4 08 77 65 69 67 68 74 73 21"
    )
    assert payload == FRAME.payload


def test_wire_bits_count_every_part_and_the_overhead() -> None:
    parts = encode_frame(FRAME)
    assert wire_bits(parts) == 8 * (13 + 53 + 30 + 54)
    assert wire_bits(parts, overhead_bytes=0) == 8 * sum(map(len, parts))
    assert FRAME.payload_bits == 240


def test_gain_is_rounded_to_float32() -> None:
    frame = decode_frame(encode_frame(dataclasses.replace(FRAME, gain_db=0.1)))
    assert frame.gain_db == struct.unpack(">f", struct.pack(">f", 0.1))[0]


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_garbage_is_refused_with_a_cause(topic: bytes, header: bytes, payload: bytes) -> None:
    assert refused((topic, header, payload)) in CAUSES


@given(frames(), st.data())
def test_every_truncation_is_refused(frame: Frame, data: st.DataObject) -> None:
    parts = list(encode_frame(frame))
    which = data.draw(st.integers(0, 2))
    parts[which] = parts[which][: data.draw(st.integers(0, len(parts[which]) - 1))]
    assert refused(parts) in {"length", "malformed"}


@given(frames(), st.data())
def test_a_flipped_bit_is_refused_or_makes_another_proper_frame(frame: Frame, data: st.DataObject) -> None:
    parts = list(encode_frame(frame))
    header = bytearray(parts[1])
    header[data.draw(st.integers(0, len(header) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parts[1] = bytes(header)
    with contextlib.suppress(FrameError):
        assert repr(decode_frame(parts)) != repr(frame)  # 0.0 equals -0.0


@pytest.mark.parametrize("version", [0, 2, True, 1.0, "1", None, -1])
def test_wrong_version(version: object) -> None:
    assert refused((b"emb/bs3/ue12/", header_with(0, version), FRAME.payload)) == "version"


def test_another_versions_array_may_have_any_length() -> None:
    assert refused((b"emb/bs3/ue12/", msgpack.packb([2, "new"]), b"")) == "version"


@pytest.mark.parametrize("place", [9, 10])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_not_finite(place: int, value: float) -> None:
    assert refused((b"emb/bs3/ue12/", header_with(place, value), FRAME.payload)) == "non_finite"


@pytest.mark.parametrize("size", [0, 29, 31, 300])
def test_payload_of_another_length_than_announced(size: int) -> None:
    topic, header, _ = encode_frame(FRAME)
    assert refused((topic, header, bytes(size))) == "length"


@pytest.mark.parametrize("digest", [b"", b"weights", b"weights!!"])
def test_digest_of_another_length(digest: bytes) -> None:
    assert refused((b"emb/bs3/ue12/", header_with(11, digest), FRAME.payload)) == "length"


def test_unknown_model() -> None:
    parts = encode_frame(FRAME)
    assert refused(parts, known_models={b"another!"}) == "unknown_model"
    assert decode_frame(parts, known_models={FRAME.model}) == FRAME


@pytest.mark.parametrize(
    "limits",
    [
        FrameLimits(topic_bytes=12),
        FrameLimits(header_bytes=50),
        FrameLimits(payload_bytes=29),
        FrameLimits(dims=23),
        FrameLimits(bits=9),
        FrameLimits(name_chars=3),
    ],
)
def test_oversize(limits: FrameLimits) -> None:
    assert refused(encode_frame(FRAME), limits=limits) == "oversize"


def test_as_large_as_allowed_is_not_too_large() -> None:
    limits = FrameLimits(topic_bytes=13, header_bytes=53, payload_bytes=30, name_chars=4, dims=24, bits=10)
    assert decode_frame(encode_frame(FRAME, limits=limits), limits=limits) == FRAME
    edges = dataclasses.replace(
        FRAME, seq=2**63 - 1, t_sample_ns=2**63 - 1, t_publish_ns=2**63 - 1, gain_db=-1e6, step=5e-324
    )
    assert decode_frame(encode_frame(edges)) == edges
    assert FrameEncoder().encode(edges) == encode_frame(edges)


def test_a_payload_is_not_looked_at_before_its_size() -> None:
    topic, header, _ = encode_frame(FRAME)
    assert refused((topic, header, bytes((1 << 20) + 1))) == "oversize"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (1, ""),
        (1, b"run1"),
        (2, "bs/3"),
        (2, "bs3\n"),
        (3, "ü12"),
        (3, 12),
        (4, -1),
        (4, True),
        (4, 2**63),
        (4, 7.0),
        (5, None),
        (6, 999_999_999),
        (7, 0),
        (8, 0),
        (9, 1),
        (9, 0.0),
        (9, -0.0125),
        (10, 17),
        (10, 2e6),
        (11, "weights!"),
        (11, [0] * 8),
    ],
)
def test_malformed_field(place: int, value: object) -> None:
    topic = b"emb/bs3/ue12/"
    assert refused((topic, header_with(place, value), FRAME.payload)) == "malformed"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xc1",
        b"\x01",
        b"\x90",
        msgpack.packb({"version": 1}),
        msgpack.packb({(1, 2): {3: 4}}),
        msgpack.packb(FIELDS[:-1]),
        msgpack.packb((*FIELDS, "more")),
        msgpack.packb(FIELDS),  # gain as float 64
        header_of(*FIELDS) + b"\x00",
        b"\xdc\x00\x0c" + header_of(*FIELDS)[1:],  # the longer form of the same array
        b"\x91" * 300,
        b"\xdd\xff\xff\xff\xff\x01",
    ],
)
def test_malformed_header(header: bytes) -> None:
    assert refused((b"emb/bs3/ue12/", header, FRAME.payload)) == "malformed"


def test_topic_must_agree_with_the_header() -> None:
    _, header, payload = encode_frame(FRAME)
    assert refused((b"emb/bs4/ue12/", header, payload)) == "malformed"


@pytest.mark.parametrize("parts", [(), (b"",), (b"", b""), (b"", b"", b"", b"")])
def test_another_number_of_parts(parts: tuple[bytes, ...]) -> None:
    assert refused(parts) == "malformed"


def test_bits_after_the_last_index_are_zero() -> None:
    frame = dataclasses.replace(FRAME, dims=3, payload=b"\xff\xff\xff\xfc")
    assert decode_frame(encode_frame(frame)) == frame
    with pytest.raises(FrameError, match="after the last index"):
        encode_frame(dataclasses.replace(frame, payload=b"\xff\xff\xff\xfd"))


def test_what_would_be_refused_cannot_be_encoded() -> None:
    with pytest.raises(FrameError, match="length"):
        encode_frame(dataclasses.replace(FRAME, payload=b""))
    with pytest.raises(FrameError, match="non_finite"):
        encode_frame(dataclasses.replace(FRAME, gain_db=-math.inf))
    with pytest.raises(FrameError, match="malformed"):
        encode_frame(dataclasses.replace(FRAME, ue="ue/1"))


def test_refusals_count_by_cause_and_log_once_per_peer(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    with caplog.at_level(logging.WARNING, logger="broker"):
        for _ in range(3):
            refusals.refuse(FrameError("length", "too short"), "bs1")
        refusals.refuse(FrameError("version", "version 2"), "bs1")
        refusals.refuse(FrameError("length", "too long"), "bs2")
    assert refusals.by_cause == {"length": 4, "version": 1}
    assert refusals.total == 5
    assert [record.getMessage() for record in caplog.records] == [
        "refused a frame from bs1: length: too short (further ones from there are only counted)",
        "refused a frame from bs2: length: too long (further ones from there are only counted)",
    ]


def test_refusals_of_endless_peers_take_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for k in range(2000):
        refusals.refuse(FrameError("version", "version 2"), f"peer {k}")
    assert refusals.total == 2000
    assert len(caplog.records) == 64


def test_what_a_peer_calls_itself_neither_begins_a_line_nor_moves_the_cursor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals()
    with caplog.at_level(logging.WARNING, logger="broker"):
        for topic, version in (
            (b"emb/\x1b[2J\nbroker: all is well/ue1/", 1),
            (b"emb/bs1/ue1/", "\n\x1b[2J\x9b"),
        ):
            with pytest.raises(FrameError) as refused:
                decode_frame((topic, msgpack.packb([version]), b"payload"))
            refusals.refuse_message(refused.value, topic)
    assert len(caplog.records) == 2
    assert all(record.getMessage().isprintable() for record in caplog.records)
