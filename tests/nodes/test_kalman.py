"""The vectorised filter against plain matrices, closed forms and its own invariants."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes import kalman

Float64 = npt.NDArray[np.float64]


def random_covariances(generator: np.random.Generator, size: int, num: int) -> Float64:
    root = generator.normal(size=(num, size, size))
    return np.ascontiguousarray((root @ root.transpose(0, 2, 1) + 0.1 * np.eye(size)).transpose(1, 2, 0))


def matrices(dt_s: float, density: float) -> tuple[Float64, Float64]:
    eye = np.eye(3)
    F = np.block([[eye, dt_s * eye], [np.zeros((3, 3)), eye]])
    Q = density * np.block([[dt_s**3 / 3 * eye, dt_s**2 / 2 * eye], [dt_s**2 / 2 * eye, dt_s * eye]])
    return F, Q


def test_predict_is_the_textbook_in_plain_matrices() -> None:
    generator = np.random.default_rng(1)
    states, covariances = generator.normal(size=(6, 9)), random_covariances(generator, 6, 9)
    dt_s = generator.uniform(0, 2, 9)
    state, covariance = kalman.predict(states, covariances, dt_s, 0.7)
    for target in range(9):
        F, Q = matrices(dt_s[target], 0.7)
        np.testing.assert_allclose(state[:, target], F @ states[:, target], rtol=1e-13)
        expected = F @ covariances[:, :, target] @ F.T + Q
        np.testing.assert_allclose(covariance[:, :, target], expected, rtol=1e-12)


def test_update_is_the_textbook_in_plain_matrices() -> None:
    generator = np.random.default_rng(2)
    states, covariances = generator.normal(size=(6, 9)), random_covariances(generator, 6, 9)
    fixes, spreads = generator.normal(size=(3, 9)), random_covariances(generator, 3, 9)
    state, covariance = kalman.update(states, covariances, fixes, spreads)
    distance = kalman.distance_squared(states, covariances, fixes, spreads)
    H = np.eye(3, 6)
    for target in range(9):
        P, R = covariances[:, :, target], spreads[:, :, target]
        innovation = fixes[:, target] - states[:3, target]
        S = H @ P @ H.T + R
        K = P @ H.T @ np.linalg.inv(S)
        np.testing.assert_allclose(state[:, target], states[:, target] + K @ innovation, rtol=1e-9)
        np.testing.assert_allclose(covariance[:, :, target], P - K @ S @ K.T, rtol=1e-8, atol=1e-10)
        assert distance[target] == pytest.approx(innovation @ np.linalg.solve(S, innovation), rel=1e-9)


def test_two_predictions_are_one_over_the_whole_time() -> None:
    generator = np.random.default_rng(3)
    state, covariance = generator.normal(size=(6, 4)), random_covariances(generator, 6, 4)
    first, second = np.full(4, 0.3), np.full(4, 1.1)
    in_two = kalman.predict(*kalman.predict(state, covariance, first, 2.0), second, 2.0)
    at_once = kalman.predict(state, covariance, first + second, 2.0)
    np.testing.assert_allclose(in_two[0], at_once[0], rtol=1e-12)
    np.testing.assert_allclose(in_two[1], at_once[1], rtol=1e-12)


@given(st.integers(0, 2**32), st.floats(-6, 6), st.floats(-6, 6), st.floats(0, 1e3))
@settings(deadline=None)
def test_covariance_stays_symmetric_positive_definite(
    seed: int, log_spread: float, log_fix: float, dt_s: float
) -> None:
    """Through any ratio of what is known before to what a fix says, and any pause."""
    generator = np.random.default_rng(seed)
    covariance = random_covariances(generator, 6, 2) * 10**log_spread
    spread = random_covariances(generator, 3, 2) * 10**log_fix
    state, fix = np.zeros((6, 2)), np.ones((3, 2))
    for _ in range(3):
        state, covariance = kalman.predict(state, covariance, np.full(2, dt_s), 1.0)
        state, covariance = kalman.update(state, covariance, fix, spread)
        np.testing.assert_array_equal(covariance, covariance.transpose(1, 0, 2))
        # Scaled to a unit diagonal: positions and velocities differ by orders of magnitude.
        scale = 1 / np.sqrt(np.diagonal(covariance, axis1=0, axis2=1))
        correlation = covariance.transpose(2, 0, 1) * scale[:, :, None] * scale[:, None, :]
        assert np.linalg.eigvalsh(correlation).min() > -1e-12
        assert np.diagonal(covariance, axis1=0, axis2=1).min() > 0


def test_cholesky_tells_what_is_not_positive_definite() -> None:
    good, bad = np.eye(3), np.diag([1.0, -1.0, 1.0])
    root = kalman.cholesky(np.stack([good, bad, np.zeros((3, 3))], axis=-1))
    np.testing.assert_array_equal(root[:, :, 0], good)
    assert np.isnan(root[:, :, 1]).any()
    assert np.isnan(root[:, :, 2]).any()
