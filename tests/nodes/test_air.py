"""What a BS hears, on its way from a radio: read back as written, and refused when it is anything else."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.frame import FrameError
from nodes.air import Air, decode_air, encode_air

PILOTS = (np.arange(24).reshape(2, 3, 4) * (1 - 2j)).astype(np.complex64)
AIR = Air("run1", "bs1", "ue1", 7, 1_000, 2_000, 0.5, PILOTS)


def test_what_is_written_is_read_back() -> None:
    air = decode_air(encode_air(AIR))
    assert (air.pilots == PILOTS).all()
    assert air.pilots.dtype == np.complex64
    assert (air.run, air.bs, air.ue, air.seq) == ("run1", "bs1", "ue1", 7)
    assert (air.t_sample_ns, air.t_publish_ns, air.noise_variance) == (1_000, 2_000, 0.5)


def changed(index: int, value: object) -> list[bytes]:
    topic, header, samples = encode_air(AIR)
    fields = msgpack.unpackb(header)
    fields[index] = value
    return [topic, msgpack.packb(fields), samples]


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        (list(encode_air(AIR)[:2]), "malformed"),
        (changed(0, 2), "version"),
        (changed(2, "bs2"), "malformed"),
        (changed(3, "x" * 65), "malformed"),
        (changed(4, -1), "malformed"),
        (changed(4, True), "malformed"),
        (changed(5, 1 << 63), "malformed"),
        (changed(7, float("nan")), "non_finite"),
        (changed(7, 0.0), "non_finite"),
        (changed(8, 3), "length"),
        (changed(8, 0), "malformed"),
        (changed(8, 1 << 40), "malformed"),
        ([encode_air(AIR)[0], b"\xc1", b""], "malformed"),
        ([encode_air(AIR)[0], b"x" * 1000, b""], "oversize"),
        ([*encode_air(AIR)[:2], np.full((2, 3, 4), np.nan, np.complex64).tobytes()], "non_finite"),
    ],
)
def test_anything_else_is_refused_by_cause(parts: list[bytes], cause: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode_air(parts)
    assert caught.value.cause == cause


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_garbage_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(FrameError):
        decode_air(parts)
