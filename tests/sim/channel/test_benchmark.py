"""The benchmark's points: always the same, outdoors, and apart from each other where they should be."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.path_table import read_path_table
from sim.channel.benchmark import (
    AREA_HIGH_M,
    AREA_LOW_M,
    CHUNK,
    CLEARANCE_M,
    POOLS,
    SQUARE_M,
    Pool,
    blocked_squares,
    chunk_positions,
    clear_of,
    in_blocked_square,
    num_chunks,
    sites_in_sight_by_map,
)
from sim.channel.errors import ChannelError
from sim.channel.held_out import SPLITS, HeldOut, Split, held_out
from sim.channel.pool import munich_heights, pool_chunk, pool_of, pool_positions, trace_pool
from sim.channel.traces import SHIPPED_TRACES
from sim.channel.tracing import store
from sim.channel.world import world_of
from sim.city import HeightMap
from sim.deployment import MUNICH6
from sim.engine import SerialEngine, Task
from sim.scenario.scenario import Clock
from tests.sim.channel.kit import MUNICH_KEY, Array, random_table

UNKNOWN = Clock(kind="ue_unknown")


@pytest.fixture(scope="module")
def trained() -> Array:
    """Every training point."""
    return pool_positions(POOLS["train"], munich_heights())


@pytest.fixture(scope="module")
def splits() -> dict[str, HeldOut]:
    return {split: held_out(split, clock=UNKNOWN) for split in SPLITS}


@pytest.mark.parametrize("pool", POOLS.values(), ids=lambda pool: pool.name)
def test_points_lie_outdoors_in_the_squares_of_their_pool(pool: Pool) -> None:
    some = pool_chunk(pool, 0, munich_heights())
    assert (some >= AREA_LOW_M).all()
    assert (some <= AREA_HIGH_M).all()
    assert (in_blocked_square(some) == pool.blocked).all()
    city = HeightMap.load("munich")
    assert city is not None
    assert not city.is_indoor(some).any()
    np.testing.assert_array_equal(some, pool_chunk(pool, 0, munich_heights()))


def test_chunks_add_up_and_pools_share_nothing() -> None:
    pool = replace(POOLS["validation"], points=CHUNK + 10)
    assert num_chunks(pool) == 2
    everything = pool_positions(pool, munich_heights())
    assert len(everything) == CHUNK + 10
    assert len(np.unique(everything, axis=0)) == len(everything)
    other = pool_positions(replace(POOLS["test-random"], points=CHUNK), munich_heights())
    assert not (everything[:CHUNK] == other).any()


def test_points_in_shadow_are_further_training_points_that_one_or_two_sites_see() -> None:
    shadow, train = POOLS["train-shadow"], POOLS["train"]
    assert shadow.shadow_after is not None
    assert shadow.shadow_after + num_chunks(shadow) == num_chunks(train)
    few = pool_chunk(shadow, 2, munich_heights())
    everyone = chunk_positions(train, shadow.shadow_after + 2, *munich_heights())
    assert 150 < len(few) < 300
    assert (few[:, None] == everyone).all(axis=2).any(axis=1).all()


def test_the_height_map_tells_how_many_sites_are_in_sight() -> None:
    table = read_path_table(SHIPPED_TRACES / "benchmark" / f"test-random-{MUNICH_KEY}.h5")
    site_m = np.array([site.position_in_world_m for site in MUNICH6.sites])
    by_map = sites_in_sight_by_map(*munich_heights(), table.position_m[:1000], site_m)
    traced = table.sites_in_sight()[:1000]
    assert (by_map == traced).mean() > 0.92
    assert (abs(by_map - traced) <= 1).mean() > 0.99


def test_a_wall_hides_what_is_behind_it_and_no_more() -> None:
    height_m = np.zeros((21, 21))
    height_m[:, 10] = 8.0
    position_m = np.array([[2.0, 10, 1], [15, 10, 1], [2, 10, 7.9]])
    site_m = np.array([[18.0, 10.0, 10.0], [1, 2, 3]])
    seen = sites_in_sight_by_map(height_m, 0.0, 0.0, 1.0, position_m, site_m)
    assert seen.tolist() == [1, 1, 2]


def test_held_out_squares_are_few_and_fixed() -> None:
    squares = blocked_squares()
    assert squares.shape == (15, 11)
    assert squares.sum() == 9
    row, column = np.argwhere(squares)[0]
    corner = np.add(AREA_LOW_M, (column * SQUARE_M, row * SQUARE_M, 0.0))
    assert in_blocked_square(corner[None] + 0.1).all()
    assert not in_blocked_square(np.array([[85.0, 105.0, 3.0]])).any()


@given(seed=st.integers(0, 50), distance_m=st.floats(0.05, 3))
def test_clear_is_farther_than_that_from_all(seed: int, distance_m: float) -> None:
    draws = np.random.default_rng(seed)
    some, others = draws.uniform(0, 5, (30, 3)), draws.uniform(0, 5, (40, 3))
    nearest = np.linalg.norm(some[:, None] - others, axis=2).min(axis=1)
    np.testing.assert_array_equal(clear_of(some, others, distance_m), nearest > distance_m)


@pytest.mark.parametrize("split", SPLITS)
def test_no_test_point_is_near_a_training_point(
    splits: dict[str, HeldOut], trained: Array, split: Split
) -> None:
    snapshots = splits[split]
    assert clear_of(snapshots.position_m, trained, CLEARANCE_M).all()
    assert len(trained) == 80_000


def test_splits_are_of_the_size_that_was_agreed(splits: dict[str, HeldOut]) -> None:
    """But for the few points that lie too near to a training point."""
    assert 2_980 <= len(splits["random"]) <= 3_000
    assert 1_490 <= len(splits["blocked"]) <= 1_500
    assert 1_800 <= len(splits["trajectory"]) <= 1_850
    assert in_blocked_square(splits["blocked"].position_m).all()
    assert not in_blocked_square(splits["random"].position_m).any()
    assert splits["random"].served.mean() == pytest.approx(0.85, abs=0.03)
    share = [(splits["random"].sites_in_sight == k).mean() for k in (0, 1, 2)]
    np.testing.assert_allclose(share, (0.09, 0.10, 0.12), atol=0.02)


def test_points_of_a_held_out_square_belong_together(splits: dict[str, HeldOut]) -> None:
    """Nine squares are nine samples of what was never trained on, however many points each holds."""
    blocked = splits["blocked"]
    squares = np.unique(blocked.group)
    assert len(squares) == 9
    for square in squares:
        assert (np.ptp(blocked.position_m[blocked.group == square, :2], axis=0) <= 20.0).all()


def test_snapshots_of_a_way_belong_together_and_random_ones_do_not(splits: dict[str, HeldOut]) -> None:
    assert len(np.unique(splits["random"].group)) == len(splits["random"])
    assert len(np.unique(splits["trajectory"].group)) == 22
    assert {ue.split("/")[0] for ue, _ in splits["trajectory"].snapshots} == {
        "spiral",
        "street",
        "many_users",
    }


@pytest.mark.parametrize("split", SPLITS)
def test_pilots_are_those_of_the_snapshots(splits: dict[str, HeldOut], split: Split) -> None:
    snapshots = splits[split]
    rows = np.array([5, 900, 2])
    pilots = snapshots.pilots(rows)
    assert pilots.shape == (3, 6, 10, 8, 24)
    thinned = snapshots.take(rows)
    np.testing.assert_array_equal(thinned.pilots(np.array([1])), pilots[1:2])
    np.testing.assert_array_equal(
        held_out(split, clock=UNKNOWN).pilots(rows[:1]), held_out(split, clock=UNKNOWN).pilots(rows[:1])
    )


def test_a_split_is_thinned_evenly(splits: dict[str, HeldOut]) -> None:
    thinned = splits["trajectory"].thinned(100)
    assert len(thinned) == 100
    assert len(np.unique(thinned.group)) > 15
    assert splits["blocked"].thinned(10**6) is splits["blocked"]


@pytest.mark.parametrize("name", ["test-random", "test-blocked"])
def test_shipped_test_points_are_those_of_their_pool(name: str) -> None:
    table = read_path_table(SHIPPED_TRACES / "benchmark" / f"{name}-{MUNICH_KEY}.h5")
    assert table.world_key == MUNICH_KEY
    np.testing.assert_array_equal(table.position_m, pool_positions(POOLS[name], munich_heights()))
    assert table.dropped_energy.max() < 0.05


def test_test_points_that_are_missing_or_damaged_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("traces")
    monkeypatch.setattr("sim.channel.held_out.SHIPPED_TRACES", folder)
    with pytest.raises(ChannelError, match=r"no such path table; to trace it again: python -m sim trace"):
        held_out("random", clock=UNKNOWN)
    path = folder / "benchmark" / f"test-random-{MUNICH_KEY}.h5"
    path.parent.mkdir()
    path.write_bytes(b"nothing")
    with pytest.raises(ChannelError, match=r"damaged path table") as caught:
        held_out("random", clock=UNKNOWN)
    assert str(caught.value).startswith(f"{path}: ")


def test_chunks_of_a_pool_that_are_there_are_not_traced_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    class Stub:
        def __init__(self, world: object) -> None:
            pass

        def trace(self, position_m: Array) -> object:
            return random_table(position_m, world_key=MUNICH_KEY)

    monkeypatch.setattr("sim.channel.tracing.Tracer", Stub)
    folder = tmp_path_factory.mktemp("pools")
    pool, world = replace(POOLS["train"], points=2_500), world_of(MUNICH6)
    lines: list[str] = []
    first = trace_pool(world, pool, folder, munich_heights(), 1, lines.append)
    assert [path.name for path in first] == ["0000.h5"]
    every = trace_pool(world, pool, folder, munich_heights(), None, lines.append)
    assert [len(read_path_table(path)) for path in every] == [1_000, 1_000, 500]
    assert lines[2] == "train: 1500 of 2500 positions to trace"
    chunks: list[Task] = []

    class Noting(SerialEngine):
        def map(self, tasks: Iterable[Task], tell: Callable[[str], None] = print) -> Iterator[Any]:
            chunks.extend(given := list(tasks))
            return super().map(given, tell)

    (folder / every[1].parent.name / "0001.h5").unlink()
    trace_pool(world, pool, folder, munich_heights(), None, lines.append, Noting)
    assert [len(chunk.argument) for chunk in chunks] == [1_000]
    assert store(random_table(np.zeros((1, 3))), folder / "one.h5").is_file()


def test_an_unknown_pool_is_told() -> None:
    with pytest.raises(
        ChannelError, match="unknown pool 'tets'; one of train, train-shadow, validation, test-random"
    ):
        pool_of("tets")
