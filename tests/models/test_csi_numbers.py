"""CSI at the tail of a message."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.csi_numbers import CsiNumbers, mean_over_slots
from models.quantiser import GAUSSIAN_STEPS, dequantise, quantise, rescale_step

Array = NDArray[Any]

SHAPE = (8, 24)
STEPS = np.array([0.013, 0.017])


def random_csi(count: int, seed: int = 1) -> Array:
    draws = np.random.default_rng(seed)
    return draws.standard_normal((count, *SHAPE)) + 1j * draws.standard_normal((count, *SHAPE))


def sent(bits: int, csi: Array) -> Array:
    """Numbers of two base stations as they arrive, ``[n, 2, count]``."""
    numbers = CsiNumbers.of_steps(STEPS, 10, SHAPE)
    written = np.stack([numbers.written(column, csi) for column in range(2)], axis=1)
    steps = np.array([rescale_step(float(step), 10, bits) for step in STEPS])[:, None]
    arrived: Array = dequantise(quantise(written, bits, steps), bits, steps)
    return arrived


@pytest.mark.parametrize("bits", [3, 4, 5, 8, 10])
def test_what_arrives_is_the_csi_but_for_what_it_says_it_lost(bits: int) -> None:
    csi = random_csi(40)
    read, lost, arrived = CsiNumbers.of_steps(STEPS, 10, SHAPE).read(sent(bits, csi))
    assert arrived.all()
    scale = (read * csi[:, None].conj()).sum((-2, -1), keepdims=True) / (np.abs(csi) ** 2).sum((-2, -1))[
        :, None, None, None
    ]
    error = (np.abs(read - scale * csi[:, None]) ** 2).sum((-2, -1)) / (np.abs(read) ** 2).sum((-2, -1))
    # Clipping costs as much again at the best step of few bits.
    assert 0.5 * np.median(lost) < np.median(error) < 2.0 * np.median(lost)
    assert np.median(lost) == pytest.approx(GAUSSIAN_STEPS[bits - 1] ** 2 / 12, rel=0.15)


def test_a_message_that_is_cut_has_no_csi() -> None:
    numbers = sent(10, random_csi(3))
    numbers[1, 0, -1] = 0
    numbers[2, 1] = 0
    _, lost, arrived = CsiNumbers.of_steps(STEPS, 10, SHAPE).read(numbers)
    assert arrived.tolist() == [[True, True], [False, True], [True, False]]
    assert (lost[~arrived] == 1).all()


def test_no_number_that_is_sent_is_zero() -> None:
    numbers = CsiNumbers.of_steps(STEPS, 10, SHAPE)
    assert (numbers.written(0, np.zeros((1, *SHAPE), np.complex128)) != 0).all()
    csi = random_csi(1)
    csi[0, 0, 0] = 0
    assert (numbers.written(1, csi) != 0).all()


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
