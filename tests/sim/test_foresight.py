"""What was foreseen is used where just that has happened, and never changes a digit."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from broker.frame import Frame
from models.testing import GeometryModel
from nodes import Fuser, Snapshot
from nodes.collector import Arrival
from nodes.fuser import Fused
from sim import Scenario
from sim.api import run
from sim.foresight import SEVERAL, ForesightedFuser
from tests.sim.kit import ROOT, TWO_BS, GeometryChannel, scenario_of

SPIRAL = ROOT / "scenarios" / "spiral.yaml"
BSS = ("bs1", "bs2", "bs3")


class Counting(GeometryModel):
    """Counts the calls of `fuse` and the snapshots in them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rows: list[int] = []

    def fuse(self, latents: Any, gain_db: Any, present: Any) -> Any:
        self.rows.append(len(latents))
        return super().fuse(latents, gain_db, present)


def test_undisturbed_snapshots_are_fused_ahead_in_one_go() -> None:
    scenario = scenario_of({"duration": "6 s"})
    model = Counting(scenario.bs_ids)
    result = run(scenario, model=model, channel=GeometryChannel(scenario, model))
    assert result.summary["fixes"] == 60
    assert model.rows == [60]


def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.foresight.ForesightedFuser.fuse", Fuser.fuse)


DISTURBED: dict[str, dict[str, Any]] = {
    "loss": {"fronthaul.default.loss": {"kind": "bernoulli", "rate": "20 %"}},
    "late": {"fronthaul.default.capacity": "900 kbit/s", "cu.late": "retrodict"},
    "outage": {"faults": [{"at": "200 ms", "kind": "bs_down", "bs": "bs2", "for": "400 ms"}]},
    "sizes": {"model.per_bs": {"bs3": {"bits": 4, "dims": 96}}},
    "policy": {"bs.policy": "fit", "fronthaul.default.capacity": "300 kbit/s"},
}


@pytest.mark.parametrize("disturbed", DISTURBED)
def test_the_digest_is_that_of_a_run_without_foresight(
    disturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = Scenario.load(SPIRAL, DISTURBED[disturbed] | {"duration": "1 s"})
    with_foresight = run(scenario)
    plain(monkeypatch)
    assert run(scenario).digest == with_foresight.digest


def test_few_base_stations_are_foreseen_too() -> None:
    scenario = scenario_of({"deployment": TWO_BS, "duration": "1 s"})
    model = Counting(["bs2", "bs1", "bs7"])  # an order of its own, and one more
    result = run(scenario, model=model, channel=GeometryChannel(scenario, model))
    assert result.summary["fix_error_3d_mean_m"] < 0.1
    assert model.rows == [12]


class Deaf:
    """Foresees nothing."""

    def __init__(self) -> None:
        self.heard: tuple[bool, ...] = (True,) * len(BSS)

    def fused(self, snapshot: Snapshot) -> None:
        return None


def snapshot(bs_used: Sequence[str], frame: Frame) -> Snapshot:
    return Snapshot("ue1", 0, 1, 0, tuple(Arrival(replace(frame, bs=bs), 0) for bs in bs_used))


def test_it_learns_who_is_heard_several_times_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def fuse(self: Fuser, snapshots: Sequence[Snapshot]) -> Fused:
        num = len(snapshots)
        return Fused(np.zeros((num, 3)), np.zeros((num, 3, 3)), np.ones(num, np.bool_))

    monkeypatch.setattr(Fuser, "fuse", fuse)
    frame = Frame("run", "bs1", "ue1", 0, 0, 0, 3, 8, 1.0, 0.0, b"12345678", b"abc")
    oracle = Deaf()
    fuser = ForesightedFuser(GeometryModel(BSS), oracle, BSS)
    for _ in range(SEVERAL - 1):
        fuser.fuse([snapshot(["bs1", "bs3"], frame)])
    fuser.fuse([snapshot(["bs2"], frame)])
    assert oracle.heard == (True, True, True)
    fuser.fuse([snapshot(["bs1", "bs3"], frame)] * SEVERAL)
    assert oracle.heard == (True, False, True)
