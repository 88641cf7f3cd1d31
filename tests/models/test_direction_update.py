"""Directions make a fix sharper, unless they are of something else: against enumeration and chance."""

from itertools import product

import numpy as np
import pytest

from models.direction_update import ERRORS, SHARES, DirectionUpdate, fit_shares, shares
from models.intersection import Intersection
from models.music import Arrivals
from tests.models.test_intersection import HIGH, LINES, LOW, SITES, inside, towards

UPDATE = DirectionUpdate(LINES, scale=1.0)


def prior(position_m: np.ndarray, sigma_m: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Fixes with this error along each axis, and their covariances."""
    draws = np.random.default_rng(seed).normal(0, sigma_m, position_m.shape)
    return position_m + draws, np.broadcast_to(np.eye(3) * sigma_m**2, (len(position_m), 3, 3))


def drawn(position_m: np.ndarray, seed: int) -> Arrivals:
    """Arrivals as the model of errors has them."""
    draws = np.random.default_rng(seed)
    exact = towards(position_m)
    snr = 10 ** draws.uniform(1.5, 4, exact.k_y.shape)
    kind = (draws.random((*snr.shape, 1)) > shares(snr).cumsum(axis=-1)).sum(axis=-1)
    error = draws.standard_normal((*snr.shape, 2)) * ERRORS[np.minimum(kind, 3)][..., None]
    return Arrivals(exact.k_y + error[..., 0], exact.k_z + error[..., 1], exact.sigma_y, exact.sigma_z, snr)


def test_directions_that_agree_make_decimetres_of_metres() -> None:
    position = inside(1, 50)
    before, covariance = prior(position, 1.0)
    arrivals = towards(position, 1e-4)
    arrivals.snr[:] = 1e4
    after, narrower = UPDATE.fix(before, covariance, arrivals, np.ones((50, 6), bool))
    assert np.linalg.norm(after - position, axis=1).max() < 0.15
    assert np.trace(narrower, axis1=1, axis2=2).max() < 0.1


def test_a_direction_of_something_else_is_not_believed() -> None:
    position = inside(2, 50)
    before, covariance = prior(position, 0.3)
    arrivals = towards(position, 1e-4)
    arrivals.k_y[:] += 0.15
    arrivals.snr[:] = 1e3
    after, _ = UPDATE.fix(before, covariance, arrivals, np.ones((50, 6), bool))
    assert after == pytest.approx(before, abs=0.02)


def test_without_directions_the_fix_is_what_it_was() -> None:
    position = inside(3)
    before, covariance = prior(position, 1.0)
    arrivals = towards(position, 1e-4)
    after, same = UPDATE.fix(before, covariance, arrivals, np.zeros((10, 6), bool))
    assert after == pytest.approx(before)
    assert same == pytest.approx(covariance)


def test_the_absent_do_not_count() -> None:
    position = inside(4)
    before, covariance = prior(position, 1.0)
    present = np.ones((10, 6), bool)
    present[:5, 2] = False
    arrivals = drawn(position, 4)
    fixes = []
    for _ in range(2):
        fixes.append(UPDATE.fix(before, covariance, arrivals, present)[0])
        arrivals.k_y[:, 2] += 0.003
    assert (fixes[0][:5] == fixes[1][:5]).all()
    assert (fixes[0][5:] != fixes[1][5:]).any()


def test_the_mixture_by_enumeration() -> None:
    """All kinds of all directions, each with its posterior and evidence written out, for one UE."""
    few = Intersection(SITES[:3], LINES.world_from_array[:3], LOW, HIGH)
    position = inside(5, 1)
    before, covariance = prior(position, 0.05)
    six = drawn(position, 6)
    arrivals = Arrivals(
        six.k_y[:, :3], six.k_z[:, :3], six.sigma_y[:, :3], six.sigma_z[:, :3], six.snr[:, :3]
    )
    arrivals.k_y[0] = towards(position).k_y[0, :3] + [1e-3, -2e-2, 4e-4]
    arrivals.k_z[0] = towards(position).k_z[0, :3] + [-5e-4, 1e-2, 3e-4]
    everything = DirectionUpdate(few, hypotheses=64, scale=1.0)
    found, spread = everything.fix(before, covariance, arrivals, np.ones((1, 3), bool))
    across, _ = few.across(arrivals)
    means, covariances, weights = [], [], []
    for kinds in product(range(4), repeat=3):
        rows, missed, variance, weight = [], [], [], 1.0
        for bs, kind in enumerate(kinds):
            offset = before[0] - SITES[bs]
            turn = across[0, bs] / np.linalg.norm(offset)
            noise = np.array([arrivals.sigma_y[0, bs], arrivals.sigma_z[0, bs]]) ** 2 + ERRORS[kind] ** 2
            weight *= SHARES[np.searchsorted([0, 10, 20, 25, 30, 35], 10 * np.log10(arrivals.snr[0, bs]))][
                kind
            ]
            if kind < 2:
                rows.append(turn)
                missed.append(-turn @ offset)
                variance.append(noise)
            else:
                spread_k = turn @ covariance[0] @ turn.T + np.diag(noise)
                y = -turn @ offset
                weight *= np.exp(-y @ np.linalg.solve(spread_k, y) / 2) / np.linalg.det(spread_k) ** 0.5
        mean, left = before[0], covariance[0]
        if rows:
            turn, y = np.concatenate(rows), np.concatenate(missed)
            spread_k = turn @ covariance[0] @ turn.T + np.diag(np.concatenate(variance))
            gain = covariance[0] @ turn.T @ np.linalg.inv(spread_k)
            mean, left = before[0] + gain @ y, covariance[0] - gain @ turn @ covariance[0]
            weight *= np.exp(-y @ np.linalg.solve(spread_k, y) / 2) / np.linalg.det(spread_k) ** 0.5
        means.append(mean)
        covariances.append(left)
        weights.append(weight)
    share = np.array(weights) / np.sum(weights)
    mean = share @ np.array(means)
    apart = np.array(means) - mean
    wanted = np.einsum("h,hij->ij", share, np.array(covariances) + apart[:, :, None] * apart[:, None, :])
    assert found[0] == pytest.approx(mean, abs=2e-4)
    assert spread[0] == pytest.approx(wanted, rel=0.03, abs=2e-6)


def test_covariances_are_honest_where_the_model_of_errors_holds() -> None:
    position = inside(7, 600)
    before, covariance = prior(position, 0.5)
    after, narrower = UPDATE.fix(before, covariance, drawn(position, 8), np.ones((600, 6), bool))
    error = after - position
    squared = (error * np.linalg.solve(narrower, error[..., None])[..., 0]).sum(axis=1) / 3
    assert squared.mean() == pytest.approx(1.0, abs=0.25)
    lengths = np.linalg.norm(np.stack([error, before - position]), axis=-1)
    assert np.median(lengths[0]) < np.median(lengths[1]) / 3


def test_shares_are_found_again_from_errors_drawn_with_them() -> None:
    draws = np.random.default_rng(9)
    snr = 10 ** draws.uniform(-1, 4.5, 60_000)
    kind = (draws.random((len(snr), 1)) > shares(snr).cumsum(axis=-1)).sum(axis=-1)
    error = draws.standard_normal((len(snr), 2)) * ERRORS[np.minimum(kind, 3)][:, None]
    exact = np.full(len(snr), 1e-5)
    found = fit_shares(Arrivals(exact, exact, exact, exact, snr), error)
    assert found == pytest.approx(SHARES, abs=0.03)
    assert found.sum(axis=1) == pytest.approx(np.ones(7))
