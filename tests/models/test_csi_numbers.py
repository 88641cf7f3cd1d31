"""CSI at the tail of a message."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.csi_numbers import (
    BAND,
    DELAY_BITS,
    STEP_BITS,
    WIDTH_BITS,
    Bases,
    CsiNumbers,
    mean_over_slots,
    without_delay,
)
from models.quantiser import dequantise, quantise, rescale_step

Array = NDArray[Any]

SHAPE = (8, 24)
PARTS = 8 * 24
STEPS = np.array([0.013, 0.017])
HEAD_BITS = DELAY_BITS + STEP_BITS + WIDTH_BITS * PARTS // BAND


def random_csi(count: int, seed: int = 1) -> Array:
    draws = np.random.default_rng(seed)
    return draws.standard_normal((count, *SHAPE)) + 1j * draws.standard_normal((count, *SHAPE))


def paths_csi(count: int, paths: int, seed: int = 1) -> Array:
    """A few waves of falling power over a line of antennas: what a city gives."""
    draws = np.random.default_rng(seed)
    turn, delay = draws.uniform(-0.5, 0.5, (2, count, paths))
    gain = 10 ** (-draws.uniform(0, 1.5, (count, paths))) * np.exp(2j * np.pi * draws.random((count, paths)))
    late = draws.uniform(-0.4, 0.4, (count, 1))
    across = np.exp(2j * np.pi * turn[..., None] * np.arange(8))
    along = np.exp(2j * np.pi * (0.1 * delay + late)[..., None] * np.arange(24))
    return np.asarray(np.einsum("np,npa,npk->nak", gain, across, along))


BASES = Bases.of_many(np.stack([paths_csi(500, 5, seed=2), paths_csi(500, 9, seed=3)]))


def numbers_of(count: int) -> CsiNumbers:
    return CsiNumbers.of_steps(STEPS, 10, BASES, count)


def sent(bits: int, csi: Array, count: int = 192) -> Array:
    """Numbers of two base stations as they arrive, ``[n, 2, count]``."""
    numbers = numbers_of(count)
    written = np.stack([numbers.written(column, csi) for column in range(2)], axis=1)
    assert written.shape == (len(csi), 2, count)
    steps = np.array([rescale_step(float(step), 10, bits) for step in STEPS])[:, None]
    arrived: Array = dequantise(quantise(written, bits, steps), bits, steps)
    return arrived


def lost_in(read: Array, csi: Array) -> Array:
    """Share of the energy of each that is not the CSI, whatever its scale."""
    scale = (read * csi[:, None].conj()).sum((-2, -1), keepdims=True) / (np.abs(csi) ** 2).sum((-2, -1))[
        :, None, None, None
    ]
    error = (np.abs(read - scale * csi[:, None]) ** 2).sum((-2, -1))
    return np.asarray(error / (np.abs(read) ** 2).sum((-2, -1)))


@pytest.mark.parametrize("bits", [8, 9, 10, 14])
@pytest.mark.parametrize("count", [160, 280])
def test_what_arrives_is_the_csi_but_for_what_it_says_it_lost(bits: int, count: int) -> None:
    csi = paths_csi(60, 4) + 1e-4 * random_csi(60)
    read, lost, arrived = numbers_of(count).read(sent(bits, csi, count))
    assert arrived.all()
    found = lost_in(read, csi)
    # A part that is rounded to nothing costs less than a step's worth.
    assert (found < 2 * lost + 1e-12).all()
    assert np.median(found) > 0.1 * np.median(lost)


def test_more_bytes_lose_less_and_as_much_less_as_they_say() -> None:
    csi = paths_csi(60, 6)
    medians = []
    for count in (96, 128, 192, 280):
        read, _, _ = numbers_of(count).read(sent(8, csi, count))
        medians.append(float(np.median(lost_in(read, csi))))
    assert medians == sorted(medians, reverse=True)
    # A step finer by half is a quarter of the loss, for one bit more of each part that is not nothing: at
    # most two for each of 192.
    assert medians[2] < medians[1] / 4 ** (8 * 64 / (2 * PARTS))


def test_what_quantiser_bits_take_away_is_no_csi_any_more() -> None:
    csi = paths_csi(20, 4)
    for bits in (3, 6, 7):
        read, lost, arrived = numbers_of(192).read(sent(bits, csi))
        assert not arrived.any()
        assert (lost == 1).all()
        assert (read == 0).all()


def test_numbers_are_the_same_for_eight_bits_and_more() -> None:
    csi = paths_csi(10, 4)
    one = numbers_of(192).read(sent(8, csi))
    for bits in (9, 10, 12):
        other = numbers_of(192).read(sent(bits, csi))
        assert (one[0] == other[0]).all()
        assert (one[1] == other[1]).all()


def test_a_message_that_is_cut_has_no_csi() -> None:
    numbers = sent(10, paths_csi(3, 5))
    numbers[1, 0, -1] = 0
    numbers[2, 1] = np.nan  # what an absent base station holds may be anything
    _, lost, arrived = numbers_of(192).read(numbers)
    assert arrived.tolist() == [[True, True], [False, True], [True, False]]
    assert (lost[~arrived] == 1).all()


def test_silence_is_sent_and_read_as_nothing() -> None:
    numbers = sent(8, np.zeros((2, *SHAPE)))
    assert (numbers != 0).all()
    read, lost, arrived = numbers_of(192).read(numbers)
    assert not arrived.any()
    assert (lost == 1).all()
    assert (read == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(60, 300))
def test_bytes_of_anybody_are_read_without_harm(seed: int, count: int) -> None:
    """What they say is finite, whether it is CSI or not."""
    numbers = numbers_of(count)
    draws = np.random.default_rng(seed)
    said = draws.integers(0, 256, (4, 2, count)) - 127.5
    read, lost, _ = numbers.read(said * (STEPS / 0.008785 * 0.03076)[:, None])
    assert np.isfinite(read).all()
    assert ((lost >= 0) & (lost <= 1)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(-6, 6), st.sampled_from([90, 140, 280]))
def test_csi_of_any_kind_and_scale_fits(seed: int, paths: int, scale: float, count: int) -> None:
    """As long as the coarsest step leaves something of it, what arrives is no further off than it says."""
    csi = paths_csi(3, paths, seed) * 10**scale
    read, lost, arrived = numbers_of(count).read(sent(8, csi, count))
    found = lost_in(read, csi)
    assert (found[arrived] < 2 * lost[arrived] + 1e-12).all()
    assert arrived.all() or paths > 4


def test_bits_are_read_as_documented() -> None:
    """Bit by bit: delay, step, a width for each band of four parts, and then the parts of each band."""
    numbers = numbers_of(192)
    csi = paths_csi(5, 6)
    arrived = sent(8, csi)
    read = numbers.read(arrived)[0]
    for row, column in np.ndindex(5, 2):
        grid = STEPS[column] * 0.03076 / 0.008785
        text = "".join(f"{round(value / grid + 127.5):08b}" for value in arrived[row, column])

        def take(bits: int, text: list[str] = [text]) -> int:  # noqa: B006
            value, text[0] = int(text[0][:bits], 2), text[0][bits:]
            return value

        delay = (take(12) + 0.5) / 4096 - 0.5
        step = 10 ** ((-6 - 1.25 * take(6)) / 20)
        parts = np.zeros(PARTS, np.complex128)
        for band, width in enumerate([take(4) for _ in range(48)]):
            for part in range(4 * band, 4 * band + 4):
                if width:
                    real, imaginary = take(width + 1) - 2**width, take(width + 1) - 2**width
                    parts[part] = step * (real + 1j * imaginary)
                    assert max(abs(real), abs(imaginary)) < 2**width
        ramp = np.exp(2j * np.pi * delay * (np.arange(24) - 11.5))
        assert read[row, column] == pytest.approx(BASES.csi(column, parts[None])[0] * ramp, abs=1e-12)


def test_bases_hold_what_is_loud() -> None:
    csi = paths_csi(200, 5, seed=9)
    centred, turns = without_delay(csi)
    parts = BASES.parts(0, centred)
    assert BASES.csi(0, parts) == pytest.approx(centred, abs=1e-9)
    energy = (np.abs(parts) ** 2).mean(axis=0)
    assert (np.abs(parts) ** 2).sum() == pytest.approx((np.abs(csi) ** 2).sum())
    assert energy[:64].sum() > 0.98 * energy.sum()
    ramp = np.exp(2j * np.pi * turns[:, None, None] * (np.arange(24) - 11.5))
    assert centred * ramp == pytest.approx(csi, abs=1e-9)


def test_bases_that_are_none_are_refused() -> None:
    good = np.tile(np.eye(8, dtype=np.complex128), (2, 1, 1)), np.tile(np.eye(24) + 0j, (2, 1, 1))
    order = np.tile(np.arange(PARTS), (2, 1))
    Bases(*good, order)
    with pytest.raises(ValueError, match="not orthonormal"):
        Bases(2 * good[0], good[1], order)
    with pytest.raises(ValueError, match="square"):
        Bases(good[0][:, :4], good[1], order)
    with pytest.raises(ValueError, match="different base stations"):
        Bases(good[0][:1], good[1], order)
    with pytest.raises(ValueError, match="each of them once"):
        Bases(*good, order // 2)
    with pytest.raises(ValueError, match="bases of 2 base stations for 3"):
        CsiNumbers(np.ones(3), Bases(*good, order), 192)
    with pytest.raises(ValueError, match="too few"):
        CsiNumbers(np.ones(2), Bases(*good, order), HEAD_BITS // 8)


def test_slots_of_any_phase_add_up() -> None:
    draws = np.random.default_rng(3)
    csi = random_csi(5)
    turns = np.exp(2j * np.pi * draws.random((5, 10)))
    mean = mean_over_slots(csi[:, None] * turns[..., None, None])
    aligned = (mean * csi.conj()).sum((-2, -1)) / (np.abs(csi) ** 2).sum((-2, -1))
    assert np.abs(aligned) == pytest.approx(np.ones(5), abs=1e-9)


def test_noise_falls_by_the_number_of_slots() -> None:
    csi = random_csi(30)
    noise = 0.1 * np.stack([random_csi(30, seed) for seed in range(100, 110)], axis=1)
    mean = mean_over_slots(csi[:, None] + noise)
    share = (mean * csi.conj()).sum((-2, -1), keepdims=True) / (np.abs(csi) ** 2).sum((-2, -1), keepdims=True)
    left = (np.abs(mean - share * csi) ** 2).mean()
    assert left == pytest.approx((np.abs(noise) ** 2).mean() / 10, rel=0.1)
