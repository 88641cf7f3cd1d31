"""Fixes made sharper by reflections, in a city of three planes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.map_fix import (
    COUNTS_AS,
    NOISE_COUNTS_AS,
    SYNC_M,
    UNEXPLAINED,
    MapFix,
    Site,
    _as_real,
    _likelihood,
    _moments,
    _real_basis,
    _upper_waves,
)
from models.reflections import NOTHING, ReflectionMap
from models.synthesis import SPEED_OF_LIGHT_MPS, Radio, synthesise, world_from_array

Array = NDArray[Any]

RADIO = Radio()
SITES_M = np.array([[0.0, 0.0, 30.0], [90.0, -20.0, 25.0], [50.0, 95.0, 28.0]])
LOOK_AT_M = np.array([45.0, 30.0, 5.0])
PLANES = np.array([[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 110.0], [0.0, 1.0, 0.0, -60.0]])
CHAINS = np.array([[-1, -1], [0, -1], [1, -1], [2, -1], [1, 0]])
UE_M = np.array([41.3, 28.7, 4.2])


def city() -> ReflectionMap:
    """Every base station sees the UE directly and in the ground, two walls, and a wall with the ground."""
    images = len(CHAINS)
    return ReflectionMap(
        planes=PLANES,
        chains=np.tile(CHAINS, (3, 1)),
        first=images * np.arange(3),
        count=np.full(3, images),
        listed=np.tile(np.arange(images), (1, 3, 1)),
        corner_m=np.zeros(3),
        voxel_m=1000.0,
        shape=np.ones(3, dtype=np.int64),
    )


def map_fix() -> MapFix:
    sites = [Site(site, world_from_array(site, LOOK_AT_M)) for site in SITES_M]
    spacing_hz = RADIO.subcarrier_spacing_hz * RADIO.subcarrier_stride
    return MapFix(city(), sites, RADIO.rows, RADIO.columns, spacing_hz, RADIO.subcarriers)


def heard(seed: int, noise: float = 0.0, without: tuple[int, ...] = ()) -> Array:
    """CSI ``[3, num_ant, num_sc]`` at the three sites; phases of paths, and the UE's clock, are random.

    Args:
        seed: Of all that is random.
        noise: Share of the energy.
        without: Images that are hidden from the UE.
    """
    draws = np.random.default_rng(seed)
    kept = [image for image in range(len(CHAINS)) if image not in without]
    csi = []
    clock_s = draws.uniform(-1e-7, 1e-7)
    for bs, site in enumerate(SITES_M):
        off = city().unfolded(bs * len(CHAINS) + np.array(kept), UE_M[None])[0] - site
        distance = np.linalg.norm(off, axis=-1)
        gain = (
            0.5 ** (CHAINS[kept] != NOTHING).sum(axis=1)
            / distance
            * np.exp(2j * np.pi * draws.random(len(kept)))
        )
        rotation = world_from_array(site, LOOK_AT_M)
        clean = synthesise(
            gain[None].astype(np.complex64),
            distance[None] / SPEED_OF_LIGHT_MPS,
            np.zeros((1, len(kept), 3)),
            (off / distance[:, None])[None],
            (RADIO.antenna_position_m() @ rotation.T)[None],
            np.zeros((1, 3)),
            np.array([clock_s + 2e-9 * draws.standard_normal()]),
            np.zeros(1),
            RADIO.frequency_hz(),
            RADIO.carrier_hz,
        )[0, 0].astype(np.complex128)
        white = draws.standard_normal(clean.shape) + 1j * draws.standard_normal(clean.shape)
        csi.append(clean + white * np.sqrt(noise / 2 * (np.abs(clean) ** 2).mean()))
    return np.stack(csi)


ALL = np.ones(3, dtype=bool)
FIRST_M2 = np.diag([2.0, 1.5, 1.0])


def first_fix(seed: int) -> Array:
    fix_m: Array = UE_M + np.random.default_rng(seed).standard_normal(3) * np.sqrt(np.diag(FIRST_M2))
    return fix_m


def test_a_fix_some_metres_off_becomes_one_of_centimetres() -> None:
    fix = map_fix()
    errors = []
    for seed in range(12):
        found_m, claimed_m2 = fix.fix(first_fix(seed), FIRST_M2, heard(seed, 1e-3), np.full(3, 1e-3), ALL)
        errors.append(np.linalg.norm(found_m - UE_M))
        assert np.trace(claimed_m2) < 0.2 * np.trace(FIRST_M2)
    assert np.median(errors) < 0.15
    assert np.mean(errors) < 0.5  # 2.0 m before


def test_one_base_station_and_its_images_are_enough() -> None:
    """No other base station hears the UE: walls stand in for them."""
    fix = map_fix()
    errors = [
        np.linalg.norm(
            fix.fix(
                first_fix(seed), FIRST_M2, heard(seed, 1e-4), np.full(3, 1e-4), np.array([True, False, False])
            )[0]
            - UE_M
        )
        for seed in range(12)
    ]
    assert np.median(errors) < 0.3


def test_images_that_are_hidden_do_little_harm() -> None:
    fix = map_fix()
    errors = [
        np.linalg.norm(
            fix.fix(first_fix(seed), FIRST_M2, heard(seed, 1e-3, without=(3,)), np.full(3, 1e-3), ALL)[0]
            - UE_M
        )
        for seed in range(12)
    ]
    assert np.median(errors) < 0.15


def test_scale_and_phase_of_the_csi_do_not_matter() -> None:
    fix, csi = map_fix(), heard(5, 1e-3)
    turned = csi * np.array([3.0, 0.01j, -20.0])[:, None, None]
    one = fix.fix(first_fix(5), FIRST_M2, csi, np.full(3, 1e-3), ALL)
    other = fix.fix(first_fix(5), FIRST_M2, turned, np.full(3, 1e-3), ALL)
    assert other[0] == pytest.approx(one[0], abs=1e-6)
    assert other[1] == pytest.approx(one[1], abs=1e-6)


def test_nothing_heard_changes_nothing() -> None:
    found_m, claimed_m2 = map_fix().fix(UE_M, FIRST_M2, heard(1), np.zeros(3), np.zeros(3, dtype=bool))
    assert found_m.tolist() == UE_M.tolist()
    assert claimed_m2.tolist() == FIRST_M2.tolist()


def test_csi_that_the_map_does_not_explain_changes_nothing() -> None:
    draws = np.random.default_rng(3)
    shape = (3, RADIO.rows * RADIO.columns, RADIO.subcarriers)
    csi = draws.standard_normal(shape) + 1j * draws.standard_normal(shape)
    found_m, claimed_m2 = map_fix().fix(first_fix(3), FIRST_M2, csi, np.full(3, 1e-3), ALL)
    assert found_m.tolist() == first_fix(3).tolist()
    assert claimed_m2.tolist() == FIRST_M2.tolist()


def test_what_is_held_of_a_base_station_that_does_not_hear_is_not_looked_at() -> None:
    fix, present = map_fix(), np.array([True, False, True])
    one, other = heard(4, 1e-3), heard(4, 1e-3)
    other[1] = np.nan
    fixes = [
        fix.fix(first_fix(4), FIRST_M2, csi, np.array([1e-3, at, 1e-3]), present)
        for csi, at in ((one, 1e-3), (other, 0.5))
    ]
    assert fixes[0][0].tolist() == fixes[1][0].tolist()
    assert fixes[0][1].tolist() == fixes[1][1].tolist()


def test_positions_are_likely_by_what_is_left_unexplained_and_by_clocks_that_agree() -> None:
    """A site alone tells no clock from a distance; what all clocks are off by together is nobody's fault."""
    unexplained, noise = np.array([[1e-3], [1e-2], [0.3]]), np.array([1e-9])
    alone = _likelihood(unexplained, np.array([[3.0], [-9.0], [0.0]]), noise, COUNTS_AS)
    assert alone == pytest.approx(-COUNTS_AS * np.log(unexplained[:, 0] + UNEXPLAINED))
    # Where white noise is all that is left, all numbers count; where it is half of it, a quarter of the rest.
    for share, counts in ((1e-3, NOISE_COUNTS_AS), (5e-4, 0.75 * COUNTS_AS + 0.25 * NOISE_COUNTS_AS)):
        level = _likelihood(unexplained, np.zeros((3, 1)), np.array([share]), NOISE_COUNTS_AS)
        assert level == pytest.approx(-counts * np.log(unexplained[:, 0] + 0.1 * share))
    both, clock_m = np.full((3, 2), 1e-9), np.array([[0.0, 0.0], [5.0, 5.0], [1.0, 4.0]])
    level = _likelihood(both, clock_m, np.full(2, 1e-9), COUNTS_AS)
    assert level[1] == pytest.approx(level[0])
    # Two clocks 3 m apart: each 1.5 m from their mean.
    assert level[0] - level[2] == pytest.approx(2 * 1.5**2 / SYNC_M**2 / 2)


def test_what_is_unexplained_is_what_regularised_least_squares_leaves() -> None:
    """The slow way: every column written out, the clock searched on a fine grid."""
    fix, csi, least = map_fix(), heard(7, 1e-2)[1], 1e-3
    tried = UE_M + np.array([[0.0, 0.0, 0.0], [0.7, -0.4, 0.2], [-1.5, 1.0, 0.5]])
    images = len(CHAINS) + np.arange(len(CHAINS))
    share, clock_m = fix._unexplained(1, images, tried, csi, least)
    rotation, frequency = world_from_array(SITES_M[1], LOOK_AT_M), RADIO.frequency_hz()
    for row, at in enumerate(tried):
        off = city().unfolded(images, at[None])[0] - SITES_M[1]
        distance = np.linalg.norm(off, axis=1)
        steering = np.exp(
            2j
            * np.pi
            / RADIO.wavelength_m
            * (off / distance[:, None])
            @ rotation
            @ RADIO.antenna_position_m().T
        )
        waves = np.exp(-2j * np.pi * np.outer(distance / SPEED_OF_LIGHT_MPS, frequency))
        columns = (steering[:, :, None] * waves[:, None, :]).reshape(len(images), -1).T
        loud = 0.4 ** (CHAINS != NOTHING).sum(axis=1) / distance**2
        prior = np.diag(loud.sum() * least / loud)  # noise over power of each path
        inverse = np.linalg.inv(columns.conj().T @ columns + prior)
        best = 1.0
        for late_m in np.arange(clock_m[row] - 1, clock_m[row] + 1, 0.01):
            seen = (
                columns.conj().T
                @ (csi * np.exp(2j * np.pi * late_m / SPEED_OF_LIGHT_MPS * frequency)).ravel()
            )
            explained = (seen.conj() @ inverse @ seen).real
            best = min(best, 1 - explained / (np.abs(csi) ** 2).sum())
        assert share[row] == pytest.approx(best, abs=2e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 24])
def test_waves_over_centred_places_are_real_in_a_basis_of_their_own(count: int) -> None:
    angle = np.array([0.0, 0.3, -2.0, 0.3 + 2 * np.pi])
    waves = np.exp(1j * angle[:, None] * (np.arange(count) - (count - 1) / 2))
    basis, upper = _real_basis(count), _upper_waves(angle, count)
    assert basis.conj().T @ basis == pytest.approx(np.eye(count), abs=1e-12)
    assert upper == pytest.approx(waves[:, count // 2 :], abs=1e-12)
    assert _as_real(upper, count) == pytest.approx(waves @ basis, abs=1e-12)


def test_moments_are_those_of_the_likelihood_whatever_was_tried() -> None:
    """Draws from two Gaussians, neither of them the one that is asked for."""
    draws = np.random.default_rng(9)
    mean, spread = np.array([1.0, -2.0, 0.5]), np.diag([0.5, 1.0, 0.2])
    proposals = [(40_000, np.zeros(3), 4 * np.eye(3)), (40_000, mean + 0.3, np.eye(3))]
    tried = np.concatenate(
        [
            centre + draws.standard_normal((count, 3)) @ np.linalg.cholesky(wide).T
            for count, centre, wide in proposals
        ]
    )
    off = tried - mean
    level = -((off @ np.linalg.inv(spread)) * off).sum(axis=1) / 2
    found, claimed = _moments(tried, level, proposals)
    assert found == pytest.approx(mean, abs=0.03)
    assert claimed == pytest.approx(spread, abs=0.05)


def test_a_map_of_other_base_stations_is_refused() -> None:
    with pytest.raises(ValueError, match="3 base stations for 1"):
        MapFix(city(), [Site(SITES_M[0], np.eye(3))], 2, 4, 720e3, 24)
