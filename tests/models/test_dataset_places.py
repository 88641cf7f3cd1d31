"""Places are found however exactly they were surveyed, and ways of a UE that moved are none."""

from typing import Any

import numpy as np
import pytest

from models.dataset import Dataset, DatasetError, Grouping, split_of
from models.dataset_places import Apart, closest_m, linked, told_apart

UTM_M = np.array([691_000.0, 5_334_000.0, 0.0])
PARTS = ("training", "validation", "test")


def grid(spacing_m: float, across: int = 8) -> Any:
    """Places on a square grid at one height, ``[across², 3]``."""
    steps = np.arange(across) * spacing_m
    return np.stack(np.meshgrid(steps, steps, [1.2]), axis=-1).reshape(-1, 3)


def scattered(places: Any, packets: int, sigma_m: float, seed: int = 1) -> Any:
    position = np.repeat(places, packets, axis=0)
    return position + np.random.default_rng(seed).normal(0, sigma_m, position.shape)


def at(position_m: Any) -> Dataset:
    """A data set with these positions."""
    count = len(position_m)
    return Dataset(
        np.ones((count, 1, 1, 1, 1), np.float32), np.ones((count, 1), bool), position_m, None, None,
        1.0, 1.0, None, "", 0, "set.h5",
    )  # fmt: skip


@pytest.mark.parametrize(("count", "side_m", "within_m"), [(200, 1.0, 0.1), (150, 5.0, 0.5), (1, 1.0, 0.1)])
def test_linkage_is_that_of_all_pairs(count: int, side_m: float, within_m: float) -> None:
    position = np.random.default_rng(2).uniform(0, side_m, (count, 3)) + UTM_M
    near = np.linalg.norm(position[:, None] - position, axis=2) <= within_m
    for _ in range(8):
        near = (near.astype(int) @ near) > 0
    number = linked(position, within_m)
    np.testing.assert_array_equal(number[:, None] == number, near)
    assert sorted(set(number)) == list(range(number.max() + 1))


@pytest.mark.parametrize("sigma_m", [0.0, 0.001, 0.002, 0.004, 0.01, 0.05])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_surveyed_place_is_one_group(sigma_m: float, seed: int) -> None:
    position = scattered(grid(1.5) + 0.005, 12, sigma_m, seed)  # at the edges of centimetre cells
    dataset = at(position)
    split = split_of(dataset, seed)
    assert split.grouping.by == "position"
    label = split.grouping.labels(dataset).reshape(64, 12)
    assert (label == label[:, :1]).all()
    assert len(set(label[:, 0])) == 64
    rows = {part: split.rows(dataset, part) for part in PARTS}
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(dataset)))
    apart = np.linalg.norm(position[rows["test"]][:, None] - position[rows["training"]], axis=2)
    assert apart.min() > max(10 * sigma_m, 1.0)
    assert split.apart_m(dataset) == pytest.approx(apart.min())


@pytest.mark.parametrize("sigma_m", [0.0, 0.002, 0.01])
def test_places_a_quarter_of_a_metre_apart_are_several(sigma_m: float) -> None:
    dataset = at(scattered(grid(0.25), 10, sigma_m))
    assert len(np.unique(split_of(dataset).grouping.labels(dataset))) == 64


def test_positions_that_repeat_exactly_keep_the_groups_they_had() -> None:
    dataset = at(np.repeat(np.random.default_rng(4).uniform(0, 20, (90, 3)), 4, axis=0))
    grouping = split_of(dataset).grouping
    assert grouping == Grouping("position")
    cells = np.round(dataset.position_m / 0.01).astype(int)
    assert grouping.labels(dataset).tolist() == [" ".join(map(str, cell)) for cell in cells]
    fine = at(np.repeat(grid(0.01), 4, axis=0))
    assert split_of(fine).grouping == Grouping("position")


def test_five_places_are_too_few_however_they_scatter() -> None:
    with pytest.raises(DatasetError, match="samples of 5 places"):
        split_of(at(scattered(grid(2.0)[:5], 40, 0.004)))


def walk(count: int, step_m: float, seed: int) -> Any:
    draw = np.random.default_rng(seed)
    return np.cumsum(draw.normal(0, step_m, (count, 3)) * [1, 1, 0], axis=0)


@pytest.mark.parametrize(
    "position_m",
    [
        np.stack([np.arange(3_000) * 0.01, np.zeros(3_000), np.ones(3_000)], axis=1),
        walk(4_000, 0.05, 5),
        walk(4_000, 0.3, 6),
        np.concatenate([walk(1_000, 0.02, seed) + 3.0 * seed for seed in range(4)]),
        np.random.default_rng(7).uniform(0, 20, (1_000, 3)),
    ],
    ids=["straight", "slow walk", "fast walk", "four walks", "places of their own"],
)
def test_who_moves_is_grouped_by_squares(position_m: Any) -> None:
    dataset = at(position_m)
    split = split_of(dataset)
    assert split.grouping.by == "cell"
    assert 12 <= sum(len(getattr(split, part)) for part in PARTS) <= 400
    rows = [split.rows(dataset, part) for part in PARTS]
    assert sorted(np.concatenate(rows)) == list(range(len(dataset)))


@pytest.mark.parametrize("scatter_m", [0.0, 0.02, 0.5])
def test_who_rises_is_grouped_by_slices_of_the_height(scatter_m: float) -> None:
    """Squares of the ground would be as small as the scatter, and divide samples that are neighbours."""
    rise_m = np.linspace([7, 8, 0], [7, 8, 60], 1_200)
    rise_m[:, :2] += np.random.default_rng(5).normal(0, scatter_m, (1_200, 2))
    dataset = at(rise_m)
    split = split_of(dataset)
    assert str(split.grouping) == "by slices of 1.8 m of height"
    assert sum(len(getattr(split, part)) for part in PARTS) == 34
    label = split.grouping.labels(dataset)
    assert all(np.ptp(rise_m[label == name, 2]) < 3.6 for name in np.unique(label))


def test_two_rooms_far_apart_are_too_few_squares() -> None:
    room_m = np.random.default_rng(4).uniform(0, 10, (500, 3))
    said = r"samples of 2 squares of 30\.\d m \(trajectory_id can name other groups\); at least 6 are needed"
    with pytest.raises(DatasetError, match=said):
        split_of(at(np.concatenate([room_m, room_m + np.array([1_000, 0, 0])])))


def test_squares_do_not_cut_places() -> None:
    """Three samples at each of some places on edges of squares, one elsewhere: too few to go by place."""
    places = np.random.default_rng(8).uniform(0, 30, (402, 3)) * [1, 1, 0]
    places[:100, 0] = np.arange(100) % 9 * 3 + 3  # an extent of 30 m is cut into squares of 3 m
    places[-2:] = [0, 0, 0], [30, 30, 0]
    few = scattered(places[:100], 3, 0.004)
    dataset = at(np.concatenate([few, places[100:]]))
    grouping = split_of(dataset).grouping
    assert grouping.by == "cell"
    assert grouping.within_m >= 0.02
    edge = np.floor(few[:, :2] / grouping.cell_m).reshape(100, 3, 2)
    assert (edge != edge[:, :1]).any()  # squares alone would cut some
    label = grouping.labels(dataset)[:300].reshape(100, 3)
    assert (label == label[:, :1]).all()


@pytest.mark.parametrize("packets", [2, 3, 12])
def test_places_closer_than_their_scatter_are_held_together_by_squares(packets: int) -> None:
    places = np.random.default_rng(9).uniform(0, 1, (300, 3)) * [20, 14, 0]
    dataset = at(scattered(places, packets, 0.03))
    split = split_of(dataset)
    assert split.grouping.by == "cell"
    assert split.apart_m(dataset) > 0.16


def test_splits_of_older_models_are_as_they_were() -> None:
    dataset = at(scattered(grid(1.5), 4, 0.004))
    cut = Grouping("position", 0.0).labels(dataset)
    assert len(set(cut)) > 64
    squares = Grouping("cell", 0.9).labels(dataset)
    cells = np.floor(dataset.position_m[:, :2] / 0.9).astype(int)
    assert squares.tolist() == [f"{x} {y}" for x, y in cells]


def test_places_of_another_file_are_known_within_the_tolerance() -> None:
    dataset = at(scattered(grid(1.5), 12, 0.004))
    split = split_of(dataset)
    again = at(
        np.concatenate([scattered(grid(1.5), 12, 0.004, seed=9), scattered(grid(1.5) + 0.7, 2, 0.004)])
    )
    known = split.grouping.known(again, [*split.training, *split.validation, *split.test])
    assert known.tolist() == [True] * 768 + [False] * 128


def test_the_smallest_distance_is_that_of_all_pairs() -> None:
    draw = np.random.default_rng(10)
    one, other = draw.uniform(0, 5, (400, 3)), draw.uniform(0, 5, (700, 3)) * [1, 1, 0]
    expected = np.linalg.norm(one[:, None] - other, axis=2).min()
    assert closest_m(one, other) == pytest.approx(expected)
    assert closest_m(one, np.concatenate([other, one[123:124]])) == 0


def test_a_tolerance_is_none_where_nothing_is_apart() -> None:
    assert told_apart(grid(0.01, 40), 1_600) == Apart(0.0, None, 0.0)
    assert told_apart(np.repeat(grid(1.0), 2, axis=0), 64) == Apart(0.0, 64, 0.0)


def test_the_order_of_samples_does_not_matter() -> None:
    values = scattered(grid(1.5), 6, 0.01)
    order = np.random.default_rng(11).permutation(len(values))
    one, other = at(values), at(values[order])
    assert split_of(one) == split_of(other)
    grouping = split_of(one).grouping
    np.testing.assert_array_equal(grouping.labels(one)[order], grouping.labels(other))


def test_a_hundred_thousand_samples_are_grouped() -> None:
    """Takes about 6 s on one core; comparing all pairs would take many minutes."""
    dataset = at(scattered(grid(1.5), 1_563, 0.02))
    split = split_of(dataset)
    assert sum(len(getattr(split, part)) for part in PARTS) == 64
