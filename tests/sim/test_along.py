"""Systems on one UE's way: the pilots are a run's, and what is tracked is what they said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes.tracker import Tracker
from sim.along import along, estimated
from sim.centre import tracker_params
from sim.channel import open_channel
from sim.scenario import load_scenario
from sim.systems import EvaluationError

ROOT = Path(__file__).resolve().parents[2]
SPIRAL = load_scenario(ROOT / "scenarios" / "spiral.yaml", ["duration=1 s"])
OFFSET_M = np.array([0.6, 0.0, -0.8])


class Beside:
    """Knows the truth, and is a metre off; claims a square metre in each direction, or nothing."""

    payload_bits, wire_bits, samples_trained = 96, 500, 7
    csi_shape, num_bs = (10, 8, 24), 6

    def __init__(self, name: str, *, claims: bool) -> None:
        self.name, self.claims = name, claims
        self.pilots: Any = None

    def estimate(self, pilots: Any, noise_variance: Any, present: Any) -> tuple[Any, Any]:
        assert present.all()
        self.pilots = pilots
        t_s = SPIRAL.sample_times_ns("ue1") * 1e-9
        position_m = SPIRAL.trajectory("ue1").position_in_world_m(t_s) + OFFSET_M
        return position_m, np.tile(np.eye(3), (len(pilots), 1, 1)) if self.claims else None


def test_a_system_hears_what_a_run_hears_and_its_fixes_are_tracked() -> None:
    system, silent = Beside("beside", claims=True), Beside("silent", claims=False)
    way, untracked = along(SPIRAL, [system, silent])
    channel = open_channel(SPIRAL, may_trace=False)
    assert system.pilots.shape == (10, 6, 10, 8, 24)
    assert np.array_equal(system.pilots[3], channel.pilots("ue1", 3))
    assert way.t_s == pytest.approx(np.arange(10) * 0.1)
    assert way.fix_error_m == pytest.approx(np.ones(10))
    tracker = Tracker(tracker_params(SPIRAL))
    for row, t_ns in enumerate(SPIRAL.sample_times_ns("ue1")):
        tracker.update(["ue1"], [t_ns], way.fix_m[row : row + 1], [np.eye(3)])
        track = tracker.track("ue1", int(t_ns))
        assert track is not None
        assert way.track_m[row] == pytest.approx(track.position_m)
    assert way.track_error_m == pytest.approx(np.sqrt(((way.track_m - way.truth_m) ** 2).sum(axis=1)))
    assert way.track_error_m.max() < 1.5
    figures = way.figures()
    assert (figures["system"], figures["samples_trained"], figures["snapshots"]) == ("beside", 7, 10)
    assert figures["fix_mean_m"] == pytest.approx(1.0)
    assert figures["track_mean_m"] == pytest.approx(way.track_error_m.mean())
    assert np.isnan(untracked.track_m).all()


@pytest.mark.parametrize("claims", [True, False])
def test_a_long_way_is_fixed_piece_by_piece_and_in_order(
    claims: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.along.BATCH", 4)
    sizes = []

    class Echo:
        """Says what the first numbers of the pilots are."""

        def estimate(self, pilots: Any, noise_variance: Any, present: Any) -> tuple[Any, Any]:
            assert present.shape == pilots.shape[:2]
            sizes.append(len(pilots))
            number = pilots[:, 0, 0, 0, :3].real.astype(np.float64)
            return number, number[:, :1, None] * np.eye(3) if claims else None

    system: Any = Echo()
    pilots = np.arange(10 * 2 * 3, dtype=np.complex64).reshape(10, 2, 1, 1, 3)
    fix_m, covariance_m2 = estimated(system, pilots, np.ones(2))
    assert sizes == [4, 4, 2]
    assert np.array_equal(fix_m, np.arange(60).reshape(10, 6)[:, :3])
    assert (covariance_m2 is None) is not claims
    if covariance_m2 is not None:
        assert np.array_equal(covariance_m2, 6.0 * np.arange(10)[:, None, None] * np.eye(3))


def test_another_radio_is_refused() -> None:
    system = Beside("narrow", claims=True)
    system.csi_shape = (10, 8, 12)
    with pytest.raises(EvaluationError, match=r"CSI \[10, 8, 12\] cannot be judged"):
        along(SPIRAL, [system])
