"""Lines of sight meet where they should, and one that lies is outvoted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.intersection import Intersection
from models.music import Arrivals

SITES = np.array(
    [
        [125.5, 82.1, 27.5],
        [27.7, 204.0, 32.5],
        [165.4, -1.1, 36.5],
        [-116.0, 48.0, 42.5],
        [129.7, 156.6, 26.0],
        [-67.6, -53.5, 29.0],
    ]
)
LOW, HIGH = np.array([-80.0, -90.0, 0.5]), np.array([140.0, 210.0, 30.0])
LINES = Intersection.looking_at(SITES, np.array([30.0, 60.0, 10.0]), LOW, HIGH)
EVERYBODY = np.ones((1, 6), bool)


def towards(position_m: np.ndarray, sigma: float = 1e-5) -> Arrivals:
    """What would be found without error from positions ``[n, 3]``."""
    offset = position_m[:, None] - SITES
    offset /= np.linalg.norm(offset, axis=-1, keepdims=True)
    k = np.einsum("lji,nlj->nli", LINES.world_from_array, offset)
    same = np.full(k.shape[:2], sigma)
    return Arrivals(k[..., 1], k[..., 2], same, same, np.full(k.shape[:2], 100.0))


def inside(seed: int, count: int = 10) -> np.ndarray:
    """Positions before all arrays."""
    draws = np.random.default_rng(seed).uniform([-40, -40, 1], [100, 140, 25], (count, 3))
    return np.asarray(draws)


@given(st.integers(0, 2**32 - 1))
def test_noiseless_lines_meet_in_the_position(seed: int) -> None:
    position = inside(seed)
    present = np.ones((10, 6), bool)
    assert LINES.plain(towards(position), present) == pytest.approx(position, abs=1e-3)
    assert LINES.robust(towards(position), present) == pytest.approx(position, abs=0.02)


def test_two_lines_are_enough_and_the_absent_do_not_count() -> None:
    position = inside(1)
    arrivals = towards(position)
    arrivals.k_y[:, [0, 2, 3, 5]] = 0.9
    present = np.zeros((10, 6), bool)
    present[:, [1, 4]] = True
    assert LINES.plain(arrivals, present) == pytest.approx(position, abs=0.02)
    assert LINES.robust(arrivals, present) == pytest.approx(position, abs=0.2)


@pytest.mark.parametrize("liar", range(6))
def test_one_that_lies_is_outvoted(liar: int) -> None:
    position = inside(2, 30)
    arrivals = towards(position)
    arrivals.k_y[:, liar] = np.clip(arrivals.k_y[:, liar] + 0.35, -0.9, 0.9)
    present = np.ones((30, 6), bool)
    robust = np.linalg.norm(LINES.robust(arrivals, present) - position, axis=1)
    plain = np.linalg.norm(LINES.plain(arrivals, present) - position, axis=1)
    assert robust.max() < 0.5
    assert np.median(plain) > 5


def test_the_weighted_sum_of_squares_is_least() -> None:
    """Against a search around the fix, with the sum written out for one UE."""
    position = inside(3, 1)
    arrivals = towards(position, 0.01)
    draws = np.random.default_rng(4)
    arrivals.k_y[:] += draws.normal(0, 0.01, (1, 6))
    arrivals.k_z[:] += draws.normal(0, 0.01, (1, 6))
    arrivals.snr[:] = draws.uniform(10, 100, (1, 6))
    fix = LINES.plain(arrivals, EVERYBODY)[0]

    def total(p: np.ndarray, distance_from: np.ndarray) -> float:
        value = float((((p - (LOW + HIGH) / 2) ** 2) / ((HIGH - LOW) ** 2 / 12)).sum())
        for bs in range(6):
            k_y, k_z = arrivals.k_y[0, bs], arrivals.k_z[0, bs]
            local = np.array([np.sqrt(1 - k_y**2 - k_z**2), k_y, k_z])
            distance = np.linalg.norm(distance_from - SITES[bs])
            for axis, k in ((1, k_y), (2, k_z)):
                across = LINES.world_from_array[bs] @ (np.eye(3)[axis] - k * local)
                value += arrivals.snr[0, bs] * (across @ (p - SITES[bs]) / (distance * 0.01)) ** 2
        return value

    least = total(fix, fix)
    for move in draws.normal(0, 0.2, (200, 3)):
        assert total(fix + move, fix) >= least - 1e-3


def test_louder_and_sharper_directions_count_more() -> None:
    position = inside(5, 1)
    arrivals = towards(position, 0.01)
    arrivals.k_y[0, 0] += 0.2
    errors = []
    for snr, sigma in ((100.0, 0.01), (10.0, 0.01), (100.0, 0.1)):
        arrivals.snr[0, 0], arrivals.sigma_y[0, 0] = snr, sigma
        errors.append(np.linalg.norm(LINES.plain(arrivals, EVERYBODY)[0] - position[0]))
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[0] / 3


def test_without_any_direction_the_fix_is_the_middle_of_the_area() -> None:
    nobody = np.zeros((1, 6), bool)
    for fix in (LINES.plain(towards(inside(6, 1)), nobody), LINES.robust(towards(inside(6, 1)), nobody)):
        assert fix[0] == pytest.approx((LOW + HIGH) / 2, abs=1e-6)


def test_no_fix_is_outside_of_the_area() -> None:
    outside = np.array([[60.0, 60.0, 80.0]])
    assert LINES.plain(towards(outside), EVERYBODY)[0, 2] == HIGH[2]
