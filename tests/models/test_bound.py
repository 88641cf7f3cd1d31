"""The bound against the information of the whole signal, differentiated number by number."""

import numpy as np
import pytest

from models.bound import DELAYS, Delay, link_information, position_information, root_mean_square_m
from models.synthesis import SPEED_OF_LIGHT_MPS, Radio, world_from_array
from tests.models.waves import waves

RADIO = Radio(slots=2, subcarrier_stride=48)  # six subcarriers
SITES = np.array([[125.5, 82.1, 27.5], [27.7, 204.0, 32.5], [165.4, -1.1, 36.5], [-116.0, 48.0, 42.5]])
MUNICH6 = np.array([*SITES.tolist(), [129.7, 156.6, 26.0], [-67.6, -53.5, 29.0]])
BORESIGHT = np.array([30.0, 60.0, 10.0])
UE = np.array([40.0, 30.0, 3.0])
SNR = np.array([10.0, 3.0, 0.0, 30.0])


def rotations(sites: np.ndarray) -> np.ndarray:
    return np.stack([world_from_array(site, BORESIGHT) for site in sites])


def heard(unknown: np.ndarray, radio: Radio = RADIO) -> np.ndarray:
    """Signal of all links, in units of the noise's deviation.

    Args:
        unknown: Position, clock offset (in metres), then real and imaginary gain per site and slot.
    """
    gains = unknown[4:].reshape(len(SITES), radio.slots, 2) @ np.array([1, 1j])
    links = []
    for bs, (site, rotation) in enumerate(zip(SITES, rotations(SITES), strict=True)):
        offset = unknown[:3] - site
        distance = np.sqrt(offset @ offset)
        delay_s = (distance + unknown[3]) / SPEED_OF_LIGHT_MPS
        reach = radio.antenna_position_m() @ (rotation.T @ offset) / distance
        antennas = np.exp(2j * np.pi * reach / radio.wavelength_m)
        tones = np.exp(-2j * np.pi * radio.frequency_hz() * delay_s)
        links.append(gains[bs][:, None, None] * antennas[:, None] * tones)
    return np.stack(links)


def slow_information(delay: Delay) -> np.ndarray:
    """2 Re(dᴴ d) over all unknowns, those not wanted taken out by the Schur complement."""
    turning = np.exp(1j * np.arange(len(SITES) * RADIO.slots)).reshape(len(SITES), RADIO.slots)
    gains = np.sqrt(SNR)[:, None] * turning
    unknown = np.concatenate([UE, [4.0], np.stack([gains.real, gains.imag], -1).ravel()])
    columns = []
    for number in range(len(unknown)):
        step = 1e-4 * np.eye(len(unknown))[number]
        columns.append((heard(unknown + step) - heard(unknown - step)).ravel() / 2e-4)
    derivative = np.stack(columns, axis=1)
    if delay == "synchronised":
        derivative = np.delete(derivative, 3, axis=1)
    information = 2 * (derivative.conj().T @ derivative).real
    ours, others = information[:3, 3:], information[3:, 3:]
    return np.asarray(information[:3, :3] - ours @ np.linalg.pinv(others, rcond=1e-9) @ ours.T)


@pytest.mark.parametrize("delay", ["synchronised", "ue_unknown"])
def test_it_is_the_information_of_the_whole_signal(delay: Delay) -> None:
    found = position_information(UE[None], SITES, rotations(SITES), SNR[None], RADIO, delay)[0]
    wanted = slow_information(delay)
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5 * np.abs(wanted).max())


def test_the_signal_of_this_test_is_that_of_the_channel() -> None:
    gains = np.ones((len(SITES), RADIO.slots, 2)) * [1.0, 0.0]
    ours = heard(np.concatenate([UE, [0.0], gains.ravel()]))
    for bs, (site, rotation) in enumerate(zip(SITES, rotations(SITES), strict=True)):
        offset = UE - site
        distance_m = np.linalg.norm(offset)
        delay_s = distance_m / SPEED_OF_LIGHT_MPS
        theirs = waves(offset[None] / distance_m, [delay_s], radio=RADIO, rotation=rotation)
        turn = theirs[0, 0, 0] / ours[bs, 0, 0, 0]
        assert theirs == pytest.approx(ours[bs] * turn, abs=1e-4)


def test_a_deleted_delay_says_nothing_and_a_bad_clock_next_to_nothing() -> None:
    def information(delay: Delay, bs_sync_s: float = 0.0) -> np.ndarray:
        return position_information(
            UE[None], SITES, rotations(SITES), SNR[None], RADIO, delay, bs_sync_s=bs_sync_s
        )

    deleted = information("deleted")
    assert information("synchronised", 1.0) == pytest.approx(deleted)
    assert information("ue_unknown", 1.0) == pytest.approx(deleted)
    bounds = [
        float(root_mean_square_m(information(*arguments))[0])
        for arguments in (
            ("synchronised", 0.0),
            ("ue_unknown", 0.0),
            ("ue_unknown", 1e-9),
            ("ue_unknown", 5e-9),
            ("deleted", 0.0),
        )
    ]
    assert bounds == sorted(bounds)


def test_one_link_in_numbers() -> None:
    """2·1920 resource elements; π² times 1.25 and 0.25 squared half wavelengths; 720 kHz, 24 of them."""
    rms_hz = 720e3 * ((24**2 - 1) / 12) ** 0.5
    wanted = 3840 * np.array([np.pi**2 * 1.25, np.pi**2 * 0.25, (2 * np.pi * rms_hz) ** 2])
    assert link_information(Radio()) == pytest.approx(wanted)


def test_six_sites_in_sight_at_ten_decibels() -> None:
    """Root mean square over the city; what models are to be compared with is 0.14, 0.17 and 0.30 m."""
    position = np.random.default_rng(1).uniform([-80, -90, 0.5], [140, 210, 30], (500, 3))
    bounds = [
        float(
            np.mean(
                root_mean_square_m(
                    position_information(
                        position, MUNICH6, rotations(MUNICH6), np.full((500, 6), 10.0), Radio(), delay
                    )
                )
                ** 2
            )
            ** 0.5
        )
        for delay in DELAYS
    ]
    assert bounds == pytest.approx([0.14, 0.17, 0.30], abs=0.025)


def test_one_site_bounds_nothing() -> None:
    alone = np.array([[10.0, 0.0, 0.0, 0.0]])
    for delay in DELAYS:
        information = position_information(UE[None], SITES, rotations(SITES), alone, RADIO, delay)
        assert np.isfinite(root_mean_square_m(information)[0]) == (delay == "synchronised")
