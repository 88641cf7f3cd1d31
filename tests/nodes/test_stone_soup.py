"""The tracker against Stone Soup's constant-velocity Kalman filter."""

import importlib.util
import warnings
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from nodes.tracker import Tracker, TrackerParams

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("stonesoup") is None,
    reason="Stone Soup, the oracle of these tests, is not installed (pip install stonesoup)",
)

US = 1_000
START = datetime(2030, 1, 1)
# Stone Soup: x, vx, y, vy, z, vz; here: positions, then velocities.
ORDER = [0, 2, 4, 1, 3, 5]


class StoneSoupFilter:
    """Their predictor and updater, with our conventions."""

    def __init__(self, density: float, velocity_prior_mps: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from stonesoup.models.measurement.linear import LinearGaussian
            from stonesoup.models.transition.linear import (
                CombinedLinearGaussianTransitionModel,
                ConstantVelocity,
            )
            from stonesoup.predictor.kalman import KalmanPredictor
            from stonesoup.types.detection import Detection
            from stonesoup.types.hypothesis import SingleHypothesis
            from stonesoup.types.state import GaussianState
            from stonesoup.updater.kalman import KalmanUpdater
        motion = CombinedLinearGaussianTransitionModel([ConstantVelocity(density)] * 3)
        self.predictor, self.updater = KalmanPredictor(motion), KalmanUpdater(None)
        self.measurement, self.detection = LinearGaussian, Detection
        self.hypothesis, self.gaussian = SingleHypothesis, GaussianState
        self.prior = velocity_prior_mps**2
        self.state: Any = None

    def update(self, t_us: int, fix: Any, spread: Any) -> None:
        now = START + timedelta(microseconds=t_us)
        if self.state is None:
            covariance = np.diag([0, self.prior] * 3)
            covariance[np.ix_([0, 2, 4], [0, 2, 4])] = spread
            self.state = self.gaussian(np.array([fix[0], 0, fix[1], 0, fix[2], 0]), covariance, timestamp=now)
            return
        model = self.measurement(ndim_state=6, mapping=(0, 2, 4), noise_covar=spread)
        detection = self.detection(fix, timestamp=now, measurement_model=model)
        prediction = self.predictor.predict(self.state, timestamp=now)
        self.state = self.updater.update(self.hypothesis(prediction, detection))

    def predicted(self, t_us: int) -> tuple[Any, Any]:
        ahead = self.predictor.predict(self.state, timestamp=START + timedelta(microseconds=t_us))
        return np.asarray(ahead.state_vector, float).ravel()[ORDER], np.asarray(ahead.covar)[
            np.ix_(ORDER, ORDER)
        ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_tracker_agrees_with_stone_soup(seed: int) -> None:
    """Uneven times, a different full covariance for every fix, 100 fixes: equal to 1e-9 m and m²."""
    generator = np.random.default_rng(seed)
    params = TrackerParams(acceleration_mps2=1.3, velocity_prior_mps=4.0, gate=1.0)
    tracker, oracle = Tracker(params), StoneSoupFilter(params.density, params.velocity_prior_mps)
    t_us, position = 0, np.array([85.0, 105.0, 1.5])
    for step in range(100):
        t_us += int(generator.integers(1_000, 300_000))
        position = position + generator.normal(0, 0.3, 3)
        root = generator.normal(size=(3, 3))
        spread = root @ root.T + 0.05 * np.eye(3)
        fix = generator.multivariate_normal(position, spread)
        tracker.update(["ue1"], [t_us * US], [fix], [spread])
        oracle.update(t_us, fix, spread)
        ahead_us = t_us + (0 if step % 3 else 450_000)
        track = tracker.track("ue1", ahead_us * US)
        assert track is not None
        state, covariance = oracle.predicted(ahead_us)
        np.testing.assert_allclose([*track.position_m, *track.velocity_mps], state, rtol=0, atol=1e-9)
        np.testing.assert_allclose(track.covariance, covariance, rtol=0, atol=1e-9)


def test_tracker_fed_out_of_sequence_agrees_with_stone_soup_fed_in_order() -> None:
    generator = np.random.default_rng(5)
    times_us = np.cumsum(generator.integers(10_000, 200_000, 40))
    fixes = np.cumsum(generator.normal(0, 0.2, (40, 3)), axis=0)
    params = TrackerParams(gate=1.0)
    tracker, oracle = Tracker(params), StoneSoupFilter(params.density, params.velocity_prior_mps)
    for t_us, fix in zip(times_us, fixes, strict=True):
        oracle.update(int(t_us), fix, np.eye(3))
    for at in generator.permutation(40):
        tracker.update(["ue1"], [int(times_us[at]) * US], [fixes[at]], [np.eye(3)])
    track = tracker.track("ue1")
    assert track is not None
    state, covariance = oracle.predicted(int(times_us[-1]))
    np.testing.assert_allclose([*track.position_m, *track.velocity_mps], state, rtol=0, atol=1e-9)
    np.testing.assert_allclose(track.covariance, covariance, rtol=0, atol=1e-9)
