"""The angle–delay power matrix: against loops, and against the closed form of a single path."""

import cmath
import math

import numpy as np
import pytest
import torch

from models.adcpm import adcpm
from models.synthesis import SPEED_OF_LIGHT_MPS
from tests.models.waves import RADIO, unit, waves


def one_path(k_y: float, k_z: float, delay_s: float, gain: complex = 2.0) -> np.ndarray:
    """CSI of one plane wave ``[num_slots, num_ant, num_sc]``; directions are those of the array."""
    return waves(unit(k_y, k_z)[None], [delay_s], [gain], velocity_mps=(1.0, 1.0, 1.0))


def dirichlet(turns: float, count: int) -> float:
    """Power of a tone in a cell of a unitary transform that it misses by so many turns per element."""
    if abs(turns - round(turns)) < 1e-12:
        return float(count)
    return (math.sin(math.pi * count * turns) / math.sin(math.pi * turns)) ** 2 / count


def test_a_single_path_has_its_closed_form() -> None:
    k_y, k_z, delay_s, gain = 0.31, -0.22, 333e-9, 1.5
    power = adcpm(one_path(k_y, k_z, delay_s, gain), 1e-12)
    spacing_hz = RADIO.subcarrier_spacing_hz * RADIO.subcarrier_stride
    for v in range(2):
        for h in range(4):
            for d in range(24):
                wanted = (
                    gain**2
                    * dirichlet(k_y / 2 - (h - 2) / 4, 4)
                    * dirichlet(-k_z / 2 - v / 2, 2)
                    * dirichlet(d / 24 - delay_s * spacing_hz, 24)
                )
                assert power[v, h, d] == pytest.approx(wanted, rel=2e-3, abs=2e-4)


@pytest.mark.parametrize(
    ("k_y", "k_z", "cell"),
    [(0.0, 0.0, (0, 2, 5)), (0.5, 0.0, (0, 3, 5)), (-0.5, 0.0, (0, 1, 5)), (0.0, -1.0, (1, 2, 5))],
)
def test_a_path_on_the_grid_is_in_one_cell(k_y: float, k_z: float, cell: tuple[int, int, int]) -> None:
    delay_s = 5 / (24 * 720e3)
    power = adcpm(one_path(k_y, k_z, delay_s), 1e-3)
    assert np.unravel_index(power.argmax(), power.shape) == cell
    assert power[cell] == pytest.approx(4.0 * 8 * 24, rel=1e-4)
    assert (np.delete(power.ravel(), power.argmax()) == np.float32(1e-3)).all()
    assert SPEED_OF_LIGHT_MPS * delay_s == pytest.approx(86.7, abs=0.1)


def test_it_is_the_power_of_two_transforms_by_loops() -> None:
    draws = np.random.default_rng(1).standard_normal((3, 6, 5, 2))
    csi = (draws[..., 0] + 1j * draws[..., 1]).astype(np.complex64)
    power = adcpm(csi, 1e-9, rows=2, columns=3)
    for v in range(2):
        for h in range(3):
            for d in range(5):
                total = 0.0
                for t in range(3):
                    cell = 0j
                    for column in range(3):
                        for row in range(2):
                            for n in range(5):
                                turns = -v * row / 2 - (h - 1) * column / 3 + n * d / 5
                                cell += complex(csi[t, 2 * column + row, n]) * cmath.exp(
                                    2j * cmath.pi * turns
                                )
                    total += abs(cell) ** 2 / (6 * 5)
                assert power[v, h, d] == pytest.approx(total / 3, rel=1e-5)


def test_energy_is_kept_and_slot_phases_do_not_matter() -> None:
    csi = one_path(0.3, 0.1, 200e-9)
    power = adcpm(csi, 1e-12)
    assert power.sum() == pytest.approx(np.mean(np.sum(np.abs(csi) ** 2, axis=(1, 2))), rel=1e-4)
    turned = csi * np.exp(1j * np.arange(10) ** 2)[:, None, None].astype(np.complex64)
    assert adcpm(turned, 1e-12) == pytest.approx(power, rel=1e-3, abs=1e-3)


def test_nothing_is_below_the_noise() -> None:
    assert (adcpm(np.zeros((10, 8, 24), np.complex64), 0.3) == np.float32(0.3)).all()


def test_torch_gives_the_same() -> None:
    csi = np.stack([one_path(0.2, 0.1, 1e-7), one_path(-0.7, 0.0, 9e-7)])
    assert adcpm(torch.tensor(csi), 0.1).numpy() == pytest.approx(adcpm(csi, 0.1), rel=1e-5)


def test_another_array_is_refused() -> None:
    with pytest.raises(ValueError, match="6 antennas are no array of 2 rows and 4 columns"):
        adcpm(np.zeros((1, 6, 4), np.complex64))
