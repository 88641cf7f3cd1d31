"""What searches find: united, sorted, cut to the strongest."""

import numpy as np
import pytest

from sim.channel.found import Found, by_link, cut, energy, united


def found(*paths: tuple[int, int, float, complex]) -> Found:
    """Direct paths: position, base station, delay, gain."""
    ue, bs, delay, gain = zip(*paths, strict=True) if paths else ((), (), (), ())
    return Found(
        np.array(ue, np.int64),
        np.array(bs, np.int64),
        np.array(delay, float),
        np.array(gain, np.complex64),
        np.zeros((len(paths), 3)),
        np.zeros((len(paths), 3)),
        np.zeros((2, len(paths), 3)),
        np.zeros((2, len(paths)), np.int64),
    )


def told(paths: Found) -> list[tuple[int, int, float, complex]]:
    return list(
        zip(paths.ue.tolist(), paths.bs.tolist(), paths.delay_s.tolist(), paths.gain.tolist(), strict=True)
    )


A, B, C, D = (0, 0, 1.0, 2 + 0j), (0, 1, 2.0, 3j), (1, 0, 1.5, 1 + 0j), (0, 0, 1.0, -2 + 0j)


def test_what_any_search_found_counts_once() -> None:
    assert sorted(told(united([found(A, B), found(B, C), found(A)])), key=str) == sorted([A, B, C], key=str)
    assert told(united([found(B, A)])) == [B, A]
    assert len(united([found(), found()])) == 0
    assert told(united([found(), found(C)])) == [C]


def test_two_paths_over_one_edge_are_two() -> None:
    assert len(united([found(A, D), found(D, A)])) == 2


def test_each_link_has_its_strongest_first() -> None:
    paths = by_link(found((1, 0, 1.0, 1), (0, 1, 1.0, 1), (0, 0, 5.0, 1), (0, 0, 1.0, 9), (0, 0, 4.0, 1)))
    assert told(paths) == [(0, 0, 1.0, 9), (0, 0, 4.0, 1), (0, 0, 5.0, 1), (0, 1, 1.0, 1), (1, 0, 1.0, 1)]


@pytest.mark.parametrize(
    ("kept_paths", "floor_db", "left"),
    [(9, 99.0, [3, 1]), (2, 99.0, [2, 1]), (9, 19.0, [2, 1]), (9, 21.0, [3, 1])],
)
def test_weak_paths_are_left_out(kept_paths: int, floor_db: float, left: list[int]) -> None:
    paths = by_link(found((0, 0, 1.0, 10), (0, 0, 2.0, 5), (0, 0, 3.0, 1), (0, 0, 4.0, 0), (0, 1, 1.0, 1e-3)))
    kept = cut(paths, kept_paths, floor_db)
    assert [int((kept.bs == bs).sum()) for bs in (0, 1)] == left


def test_energy_is_summed_by_link() -> None:
    np.testing.assert_allclose(energy(found(A, B, C, D), (2, 2)), [[8, 9], [1, 0]])
    assert energy(found(), (1, 2)).tolist() == [[0, 0]]
    assert len(cut(found(), 24, 40.0)) == 0
