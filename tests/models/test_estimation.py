"""Pilots (2) and their LMMSE estimate (3)–(4)."""

import numpy as np
import pytest

from models.estimation import LmmseEstimator, covariance, pilot_symbols

RNG = np.random.default_rng(1)
SLOTS, ANTENNAS, SUBCARRIERS = 3, 4, 6


def gaussian(*shape: int) -> np.ndarray:
    draws = RNG.standard_normal((*shape, 2))
    result: np.ndarray = (draws[..., 0] + 1j * draws[..., 1]) / 2**0.5
    return result


def some_covariance() -> np.ndarray:
    root = gaussian(SUBCARRIERS, ANTENNAS, ANTENNAS)
    result: np.ndarray = root @ root.conj().swapaxes(-1, -2)
    return result


@pytest.mark.parametrize("num_sc", [1, 7, 24])
def test_pilots_have_constant_modulus(num_sc: int) -> None:
    assert np.abs(pilot_symbols(num_sc)) == pytest.approx(1.0, abs=1e-6)


def test_estimate_is_equation_4() -> None:
    symbols = gaussian(SUBCARRIERS) + 2.0
    channel_covariance, noise_variance = some_covariance(), 0.3
    pilots = gaussian(SLOTS, ANTENNAS, SUBCARRIERS)
    estimated = LmmseEstimator(channel_covariance, symbols).estimate(pilots, noise_variance)
    assert estimated.dtype == np.complex64
    for t in range(SLOTS):
        for n in range(SUBCARRIERS):
            x, R = symbols[n], channel_covariance[n]
            inverse = np.linalg.inv(abs(x) ** 2 * R + noise_variance * np.eye(ANTENNAS))
            wanted = R @ (x.conjugate() * inverse) @ pilots[t, :, n]
            assert estimated[t, :, n] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_white_covariance_and_constant_modulus_give_a_scaled_matched_filter() -> None:
    power, noise_variance = 2.5, 0.4
    symbols = pilot_symbols(SUBCARRIERS)
    white = np.broadcast_to(power * np.eye(ANTENNAS), (SUBCARRIERS, ANTENNAS, ANTENNAS))
    pilots = gaussian(SLOTS, ANTENNAS, SUBCARRIERS)
    estimated = LmmseEstimator(white, symbols).estimate(pilots, noise_variance)
    matched = symbols.conj() * pilots * (power / (power + noise_variance))
    assert estimated == pytest.approx(matched, abs=1e-5)


def test_estimate_is_better_than_dividing_by_the_pilots() -> None:
    channel_covariance, noise_variance, samples = some_covariance(), 2.0, 2000
    root = np.linalg.cholesky(channel_covariance)
    channel = np.einsum("nmk,tkn->tmn", root, gaussian(samples, ANTENNAS, SUBCARRIERS))
    symbols = pilot_symbols(SUBCARRIERS)
    heard = channel * symbols + noise_variance**0.5 * gaussian(*channel.shape)
    estimated = LmmseEstimator(channel_covariance, symbols).estimate(heard, noise_variance)
    error = np.mean(np.abs(estimated - channel) ** 2)
    expected = np.mean(
        [
            np.trace(R - R @ np.linalg.inv(R + noise_variance * np.eye(ANTENNAS)) @ R).real / ANTENNAS
            for R in channel_covariance
        ]
    )
    assert error == pytest.approx(expected, rel=0.05)
    assert error < 0.7 * np.mean(np.abs(heard / symbols - channel) ** 2)


def test_covariance_is_the_mean_of_outer_products() -> None:
    csi = gaussian(5, 2, SLOTS, ANTENNAS, SUBCARRIERS).astype(np.complex64)
    found = covariance(csi)
    assert found.shape == (2, SUBCARRIERS, ANTENNAS, ANTENNAS)
    for bs in range(2):
        for n in range(SUBCARRIERS):
            columns = [csi[s, bs, t, :, n] for s in range(5) for t in range(SLOTS)]
            wanted = sum(np.outer(h, h.conj()) for h in columns) / len(columns)
            assert found[bs, n] == pytest.approx(wanted, abs=1e-5)


def test_filters_are_kept_for_the_same_noise_alone() -> None:
    estimator = LmmseEstimator(some_covariance(), pilot_symbols(SUBCARRIERS))
    assert estimator.filters(0.5) is estimator.filters(0.5)
    assert not np.allclose(estimator.filters(0.5), estimator.filters(5.0))


def test_wrong_shapes_and_values_are_refused() -> None:
    symbols = pilot_symbols(SUBCARRIERS)
    with pytest.raises(ValueError, match="do not fit together"):
        LmmseEstimator(some_covariance(), symbols[:-1])
    with pytest.raises(ValueError, match="must not be zero"):
        LmmseEstimator(some_covariance(), symbols * 0)
    with pytest.raises(ValueError, match="noise variance must be positive, not 0"):
        LmmseEstimator(some_covariance(), symbols).filters(0)
    with pytest.raises(ValueError, match=r"csi must be \[samples, bs, slots, antennas, subcarriers\]"):
        covariance(gaussian(2, 3))
