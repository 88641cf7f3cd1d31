import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.quantiser import (
    GAUSSIAN_STEPS,
    calibrate_step,
    calibrate_steps,
    dequantise,
    pack,
    pack_many,
    packed_size_bytes,
    quantise,
    quantiser_range,
    rescale_step,
    straight_through,
    unpack,
    unpack_many,
)

BITS = st.integers(1, 16)


@st.composite
def indices_of_some_width(draw: st.DrawFn) -> tuple[npt.NDArray[np.uint16], int]:
    bits = draw(BITS)
    values = draw(st.lists(st.integers(0, 2**bits - 1), max_size=70))
    return np.array(values, dtype=np.uint16), bits


def pack_bit_by_bit(indices: npt.NDArray[np.uint16], bits: int) -> bytes:
    text = "".join(format(int(index), f"0{bits}b") for index in indices)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


@given(indices_of_some_width())
@settings(deadline=None)
def test_unpack_undoes_pack(case: tuple[npt.NDArray[np.uint16], int]) -> None:
    indices, bits = case
    payload = pack(indices, bits)
    assert len(payload) == packed_size_bytes(len(indices), bits) == math.ceil(len(indices) * bits / 8)
    np.testing.assert_array_equal(unpack(payload, len(indices), bits), indices)


@given(indices_of_some_width())
@settings(deadline=None)
def test_pack_agrees_with_writing_bit_by_bit(case: tuple[npt.NDArray[np.uint16], int]) -> None:
    indices, bits = case
    assert pack(indices, bits) == pack_bit_by_bit(indices, bits)


def test_pack_puts_the_most_significant_bit_first() -> None:
    assert pack([0b1, 0b1000000001, 0b0], 10) == bytes([0b00000000, 0b01100000, 0b00010000, 0b00000000])


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("dims", [1, 3, 8, 37, 776])
def test_pack_many_is_pack_of_each(bits: int, dims: int) -> None:
    indices = np.random.default_rng(bits).integers(0, 1 << bits, (5, dims)).astype(np.uint16)
    assert pack_many(indices, bits) == [pack(row, bits) for row in indices]


def test_unpack_many_is_unpack_of_each() -> None:
    generator = np.random.default_rng(5)
    indices = generator.integers(0, 2**11, size=(9, 37)).astype(np.uint16)
    payloads = [pack(row, 11) for row in indices]
    np.testing.assert_array_equal(unpack_many(payloads, 37, 11), indices)
    assert unpack_many([], 37, 11).shape == (0, 37)


def test_pack_refuses_an_index_of_too_many_bits() -> None:
    with pytest.raises(ValueError, match=r"index outside 0 \.\.\. 15"):
        pack([3, 16], 4)
    with pytest.raises(ValueError, match=r"index outside 0 \.\.\. 15"):
        pack([3, -1], 4)


def test_unpack_refuses_another_length_and_filling_bits() -> None:
    with pytest.raises(ValueError, match="payload of 3 bytes; 3 indices of 10 bits take 4"):
        unpack(b"abc", 3, 10)
    with pytest.raises(ValueError, match="filling bits"):
        unpack(bytes([0, 0, 0, 1]), 3, 10)


@pytest.mark.parametrize("bits", [0, 17, 2.0])
def test_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="bits must be an integer from 1 to 16"):
        quantise(np.zeros(3, np.float32), bits, 1.0)


@given(BITS, st.floats(1e-3, 1e3), st.lists(st.floats(-1, 1), min_size=1, max_size=20))
@settings(deadline=None)
def test_error_is_at_most_half_a_step_inside_the_range(bits: int, step: float, shares: list[float]) -> None:
    latent = np.array(shares) * quantiser_range(bits, step)
    error = dequantise(quantise(latent, bits, step), bits, step) - latent
    assert np.abs(error).max() <= step / 2 + quantiser_range(bits, step) * 2**-22  # levels are float32


@given(BITS, st.floats(1e-3, 1e3), st.floats(1.0, 1e6) | st.just(math.inf), st.sampled_from([-1.0, 1.0]))
@settings(deadline=None)
def test_outside_the_range_the_outermost_level_is_sent(
    bits: int, step: float, times: float, sign: float
) -> None:
    limit = quantiser_range(bits, step)
    level = dequantise(quantise(np.array([sign * times * limit]), bits, step), bits, step)
    assert level[0] == pytest.approx(sign * limit, rel=1e-6)


@given(BITS, st.floats(-8, 8), st.floats(1e-2, 10))
@settings(max_examples=300, deadline=None)
def test_levels_are_those_of_equation_19(bits: int, y: float, step: float) -> None:
    limit = (2**bits - 1) * step / 2
    if y > limit:
        expected = limit
    elif y < -limit:
        expected = -limit
    else:
        expected = math.floor(y / step) * step + step / 2
    level = dequantise(quantise(np.array([y]), bits, step), bits, step)
    assert level[0] == pytest.approx(expected, rel=1e-6, abs=step * 1e-6)


def test_indices_at_the_very_edges_stay_in_range() -> None:
    edges = np.array([-2.0, -1.75, np.nextafter(2.0, 0), 2.0, np.nextafter(2.0, 3), 1.75])
    np.testing.assert_array_equal(quantise(edges, 3, 0.5), [0, 0, 7, 7, 7, 7])


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        quantise(np.array([0.0, np.nan]), 4, 1.0)


def test_one_step_per_bs_broadcasts() -> None:
    latents = np.ones((2, 3, 4), np.float32)
    steps = np.array([0.5, 1.0, 2.0])
    indices = quantise(latents, 4, steps[:, None])
    np.testing.assert_array_equal(indices[0, :, 0], [10, 9, 8])
    np.testing.assert_allclose(dequantise(indices, 4, steps[:, None])[0, :, 0], [1.25, 1.5, 1.0])


def test_calibrated_step_is_the_best_one_for_a_gaussian() -> None:
    latents = np.random.default_rng(1).normal(0, 3.0, 200_000)
    for bits in (2, 4, 6):
        assert calibrate_step(latents, bits) == pytest.approx(3.0 * GAUSSIAN_STEPS[bits - 1], rel=0.02)


def test_calibrated_step_is_no_worse_than_any_of_many() -> None:
    latents = np.random.default_rng(2).laplace(0, 1.0, 20_000)

    def error(step: float) -> float:
        return float(np.mean((dequantise(quantise(latents, 5, step), 5, step) - latents) ** 2))

    best = error(calibrate_step(latents, 5))
    assert best <= min(error(step) for step in np.geomspace(0.05, 2, 200)) * (1 + 1e-4)


def test_calibration_is_per_bs_and_follows_the_scale() -> None:
    latents = np.random.default_rng(3).normal(size=(500, 3, 32)) * np.array([1.0, 2.0, 4.0])[:, None]
    steps = calibrate_steps(latents, 4)
    assert steps.shape == (3,)
    np.testing.assert_allclose(steps / steps[0], [1, 2, 4], rtol=0.05)


@pytest.mark.parametrize("latents", [[], [0.0, 0.0], [1.0, math.nan]])
def test_calibration_refuses_what_has_no_scale(latents: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be calibrated"):
        calibrate_step(latents, 4)


def test_gaussian_steps_are_stationary_points() -> None:
    """At the best step the error is uncorrelated with the levels: E[y q] = E[q^2]."""
    for bits, step in enumerate(GAUSSIAN_STEPS[:10], start=1):
        edges = np.append(np.arange(2 ** (bits - 1)) * step, np.inf)
        levels = (np.arange(2 ** (bits - 1)) + 0.5) * step
        density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
        beyond = np.array([0.5 * math.erfc(edge / math.sqrt(2)) for edge in edges])
        correlation = np.sum(levels * (density[:-1] - density[1:]))
        power = np.sum(levels**2 * (beyond[:-1] - beyond[1:]))
        assert correlation == pytest.approx(power, rel=1e-3)


def test_rescaled_step() -> None:
    assert rescale_step(0.3, 6, 6) == pytest.approx(0.3)
    assert rescale_step(GAUSSIAN_STEPS[9], 10, 4) == pytest.approx(GAUSSIAN_STEPS[3])


def test_torch_gives_the_same_indices_and_levels() -> None:
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    latent = np.random.default_rng(4).normal(size=(5, 6, 40)).astype(np.float32)
    steps = np.full((6, 1), 0.0123)
    for bits in (1, 4, 10, 16):
        indices = quantise(latent, bits, steps)
        tensor = quantise(torch.from_numpy(latent), bits, torch.from_numpy(steps))
        np.testing.assert_array_equal(tensor.numpy(), indices)
        np.testing.assert_array_equal(
            dequantise(tensor, bits, torch.from_numpy(steps)).numpy(), dequantise(indices, bits, steps)
        )


def test_gradient_passes_inside_the_range_only() -> None:
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    latent = torch.tensor([-3.0, -1.75, -0.2, 0.0, 1.75, 1.8], requires_grad=True)
    level = straight_through(latent, 3, 0.5)
    np.testing.assert_array_equal(level.detach().numpy(), [-1.75, -1.75, -0.25, 0.25, 1.75, 1.75])
    level.sum().backward()
    np.testing.assert_array_equal(latent.grad.numpy()[[0, 2, 3, 5]], [0, 1, 1, 0])
