"""The payload ladder: bit counts to the bit, error bounds, and that what is counted is what is sent."""

import cmath

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.payloads import PAYLOADS, BlockFloatingPoint, averaged_in_phase, exponent_of, power_of_two

SHAPE = (10, 8, 24)
PARTS = st.floats(-(2.0**60), 2.0**60, width=32)
BFP = PAYLOADS["bfp9"]


def some_csi(*shape: int, scale: float = 1.0, seed: int = 1) -> np.ndarray:
    draws = np.random.default_rng(seed).standard_normal((*shape, 2)) * scale
    csi: np.ndarray = (draws[..., 0] + 1j * draws[..., 1]).astype(np.complex64)
    return csi


@pytest.mark.parametrize(
    ("name", "bits"), [("complex64", 122_880), ("16-bit", 61_448), ("bfp9", 35_840), ("mean-bfp9", 3_584)]
)
def test_a_payload_has_so_many_bits_and_packs_into_them(name: str, bits: int) -> None:
    payload = PAYLOADS[name]
    csi = some_csi(*SHAPE, scale=1e-6)
    assert payload.bits(SHAPE) == bits
    packed = payload.pack(csi)
    assert 8 * len(packed) == bits
    arrived = payload.unpack(packed, SHAPE)
    assert arrived.dtype == np.complex64
    assert arrived.shape == (payload.slots(10), 8, 24)
    assert (arrived == payload.sent(csi)).all()


@given(arrays(np.float32, (2, 3, 17, 2), elements=PARTS), st.integers(2, 16), st.sampled_from([None, 4, 12]))
def test_no_error_exceeds_half_a_step_of_its_block(parts: np.ndarray, bits: int, block: int | None) -> None:
    csi = (parts[..., 0] + 1j * parts[..., 1]).astype(np.complex64)
    payload = BlockFloatingPoint("any", bits, block)
    error = payload.sent(csi) - csi
    worst = np.maximum(np.abs(error.real), np.abs(error.imag))
    for t in range(2):
        for m in range(3):
            for start in range(0, 17, block or 17):
                where = (t, m, slice(start, start + (block or 17))) if block else slice(None)
                peak = float(max(np.abs(csi[where].real).max(), np.abs(csi[where].imag).max()))
                assert worst[where].max() <= max(peak, 2.0**-119 * 2**bits) * 2.0 ** (1 - bits) * (1 + 1e-6)


@given(arrays(np.float32, (1, 2, 17, 2), elements=PARTS), st.integers(1, 16), st.sampled_from([None, 4, 12]))
def test_packing_gives_back_what_is_sent(parts: np.ndarray, bits: int, block: int | None) -> None:
    csi = (parts[..., 0] + 1j * parts[..., 1]).astype(np.complex64)
    payload = BlockFloatingPoint("any", bits, block)
    packed = payload.pack(csi)
    assert len(packed) == -(-payload.bits((1, 2, 17)) // 8)
    assert (payload.unpack(packed, (1, 2, 17)) == payload.sent(csi)).all()


def test_a_weak_block_is_as_fine_as_a_strong_one() -> None:
    csi = some_csi(*SHAPE)
    csi[..., 12:] *= 1e-4
    blocks, one = np.abs(BFP.sent(csi) - csi), np.abs(PAYLOADS["16-bit"].sent(csi) - csi)
    assert blocks[..., 12:].max() < 2e-2 * 1e-4
    assert one[..., 12:].max() > 1e-5


def test_silence_stays_next_to_silent() -> None:
    silent = np.zeros(SHAPE, np.complex64)
    assert np.abs(BFP.sent(silent)).max() < 1e-35


def test_slots_are_averaged_after_they_were_turned_onto_the_last() -> None:
    still = some_csi(1, 8, 24)
    turning = still * np.exp(0.7j * np.arange(10))[:, None, None].astype(np.complex64)
    wanted = still * cmath.exp(0.7j * 9)
    assert averaged_in_phase(turning) == pytest.approx(wanted, abs=1e-5)
    assert np.abs(PAYLOADS["mean-bfp9"].sent(turning) - wanted).max() < 0.02


@pytest.mark.parametrize("name", PAYLOADS)
def test_torch_gives_the_same(name: str) -> None:
    csi = some_csi(3, 2, *SHAPE)
    csi[0, 0] = 0
    arrived = PAYLOADS[name].sent(csi)
    from_torch = PAYLOADS[name].sent(torch.tensor(csi)).numpy()
    assert from_torch.dtype == np.complex64
    if name == "mean-bfp9":  # means round differently, so a number may fall on the other side of a border
        assert np.abs(from_torch - arrived).max() < 0.03
        assert (from_torch == arrived).mean() > 0.99
    else:
        assert (from_torch == arrived).all()


@given(st.floats(2.0**-120, 2.0**120, width=32))
def test_exponents_are_exact(value: float) -> None:
    e = int(exponent_of(np.array([value], np.float32))[0])
    assert 2.0**e <= value < 2.0 ** (e + 1)
    assert power_of_two(np.array([e], np.int32))[0] == 2.0**e


def test_a_payload_of_another_length_is_refused() -> None:
    packed = BFP.pack(some_csi(*SHAPE))
    with pytest.raises(ValueError, match="bfp9: payload of 4479 bytes, 4480 expected"):
        BFP.unpack(packed[:-1], SHAPE)
