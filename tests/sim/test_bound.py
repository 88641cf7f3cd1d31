"""The bound at held-out points: from the direct paths of the shipped traces."""

from itertools import pairwise

import numpy as np
import pytest

from models.path_table import concatenate
from sim.bound import CLOCKS, bounds_m, by_sites_in_sight, line_of_sight_snr
from sim.channel.held_out import HeldOut, held_out, shipped_pool
from sim.scenario.scenario import Clock
from tests.models.kit import free_space


@pytest.fixture(scope="module")
def snapshots() -> HeldOut:
    return held_out("blocked", clock=Clock(kind="ue_unknown")).thinned(150)


def test_the_direct_path_of_each_link_is_counted_and_nothing_else() -> None:
    table = shipped_pool("test-blocked").select(np.arange(40))
    snr = line_of_sight_snr(table, np.full(table.num_bs, 2.0))
    for row in range(len(table)):
        for bs in range(table.num_bs):
            first = table.first[row, bs]
            wanted = sum(
                abs(complex(table.gain[path])) ** 2
                for path in range(first, first + table.count[row, bs])
                if table.line_of_sight[path]
            )
            assert snr[row, bs] == pytest.approx(wanted / 2, rel=1e-6)
    assert ((snr > 0).sum(axis=1) == table.sites_in_sight()).all()


def test_in_free_space_everybody_is_in_sight() -> None:
    table = free_space(np.array([[0.0, 10.0, 2.0], [30.0, 40.0, 5.0]]))
    both = concatenate([table, table])
    assert (line_of_sight_snr(both, np.ones(3)) > 0).all()


def test_less_knowledge_of_time_never_helps(snapshots: HeldOut) -> None:
    bounds = [bounds_m(snapshots, clocks) for clocks in CLOCKS]
    for better, worse in pairwise(bounds):
        assert (better <= worse * (1 + 1e-6)).all()
    assert not np.isfinite(bounds[0][snapshots.sites_in_sight == 0]).any()
    assert np.isfinite(bounds[0][snapshots.sites_in_sight >= 2]).all()


def test_rows_add_up(snapshots: HeldOut) -> None:
    rows = by_sites_in_sight(snapshots, CLOCKS[:1])
    assert [number for number, _, _ in rows] == list(range(7))
    assert sum(points for _, points, _ in rows) == 150
    medians = [medians[0] for _, points, medians in rows if points]
    assert medians[0] == np.inf
    assert medians[-1] < 0.1
