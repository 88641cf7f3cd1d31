"""A direction in 80 bits and a Gaussian in 96: what is lost on the way is bounded, and no bit is hidden."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.messages import DirectionMessage, GaussianMessage, product_of_gaussians
from models.music import Arrivals

SITE = np.array([130.0, 80.0, 28.0])
SEEDS = st.integers(0, 2**32 - 1)


def gaussians(seed: int, count: int = 20, coupling: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Means within a kilometre of the site, and covariances along the axes that the site sees."""
    draws = np.random.default_rng(seed)
    offset = draws.uniform(-1000, 1000, (count, 3))
    radial = offset / np.linalg.norm(offset, axis=1, keepdims=True)
    level = np.cross([0.0, 0.0, 1.0], radial)
    level /= np.linalg.norm(level, axis=1, keepdims=True)
    axes = np.stack([radial, level, np.cross(radial, level)], axis=-1)
    sigma = 2.0 ** draws.uniform(-5, 8, (count, 3))
    lower = np.tril(draws.uniform(-coupling, coupling, (count, 3, 3)), -1)
    root = axes @ (sigma[..., None] * (np.eye(3) + lower))
    return SITE + offset, root @ root.swapaxes(-1, -2)


@given(SEEDS)
def test_a_gaussian_keeps_its_place_and_its_shape(seed: int) -> None:
    position, covariance = gaussians(seed)
    mean, arrived = GaussianMessage().sent(position, covariance, SITE)
    assert np.abs(mean - position).max() <= 2.0**-6 + 1e-9
    # Of the covariance's own axes none grows or shrinks by more than a fifth.
    root = np.linalg.cholesky(covariance)
    inside = np.linalg.solve(root, np.linalg.solve(root, arrived).swapaxes(-1, -2))
    ratios = np.linalg.eigvalsh((inside + inside.swapaxes(-1, -2)) / 2) ** 0.5
    assert ratios.min() > 0.8
    assert ratios.max() < 1.2


def test_what_a_site_does_not_know_does_not_spoil_what_it_knows() -> None:
    """Half a metre across and 200 m along the ray stay so: in world axes eight bits could not say it."""
    position = SITE + np.array([[-70.0, 40.0, -20.0]])
    along = (position - SITE)[0] / np.linalg.norm(position - SITE)
    covariance = (0.25 * np.eye(3) + (200.0**2 - 0.25) * np.outer(along, along))[None]
    mean, arrived = GaussianMessage().sent(position, covariance, SITE)
    across = np.cross(along, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    seen = (mean - SITE)[0] / np.linalg.norm(mean - SITE)
    level = np.cross(seen, [0.0, 0.0, 1.0])
    level /= np.linalg.norm(level)
    assert float(level @ arrived[0] @ level) ** 0.5 == pytest.approx(0.5, rel=0.05)
    assert float(seen @ arrived[0] @ seen) ** 0.5 == pytest.approx(200, rel=0.05)


@given(SEEDS)
def test_a_gaussian_is_96_bits(seed: int) -> None:
    message = GaussianMessage()
    indices = message.indices(*gaussians(seed, 1), SITE)[0]
    payload = message.pack(indices)
    assert 8 * len(payload) == message.bits == 96
    assert (message.unpack(payload) == indices).all()


def test_what_is_out_of_range_is_sent_as_its_border() -> None:
    far = SITE + np.array([5000.0, 0.0, 0.0])
    mean, covariance = GaussianMessage().sent(far, 1e9 * np.eye(3), SITE)
    assert mean[0] - SITE[0] == pytest.approx(1024, abs=0.1)
    assert np.diagonal(covariance).max() ** 0.5 == pytest.approx(512, rel=0.05)
    mean, covariance = GaussianMessage().sent(SITE, np.zeros((3, 3)), SITE)
    assert np.isfinite(covariance).all()
    assert mean == pytest.approx(SITE, abs=0.02)


def test_gaussians_multiply_as_their_densities() -> None:
    position, covariance = gaussians(3, 8)
    position = SITE + (position - SITE) / 500
    present = np.array([[True, True, False, True], [False, True, False, False]])
    mean, together = product_of_gaussians(position.reshape(2, 4, 3), covariance.reshape(2, 4, 3, 3), present)
    draws = np.random.default_rng(1).standard_normal((50, 3))

    def log_density(x: np.ndarray, of: np.ndarray, spread: np.ndarray) -> float:
        return float(-(x - of) @ np.linalg.inv(spread) @ (x - of) / 2)

    for row in range(2):
        differences = []
        for x in mean[row] + draws:
            parts = [
                log_density(x, position[4 * row + bs], covariance[4 * row + bs])
                for bs in range(4)
                if present[row, bs]
            ]
            differences.append(sum(parts) - log_density(x, mean[row], together[row]))
        assert np.ptp(differences) < 1e-6 * max(1.0, abs(differences[0]))
    assert mean[1] == pytest.approx(position[5])
    assert together[1] == pytest.approx(covariance[5])


def test_what_nobody_speaks_of_is_refused() -> None:
    with pytest.raises(ValueError, match="no base station"):
        product_of_gaussians(np.zeros((1, 2, 3)), np.eye(3)[None, None].repeat(2, 1), np.zeros((1, 2), bool))


@given(SEEDS)
def test_a_direction_is_80_bits_and_stays_where_it_was(seed: int) -> None:
    draws = np.random.default_rng(seed)
    k = draws.uniform(-0.7, 0.7, (2, 5, 6))
    sigma_y, sigma_z, snr = 10.0 ** draws.uniform(-6, 5, (3, 5, 6))
    message = DirectionMessage()
    indices = message.indices(Arrivals(k[0], k[1], sigma_y, sigma_z, snr))
    arrived = message.arrivals(indices)
    assert np.abs(arrived.k_y - k[0]).max() <= 2.0**-16 + 1e-9
    assert np.abs(arrived.k_z - k[1]).max() <= 2.0**-16 + 1e-9
    for name, wanted in (("sigma_y", sigma_y), ("sigma_z", sigma_z), ("snr", snr)):
        assert getattr(arrived, name) == pytest.approx(wanted, rel=1e-3)
    payload = message.pack(indices[2, 3])
    assert 8 * len(payload) == message.bits == 80
    assert (message.unpack(payload) == indices[2, 3]).all()
