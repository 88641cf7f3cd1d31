"""CSI from paths (1) and displaced paths, against closed forms."""

import cmath
import math
from functools import partial

import numpy as np
import pytest
import torch

from models.synthesis import SPEED_OF_LIGHT_MPS, Radio, displace, synthesise, world_from_array

RADIO = Radio(slots=4)
LAMBDA = RADIO.wavelength_m


def synthesised(paths: list[dict[str, object]], velocity: list[float], clock_s: float = 0.0) -> np.ndarray:
    """CSI of one link whose array looks along x."""

    def column(name: str, kind: type) -> np.ndarray:
        return np.asarray([[path[name] for path in paths]], dtype=kind)

    csi: np.ndarray = synthesise(
        column("gain", np.complex64),
        column("delay_s", np.float64),
        column("ue_direction", np.float64),
        column("bs_direction", np.float64),
        RADIO.antenna_position_m()[None],
        np.asarray([velocity]),
        np.asarray([clock_s]),
        RADIO.slot_time_s(),
        RADIO.frequency_hz(),
        RADIO.carrier_hz,
    )[0]
    return csi


def towards(azimuth: float, elevation: float) -> list[float]:
    return [
        math.cos(elevation) * math.cos(azimuth),
        math.cos(elevation) * math.sin(azimuth),
        math.sin(elevation),
    ]


PATH = {
    "gain": 0.3 - 0.4j,
    "delay_s": 137.31e-9,
    "ue_direction": towards(2.0, 0.1),
    "bs_direction": towards(0.4, -0.2),
}
OTHER = {"gain": 0.2j, "delay_s": 600e-9, "ue_direction": towards(1, 0), "bs_direction": towards(-0.9, 0.3)}


def by_hand(
    path: dict[str, object], velocity: list[float], clock_s: float, t: int, m: int, n: int
) -> complex:
    """One element of (1), in plain numbers: gain, carrier, delay, angle, Doppler."""
    delay_s, gain = path["delay_s"], path["gain"]
    ue, bs = path["ue_direction"], path["bs_direction"]
    assert isinstance(delay_s, float)
    assert isinstance(gain, complex)
    assert isinstance(ue, list)
    assert isinstance(bs, list)
    row, column = m % RADIO.rows, m // RADIO.rows
    y = (column - (RADIO.columns - 1) / 2) * LAMBDA / 2
    z = ((RADIO.rows - 1) / 2 - row) * LAMBDA / 2
    frequency = (n - (RADIO.subcarriers - 1) / 2) * 720e3
    time_s = (t - (RADIO.slots - 1)) * RADIO.slot_s
    doppler_hz = sum(u * v for u, v in zip(ue, velocity, strict=True)) / LAMBDA
    turns = (
        -RADIO.carrier_hz * delay_s
        - frequency * (delay_s + clock_s)
        + (bs[1] * y + bs[2] * z) / LAMBDA
        + doppler_hz * time_s
    )
    return gain * cmath.exp(2j * math.pi * turns)


def test_one_path_is_its_closed_form() -> None:
    velocity, clock_s = [1.0, -2.0, 0.5], 50e-9
    csi = synthesised([PATH], velocity, clock_s)
    assert csi.dtype == np.complex64
    assert csi.shape == (RADIO.slots, RADIO.antennas, RADIO.subcarriers)
    for t in range(RADIO.slots):
        for m in range(RADIO.antennas):
            for n in range(RADIO.subcarriers):
                assert csi[t, m, n] == pytest.approx(by_hand(PATH, velocity, clock_s, t, m, n), abs=2e-5)


def test_paths_add_up() -> None:
    still = [0.0, 0.0, 0.0]
    both = synthesised([PATH, OTHER], still)
    assert both == pytest.approx(synthesised([PATH], still) + synthesised([OTHER], still), abs=1e-6)


def test_delay_is_the_slope_over_frequency_and_doppler_the_one_over_slots() -> None:
    speed = 3.0
    csi = synthesised([PATH], [speed * x for x in towards(2.0, 0.1)])
    over_frequency = np.angle(csi[:, :, 1:] * csi[:, :, :-1].conj())
    assert over_frequency == pytest.approx(-2 * np.pi * 720e3 * 137.31e-9, abs=1e-4)
    over_slots = np.angle(csi[1:] * csi[:-1].conj())
    assert over_slots == pytest.approx(2 * np.pi * speed / LAMBDA * 2e-3, abs=1e-4)


def test_numpy_is_torch() -> None:
    rng = np.random.default_rng(1)
    links, paths = 3, 5
    unit = rng.standard_normal((2, links, paths, 3))
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    arguments = [
        (rng.standard_normal((links, paths)) + 1j * rng.standard_normal((links, paths))).astype(np.complex64),
        rng.uniform(0, 1e-6, (links, paths)),
        unit[0],
        unit[1],
        np.broadcast_to(RADIO.antenna_position_m(), (links, RADIO.antennas, 3)).copy(),
        rng.standard_normal((links, 3)),
        rng.uniform(-1e-7, 1e-7, links),
        RADIO.slot_time_s(),
        RADIO.frequency_hz(),
    ]
    # The carrier comes last.
    by_numpy, by_torch = (
        partial(synthesise, carrier_hz=RADIO.carrier_hz)(*columns)
        for columns in (arguments, [torch.tensor(column) for column in arguments])
    )
    assert by_numpy == pytest.approx(by_torch.numpy(), abs=1e-4)
    moved = [
        rng.uniform(-1, 1, (links, 1, 3)),
        *(arguments[i] for i in (1, 0, 2, 3)),
        np.broadcast_to(np.eye(3), (links, paths, 3, 3)).copy(),
        rng.uniform(10, 200, (links, paths)),
    ]
    for one, other in zip(displace(*moved), displace(*map(torch.tensor, moved)), strict=True):
        assert one == pytest.approx(other.numpy(), rel=1e-6)


def reflected(ue: np.ndarray, bs: np.ndarray, wall_x: float) -> dict[str, np.ndarray | float]:
    """The path over a wall at x = ``wall_x``, from the mirror image of the base station: exact."""
    image = bs * [-1, 1, 1] + [2 * wall_x, 0, 0]
    distance = np.linalg.norm(image - ue)
    leaving = (image - ue) / distance
    touch = ue + leaving * (wall_x - ue[0]) / leaving[0]
    arriving = (touch - bs) / np.linalg.norm(touch - bs)
    return {"distance": float(distance), "leaving": leaving, "arriving": arriving}


@pytest.mark.parametrize("offset", [[1.0, -0.5, 0.7], [0.0, 0.0, -1.5], [-0.2, 1.9, 0.0]])
def test_a_displaced_reflection_is_that_of_the_mirror_image(offset: list[float]) -> None:
    ue, bs, wall_x = np.array([10.0, 5.0, 2.0]), np.array([-30.0, 60.0, 25.0]), 40.0
    before, after = reflected(ue, bs, wall_x), reflected(ue + offset, bs, wall_x)
    mirror = np.diag([-1.0, 1.0, 1.0])
    distance = np.array([[before["distance"]]])
    delay, gain, leaving, arriving = displace(
        np.array(offset)[None, None],
        distance / SPEED_OF_LIGHT_MPS,
        np.array([[0.5 + 0.5j]], np.complex64),
        np.asarray(before["leaving"])[None, None],
        np.asarray(before["arriving"])[None, None],
        mirror[None, None],
        distance,
    )
    assert delay[0, 0] * SPEED_OF_LIGHT_MPS == pytest.approx(after["distance"], abs=1e-6)
    assert leaving[0, 0] == pytest.approx(after["leaving"], abs=1e-9)
    assert arriving[0, 0] == pytest.approx(after["arriving"], abs=1e-9)
    ratio = float(before["distance"]) / float(after["distance"])
    assert gain[0, 0] == pytest.approx((0.5 + 0.5j) * ratio, rel=1e-6)


def test_no_displacement_changes_nothing() -> None:
    direction = np.array(towards(0.3, 0.2))
    arguments = (
        np.array([[2e-7]]),
        np.array([[1j]], np.complex64),
        direction[None, None],
        -direction[None, None],
        np.eye(3)[None, None],
        np.array([[60.0]]),
    )
    for one, other in zip(displace(np.zeros((1, 1, 3)), *arguments), arguments, strict=False):
        assert one == pytest.approx(other, abs=1e-12)


def test_an_arrays_axes_are_a_rotation_without_roll() -> None:
    axes = world_from_array((10.0, 20.0, 30.0), (50.0, -10.0, 5.0))
    assert axes.T @ axes == pytest.approx(np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1.0)
    assert axes[:, 0] == pytest.approx(np.array([40.0, -30.0, -25.0]) / np.linalg.norm([40, 30, 25]))
    assert axes[2, 1] == pytest.approx(0.0)
    assert axes[2, 2] > 0


def test_noise_is_that_of_the_link_budget() -> None:
    """-174 dBm/Hz over 60 kHz with 5 dB noise figure, against 23 dBm spread over 288 subcarriers."""
    noise_dbm = -174 + 10 * math.log10(60e3) + 5
    sent_dbm = 23 - 10 * math.log10(288)
    assert 10 * math.log10(Radio().noise_variance()) == pytest.approx(noise_dbm - sent_dbm)
    assert (Radio().subcarriers, Radio().antennas) == (24, 8)
