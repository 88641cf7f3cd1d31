"""MUSIC against closed forms: a plane wave, two of them, the bound on its variance, slow implementations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.music import (
    LONGEST_STEP,
    Music,
    _newton_step,
    forward_backward,
    source_count,
    spatial_covariance,
)
from models.synthesis import world_from_array
from tests.models.waves import RADIO, unit, waves

MUSIC = Music()


def noise(*shape: int, variance: float, seed: int = 1) -> np.ndarray:
    draws = np.random.default_rng(seed).standard_normal((*shape, 2)) * (variance / 2) ** 0.5
    return np.asarray(draws[..., 0] + 1j * draws[..., 1])


@given(st.floats(0, 0.95), st.floats(-math.pi, math.pi), st.floats(0, 1e-6))
def test_one_wave_is_found_off_the_grid_to_a_tenth_of_a_degree_broadside(
    sine: float, turn: float, delay_s: float
) -> None:
    """Asked of direction cosines, whose error (0.02° rms) does not grow towards the array's plane."""
    k_y, k_z = sine * math.cos(turn), sine * math.sin(turn)
    csi = waves(unit(k_y, k_z)[None], [delay_s])
    found = MUSIC.arrivals(csi + noise(*csi.shape, variance=1e-3), 1e-3)
    assert math.hypot(float(found.k_y) - k_y, float(found.k_z) - k_z) < math.radians(0.1)
    assert found.snr == pytest.approx(1e3, rel=0.05)


def test_directions_are_those_of_the_world_turned_into_the_array() -> None:
    site, look_at, ue = np.array([[125.5, 82.1, 27.5], [30.0, 60.0, 10.0], [90.0, 40.0, 1.5]])
    rotation = world_from_array(site, look_at)
    towards = (ue - site) / np.linalg.norm(ue - site)
    csi = waves(towards[None], [1e-7], rotation=rotation)
    found = MUSIC.arrivals(csi, 1e-6)
    assert rotation @ unit(float(found.k_y), float(found.k_z)) == pytest.approx(towards, abs=1e-4)


def test_pilot_symbols_of_unit_modulus_do_not_matter() -> None:
    csi = waves(unit(0.3, -0.2)[None], [2e-7])
    symbols = np.exp(1j * np.arange(24) ** 2)
    assert spatial_covariance(csi * symbols) == pytest.approx(spatial_covariance(csi), abs=1e-6)


def test_covariance_and_its_forward_backward_average_by_loops() -> None:
    csi = noise(3, 4, 5, variance=1.0)
    plain = np.zeros((4, 4), complex)
    for t in range(3):
        for n in range(5):
            h = csi[t, :, n]
            plain += np.outer(h, h.conj()) / 15
    assert spatial_covariance(csi) == pytest.approx(plain)
    averaged = np.zeros((4, 4), complex)
    for t in range(3):
        for n in range(5):
            h = csi[t, :, n]
            mirrored = np.array([h[3 - m].conjugate() for m in range(4)])
            averaged += (np.outer(h, h.conj()) + np.outer(mirrored, mirrored.conj())) / 30
    assert forward_backward(spatial_covariance(csi)) == pytest.approx(averaged)


def test_forward_backward_leaves_a_plane_wave_as_it_is() -> None:
    plain = spatial_covariance(waves(unit(0.4, 0.3)[None], [1e-7]))
    assert forward_backward(plain) == pytest.approx(plain, abs=1e-5)


def test_the_null_spectrum_is_the_quadratic_form_of_steering_vectors() -> None:
    half = noise(8, 8, variance=1.0)
    matrix = half + half.conj().T
    place = RADIO.antenna_position_m() / RADIO.wavelength_m * 2 * math.pi
    for k in np.random.default_rng(2).uniform(-0.7, 0.7, (5, 2)):
        steering = np.exp(1j * place @ np.array([0.0, *k]))
        assert MUSIC.steering(k) == pytest.approx(steering)
        wanted = (steering.conj() @ matrix @ steering).real
        waves, at = MUSIC.waves(matrix), np.array([complex(*k)])
        assert MUSIC._value(waves, at) == pytest.approx(wanted)
        step = 1e-4
        gradient, middle, spread = MUSIC._derivatives(waves, at)
        for move in (step, 1j * step):
            rise = (MUSIC._value(waves, at + move) - MUSIC._value(waves, at - move)) / (2 * step)
            along = gradient.real if move == step else gradient.imag
            assert along == pytest.approx(rise, rel=1e-4, abs=1e-3)
            slope = MUSIC._derivatives(waves, at + move)[0] - gradient
            assert middle * move + spread * np.conj(move) == pytest.approx(slope, rel=1e-2, abs=0.5 * step)


@given(st.complex_numbers(max_magnitude=9), st.floats(-9, 9), st.complex_numbers(max_magnitude=9))
def test_a_step_is_newtons_with_the_magnitudes_of_curvatures(g: complex, middle: float, q: complex) -> None:
    second = np.array([[middle + q.real, q.imag], [q.imag, middle - q.real]])
    values, vectors = np.linalg.eigh(second)
    wanted = -vectors @ ((vectors.T @ [g.real, g.imag]) / np.maximum(np.abs(values), 0.5))
    wanted *= min(1, LONGEST_STEP / max(float(np.linalg.norm(wanted)), 1e-12))
    found = _newton_step(np.array([g]), np.array([middle]), np.array([q]))
    assert [found[0].real, found[0].imag] == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("sources", [0, 1, 2, 3])
def test_sources_are_counted(sources: int) -> None:
    directions = np.array([unit(0.6, 0.1), unit(-0.3, 0.2), unit(0.1, -0.5)])[:sources]
    steering = MUSIC.steering(directions[:, 1:]).T  # [num_ant, sources]
    right = 0
    for seed in range(20):
        signals = noise(sources, 240, variance=1.0, seed=seed)
        heard = steering @ signals + noise(8, 240, variance=0.1, seed=100 + seed)
        eigenvalues = np.linalg.eigvalsh(heard @ heard.conj().T / 240)
        right += int(source_count(eigenvalues, 240)) == sources
    assert right >= 19


def test_the_length_of_a_description_by_loops() -> None:
    eigenvalues = np.sort(np.random.default_rng(4).exponential(1.0, (10, 6)) ** 2, axis=1)
    for row in eigenvalues:
        lengths = []
        for k in range(6):
            smallest = row[: 6 - k]
            ratio = float(np.prod(smallest) ** (1 / (6 - k)) / np.mean(smallest))
            lengths.append(-50 * (6 - k) * math.log(ratio) + 0.5 * k * (12 - k) * math.log(50))
        assert source_count(row, 50) == int(np.argmin(lengths))


def test_of_two_waves_the_stronger_is_reported_at_its_own_direction() -> None:
    """A beam would be pulled towards the weaker one; MUSIC is not."""
    directions = np.array([unit(0.05, 0.1), unit(0.55, -0.1)])
    csi = waves(directions, [1e-7, 4e-7], [1.0, 0.7])
    found = MUSIC.arrivals(csi + noise(*csi.shape, variance=1e-4), 1e-4)
    assert float(found.k_y) == pytest.approx(0.05, abs=2e-3)
    assert float(found.k_z) == pytest.approx(0.1, abs=5e-3)


def test_the_claimed_deviation_is_the_bound_and_is_reached() -> None:
    """The variance of a single wave's direction is 1 / (2 N SNR d^H P d), d the derivative of steering."""
    k, snr, draws = np.array([0.2, 0.1]), 10.0, 400
    signals = noise(draws, 240, variance=snr, seed=5)
    heard = MUSIC.steering(k)[:, None] * signals[:, None] + noise(draws, 8, 240, variance=1.0, seed=6)
    found = MUSIC.arrivals(heard[:, None], 1.0)
    # Columns at ±0.5, ±1.5 of half a wavelength, rows at ±0.5: sums of squares over the antennas.
    for values, claimed, squares in (
        (found.k_y, found.sigma_y, 2 * 2 * (0.5**2 + 1.5**2)),
        (found.k_z, found.sigma_z, 8 * 0.5**2),
    ):
        bound = (2 * 240 * snr * math.pi**2 * squares) ** -0.5
        assert np.median(claimed) == pytest.approx(bound, rel=0.05)
        assert values.std() == pytest.approx(bound, rel=0.15)


def test_links_come_out_in_their_order() -> None:
    k = np.random.default_rng(7).uniform(-0.6, 0.6, (2, 3, 2))
    csi = np.stack([np.stack([waves(unit(*link)[None], [1e-7]) for link in row]) for row in k])
    found = MUSIC.arrivals(csi, np.array([1e-4, 1e-3, 1e-2]))
    assert found.k_y == pytest.approx(k[..., 0], abs=1e-4)
    assert found.k_z == pytest.approx(k[..., 1], abs=1e-4)
    assert found.snr[0] == pytest.approx([1e4, 1e3, 1e2], rel=0.01)


def test_silence_is_no_error() -> None:
    found = MUSIC.arrivals(np.zeros((2, 10, 8, 24), np.complex64), 1.0)
    assert np.isfinite([found.k_y, found.k_z, found.sigma_y, found.sigma_z, found.snr]).all()
    assert (found.sigma_y > 0.03).all()


def test_other_antennas_are_refused() -> None:
    with pytest.raises(ValueError, match="CSI of 6 antennas, 8 expected"):
        MUSIC.arrivals(np.zeros((1, 6, 4), np.complex64), 1.0)
