"""Chaos: the same seed does the same, and a run goes on whatever is done to it."""

import pytest

from models.testing import GeometryModel
from sim.chaos import KINDS, Blow, Chaos, random_blows
from sim.clock import ns_from_s
from sim.errors import UserError
from sim.realtime import run_realtime
from tests.sim.kit import GeometryChannel, scenario_of
from tests.sim.test_processes import children
from tests.sim.test_realtime import FAST


def test_the_same_seed_does_the_same() -> None:
    scenario = scenario_of(FAST | {"duration": "100 s"})
    blows = random_blows(scenario, 2.0, seed=5)
    assert blows == random_blows(scenario, 2.0, seed=5)
    assert blows != random_blows(scenario, 2.0, seed=6)
    assert len(blows) == 50
    assert {blow.kind for blow in blows} == set(KINDS)
    assert all(2 * n <= blow.t_ns / 1e9 < 2 * n + 2 for n, blow in enumerate(blows))
    assert {blow.kind for blow in random_blows(scenario, 2.0, 5, ["kill"])} == {"kill"}


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(UserError, match="must be one of kill, hang"):
        random_blows(scenario_of(FAST), 1.0, 1, ["explode"])  # type: ignore[list-item]
    with pytest.raises(UserError, match="positive"):
        random_blows(scenario_of(FAST), 0.0, 1)


def test_a_run_goes_on_whatever_is_done_to_it() -> None:
    blows = [
        Blow(ns_from_s(0.3), "garbage", "bs1"),
        Blow(ns_from_s(0.5), "clock_jump", "bs2", ns_from_s(0.4)),
        Blow(ns_from_s(1.0), "link_down", "bs1", ns_from_s(0.3)),
        Blow(ns_from_s(1.4), "capacity", "bs2", ns_from_s(0.3)),
        Blow(ns_from_s(1.5), "hang", "bs1", ns_from_s(1.2)),
        Blow(ns_from_s(1.8), "kill", "cu"),
        Blow(ns_from_s(1.9), "kill", "broker"),
    ]
    scenario = scenario_of(FAST | {"duration": "5 s"})
    model = GeometryModel(scenario.bs_ids)
    trouble = Chaos(blows)
    result = run_realtime(
        scenario, model=model, channel=GeometryChannel(scenario, model), prepare=trouble.prepare
    )
    assert sum(trouble.dealt.values()) == len(blows)
    summary = result.summary
    assert summary["valid"], summary["errors"]
    frames = summary["frames"]
    assert (
        frames["sent"] == frames["delivered"] + frames["in_flight"] + sum(frames["dropped"].values()) == 100
    )
    fixes = result.fixes.to_pandas()
    assert fixes[~fixes.missed].cov_xx.notna().all(), "no fix without its covariance"
    assert fixes.sort_values("seq").iloc[-1].bs_used == "bs1,bs2"  # a miss is written down later
    assert trouble.memory_bytes
    assert not children()
