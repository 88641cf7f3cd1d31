"""Directions make a fix sharper, unless they are of something else: against enumeration and chance."""

from itertools import product

import numpy as np
import pytest

from models.direction_fit import fit_shares
from models.direction_update import ERRORS, DirectionUpdate, features, shares
from models.intersection import Intersection
from tests.models.test_intersection import HIGH, LINES, LOW, SITES, inside, towards

WEIGHTS = np.zeros((6, 4))
WEIGHTS[1] = [3, 1.5, -1, -2]
UPDATE = DirectionUpdate(LINES, WEIGHTS)
ALL = np.ones((600, 6), bool)


def prior(position_m: np.ndarray, sigma_m: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Fixes with this error along each axis, and their covariances."""
    draws = np.random.default_rng(seed).normal(0, sigma_m, position_m.shape)
    return position_m + draws, np.broadcast_to(np.eye(3) * sigma_m**2, (len(position_m), 3, 3))


def exact(position_m: np.ndarray) -> np.ndarray:
    """Directions to positions, ``[n, num_bs, 2]``."""
    arrivals = towards(position_m)
    return np.stack([arrivals.k_y, arrivals.k_z], axis=-1)


def drawn(position_m: np.ndarray, covariance_m2: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions and log-odds as the model of errors has them."""
    draws = np.random.default_rng(seed)
    log_odds = draws.uniform(-4, 6, (len(position_m), 6))
    share = shares(features(log_odds, covariance_m2), WEIGHTS)
    kind = np.minimum((draws.random((*log_odds.shape, 1)) > share.cumsum(axis=-1)).sum(axis=-1), 3)
    return exact(position_m) + draws.standard_normal((*kind.shape, 2)) * ERRORS[kind][..., None], log_odds


def test_directions_that_agree_make_decimetres_of_metres() -> None:
    position = inside(1, 50)
    before, covariance = prior(position, 1.0)
    after, narrower = UPDATE.fix(before, covariance, exact(position), np.full((50, 6), 6.0), ALL[:50])
    assert np.linalg.norm(after - position, axis=1).max() < 0.15
    assert np.trace(narrower, axis1=1, axis2=2).max() < 0.1


def test_a_direction_of_something_else_is_not_believed() -> None:
    position = inside(2, 50)
    before, covariance = prior(position, 0.3)
    k = exact(position)
    k[..., 0] += 0.15
    after, _ = UPDATE.fix(before, covariance, k, np.full((50, 6), 2.0), ALL[:50])
    assert after == pytest.approx(before, abs=0.1)


def test_without_directions_the_fix_is_what_it_was() -> None:
    position = inside(3)
    before, covariance = prior(position, 1.0)
    after, same = UPDATE.fix(before, covariance, exact(position), np.zeros((10, 6)), ~ALL[:10])
    assert after == pytest.approx(before)
    assert same == pytest.approx(covariance)


def test_the_absent_do_not_count() -> None:
    position = inside(4)
    before, covariance = prior(position, 1.0)
    present = np.ones((10, 6), bool)
    present[:5, 2] = False
    k, log_odds = drawn(position, covariance, 4)
    fixes = []
    for _ in range(2):
        fixes.append(UPDATE.fix(before, covariance, k, log_odds, present)[0])
        k[:, 2, 0] += 0.003
    assert (fixes[0][:5] == fixes[1][:5]).all()
    assert (fixes[0][5:] != fixes[1][5:]).any()


def test_the_mixture_by_enumeration() -> None:
    """All kinds of all directions, each with its posterior and evidence written out, for one UE."""
    few = Intersection(SITES[:3], LINES.world_from_array[:3], LOW, HIGH)
    position = inside(5, 1)
    before, covariance = prior(position, 0.05)
    k = exact(position)[:, :3] + [[1e-3, -5e-4], [-2e-2, 1e-2], [4e-4, 3e-4]]
    log_odds = np.array([[1.0, 0.5, 2.0]])
    everything = DirectionUpdate(few, WEIGHTS, hypotheses=64)
    found, spread = everything.fix(before, covariance, k, log_odds, np.ones((1, 3), bool))
    share = shares(features(log_odds, covariance), WEIGHTS)[0]
    means, covariances, weights = [], [], []
    for kinds in product(range(4), repeat=3):
        rows, missed, variance, weight = [], [], [], 1.0
        for bs, kind in enumerate(kinds):
            offset = before[0] - SITES[bs]
            k_y, k_z = k[0, bs]
            ahead = few.world_from_array[bs] @ [np.sqrt(1 - k_y**2 - k_z**2), k_y, k_z]
            axes = few.world_from_array[bs][:, 1:].T - np.outer(k[0, bs], ahead)
            turn = axes / np.linalg.norm(offset)
            noise = np.full(2, ERRORS[kind] ** 2)
            weight *= share[bs, kind]
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
    normal = np.array(weights) / np.sum(weights)
    mean = normal @ np.array(means)
    apart = np.array(means) - mean
    wanted = np.einsum("h,hij->ij", normal, np.array(covariances) + apart[:, :, None] * apart[:, None, :])
    assert found[0] == pytest.approx(mean, abs=3e-4)
    assert spread[0] == pytest.approx(wanted, rel=0.05, abs=5e-6)


def test_covariances_are_honest_where_the_model_of_errors_holds() -> None:
    position = inside(7, 600)
    before, covariance = prior(position, 0.5)
    k, log_odds = drawn(position, covariance, 8)
    after, narrower = UPDATE.fix(before, covariance, k, log_odds, ALL)
    error = after - position
    squared = (error * np.linalg.solve(narrower, error[..., None])[..., 0]).sum(axis=1) / 3
    assert squared.mean() == pytest.approx(1.0, abs=0.25)
    lengths = np.linalg.norm(np.stack([error, before - position]), axis=-1)
    assert np.median(lengths[0]) < np.median(lengths[1]) / 3


def test_shares_are_found_again_from_errors_drawn_with_them() -> None:
    draws = np.random.default_rng(9)
    seen = np.stack([np.ones(20_000), draws.uniform(-3, 3, 20_000)], axis=-1)
    weights = np.array([[0.5, -0.5, 0, 0], [1.0, 0.2, -0.2, -1.0]])
    share = shares(seen, weights)
    kind = np.minimum((draws.random((len(seen), 1)) > share.cumsum(axis=-1)).sum(axis=-1), 3)
    error = draws.standard_normal((len(seen), 2)) * ERRORS[kind][:, None]
    assert shares(seen, fit_shares(seen, error)) == pytest.approx(share, abs=0.06)
