"""Samples made on the fly: noise statistics, reproducibility, what is drawn."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.config import Impairments
from models.path_table import PathTable
from models.sampler import Sampler
from models.synthesis import displace, synthesise
from tests.models.kit import BORESIGHT, RADIO, SITES, STILL, free_space, random_positions


def sampler(
    impairments: Impairments = STILL,
    seed: int = 1,
    table: PathTable | None = None,
    noise_pool: int | None = None,
) -> Sampler:
    table = table or free_space(random_positions(50, 7))
    return Sampler(table, SITES, BORESIGHT, RADIO, impairments, seed, noise_pool=noise_pool)


def silent(table: PathTable) -> PathTable:
    return replace(table, gain=table.gain * 0)


@pytest.mark.parametrize("noise_pool", [0, 1 << 20])
def test_noise_is_circular_white_and_of_unit_variance(noise_pool: int) -> None:
    quiet = sampler(table=silent(free_space(random_positions(50, 7))), noise_pool=noise_pool)
    noise = torch.cat([quiet.draw(50)[0] for _ in range(8)]).numpy()
    count = noise.size
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(1.0, abs=5 / count**0.5)
    assert abs(np.mean(noise)) < 5 / count**0.5
    assert abs(np.mean(noise**2)) < 5 / count**0.5  # real and imaginary parts: alike and independent
    for axis in range(1, 5):
        if noise.shape[axis] > 1:
            ahead, behind = np.moveaxis(noise, axis, 0)[1:], np.moveaxis(noise, axis, 0)[:-1]
            assert abs(np.mean(ahead * behind.conj())) < 5 / ahead.size**0.5
    assert np.mean(np.abs(noise) ** 4) == pytest.approx(2.0, rel=0.03)  # Gaussian


def test_noise_of_the_pool_is_fresh_from_draw_to_draw() -> None:
    quiet = sampler(table=silent(free_space(random_positions(50, 7))), noise_pool=1 << 20)
    draws = [quiet.draw(20)[0].numpy() for _ in range(20)]
    for number, one in enumerate(draws):
        for other in draws[:number]:
            assert not np.array_equal(one, other)
    correlation = [abs(np.mean(draws[0] * other.conj())) for other in draws[1:]]
    assert np.median(correlation) < 5 / draws[0].size ** 0.5


def test_the_pool_is_made_anew_when_it_is_used_up() -> None:
    quiet = sampler(table=silent(free_space(random_positions(50, 7))), noise_pool=100_000)
    quiet.draw(10)
    first = quiet._pool.clone()
    for _ in range(80):
        quiet.draw(10)
    assert len(quiet._pool) == len(first)
    assert not torch.equal(quiet._pool, first)


def test_the_same_seed_draws_the_same() -> None:
    drawn = [sampler(Impairments(), seed=3).draw(20) for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))
    other_seed = sampler(Impairments(), seed=4).draw(20)
    assert not torch.equal(drawn[0][0], other_seed[0])


def test_reseeding_is_like_a_new_sampler() -> None:
    used = sampler(Impairments(), seed=3)
    used.draw(5)
    used.reseed(9)
    fresh = sampler(Impairments(), seed=9)
    assert torch.equal(used.draw(20)[0], fresh.draw(20)[0])


@pytest.mark.parametrize("noise_pool", [0, 50_000])
def test_a_restored_sampler_goes_on_as_if_nothing_had_been(noise_pool: int) -> None:
    one = sampler(Impairments(), noise_pool=noise_pool)
    for _ in range(7):
        one.draw(10)
    state = one.state()
    other = sampler(Impairments(), seed=99, noise_pool=noise_pool)
    other.draw(3)
    other.restore(state)
    for _ in range(40):  # over two renewals of the pool
        assert torch.equal(one.draw(10)[0], other.draw(10)[0])


def test_test_points_are_never_displaced() -> None:
    table = free_space(random_positions(50, 7))
    _, position = sampler(replace(Impairments(), displacement_m=0.0), table=table).at(torch.arange(50))
    assert position.numpy() == pytest.approx(table.position_m, abs=1e-5)


def test_training_points_are_displaced_within_the_ball() -> None:
    table = free_space(random_positions(50, 7))
    _, position = sampler(replace(STILL, displacement_m=1.5), table=table).at(torch.arange(50).repeat(20))
    distance = np.linalg.norm(position.numpy() - np.tile(table.position_m, (20, 1)), axis=1)
    assert distance.max() <= 1.5 + 1e-5
    assert np.mean(distance / 1.5) == pytest.approx(3 / 4, abs=0.03)  # evenly in the ball


def test_a_displaced_sample_is_one_of_the_place_it_was_displaced_to() -> None:
    """In free space the displacement is exact: the same CSI as from a path table of the new place."""
    moving = sampler(replace(STILL, displacement_m=2.0))
    csi, position = moving.draw(10, noisy=False)
    there = sampler(table=free_space(position.double().numpy()))
    same, _ = there.at(torch.arange(10), noisy=False)
    ratio = (csi.abs() / same.abs()).numpy()
    assert ratio == pytest.approx(1.0, rel=1e-3)
    # Positions are kept in single precision: the carrier's phase is off, but alike on the whole link.
    turn = (csi * same.conj()).numpy()
    turn /= np.abs(turn)
    common = turn.mean(axis=(2, 3, 4), keepdims=True)
    assert np.abs(turn - common).max() < 2e-2
    assert np.abs(common) == pytest.approx(1.0, abs=1e-3)


def test_a_sample_without_impairments_is_equation_1() -> None:
    table = free_space(random_positions(5, 3))
    one = sampler(table=table)
    csi, _ = one.at(torch.arange(5), noisy=False)
    links = table.first.size
    wanted = synthesise(
        table.gain[:, None],
        table.delay_s[:, None],
        table.ue_direction[:, None],
        table.bs_direction[:, None],
        np.tile(one.antenna_position.numpy(), (5, 1, 1)),
        np.zeros((links, 3)),
        np.zeros(links),
        RADIO.slot_time_s(),
        RADIO.frequency_hz(),
        RADIO.carrier_hz,
    )
    found = csi.numpy().reshape(wanted.shape) / one.scale
    assert found == pytest.approx(wanted, abs=2e-3 * float(np.abs(wanted).max()))


def test_the_ues_clock_is_common_to_all_base_stations() -> None:
    spread = replace(STILL, ue_clock_s=100e-9)
    table = free_space(random_positions(1, 3))
    rows = torch.zeros(200, dtype=torch.int64)
    still, _ = sampler(table=table).at(rows[:1], noisy=False)
    late, _ = sampler(spread, table=table).at(rows, noisy=False)
    slope = np.angle(
        (late[..., 1:] * late[..., :-1].conj() * (still[..., 1:] * still[..., :-1].conj()).conj()).numpy()
    )
    offset_s = -slope.mean(axis=(2, 3, 4)) / (2 * np.pi * 24 * 60e3)  # [sample, bs]
    assert offset_s == pytest.approx(np.repeat(offset_s[:, :1], 3, axis=1), abs=1e-10)
    assert np.abs(offset_s).max() <= 100e-9
    assert offset_s.std() == pytest.approx(100e-9 / 3**0.5, rel=0.15)


def test_links_without_a_path_hold_noise_alone() -> None:
    table = free_space(random_positions(4, 3))
    count = table.count.copy()
    count[:, 1] = 0
    csi, _ = sampler(table=replace(table, count=count)).at(torch.arange(4), noisy=False)
    assert (csi[:, 1] == 0).all()
    assert (csi[:, 0].abs() > 0).all()


def test_a_link_with_more_paths_than_the_buckets_keeps_all_of_them() -> None:
    """Thirty equal paths in phase are one of thirty times the gain."""
    one = free_space(random_positions(1, 3), SITES[:1])
    columns: dict[str, Any] = {
        name: np.repeat(getattr(one, name), 30, axis=0)
        for name in ("gain", "delay_s", "ue_direction", "bs_direction", "mirror", "image_distance_m")
    }
    many = replace(one, count=np.array([[30]], np.int32), line_of_sight=np.ones(30, bool), **columns)
    once, often = (
        Sampler(table, SITES[:1], BORESIGHT, RADIO, STILL, 1).at(torch.arange(1), noisy=False)[0]
        for table in (one, many)
    )
    assert often.numpy() == pytest.approx(30 * once.numpy(), rel=1e-3)


def test_displacement_across_an_edge_keeps_the_direction_at_the_base_station() -> None:
    _, _, _, arriving = displace(
        np.array([[[0.5, 0.5, 0.0]]]),
        np.array([[3e-7]]),
        np.array([[1.0 + 0j]], np.complex64),
        np.array([[[1.0, 0.0, 0.0]]]),
        np.array([[[0.0, 1.0, 0.0]]]),
        np.zeros((1, 1, 3, 3)),
        np.array([[20.0]]),
    )
    assert arriving[0, 0] == pytest.approx([0.0, 1.0, 0.0])


def test_favoured_rows_are_a_share_of_each_batch() -> None:
    drawing = sampler()
    drawing.favour(np.array([3, 5]), 0.25)
    position = np.stack([drawing.draw(40)[1].numpy() for _ in range(50)])
    few = np.isin(position[..., 0], drawing.position[[3, 5], 0].numpy())
    assert few[:, :10].all()
    assert few[:, 10:].mean() == pytest.approx(2 / 50, abs=0.02)  # the others are drawn from all rows


def test_there_must_be_a_row_to_favour() -> None:
    with pytest.raises(ValueError, match="no row to favour"):
        sampler().favour(np.array([]), 0.5)
