"""Directions beside messages: fixes of held-out points get sharper, at the price of 80 bits."""

import numpy as np
import pytest

from sim.channel.held_out import HeldOut, held_out
from sim.scenario.scenario import Clock
from sim.systems import DirectedSystem, EvaluationError, Floats, Pilots, kept_arrivals, systems_named


class Guess:
    """Knows where UEs are to within a metre per axis, and says so, or not."""

    name = "guess"
    payload_bits = 100
    wire_bits = 1_000
    samples_trained: int | None = 5
    csi_shape = (10, 8, 24)
    num_bs = 6

    def __init__(self, truth_m: Floats, *, claims: bool = True) -> None:
        self._fix_m = truth_m + np.random.default_rng(1).standard_normal(truth_m.shape)
        self._claims = claims

    def estimate(
        self, pilots: Pilots, noise_variance: Floats, present: np.ndarray
    ) -> tuple[Floats, Floats | None]:
        covariance = np.broadcast_to(np.eye(3), (len(pilots), 3, 3))
        return self._fix_m, covariance if self._claims else None


@pytest.fixture(scope="module")
def snapshots() -> HeldOut:
    split = held_out("random", clock=Clock(kind="ue_unknown"))
    return split.take(np.flatnonzero(split.sites_in_sight >= 4)[:60])


@pytest.fixture(scope="module")
def pilots(snapshots: HeldOut) -> Pilots:
    return snapshots.pilots(np.arange(60))


def test_fixes_get_sharper_where_sites_are_in_sight(snapshots: HeldOut, pilots: Pilots) -> None:
    guess = Guess(snapshots.position_m)
    system = DirectedSystem(guess, kept_arrivals())
    noise, present = snapshots.channel.noise_variance, np.ones((60, 6), bool)
    before = np.linalg.norm(guess.estimate(pilots, noise, present)[0] - snapshots.position_m, axis=1)
    after, covariance = system.estimate(pilots, noise, present)
    assert np.median(np.linalg.norm(after - snapshots.position_m, axis=1)) < np.median(before) / 4
    assert covariance is not None
    assert np.linalg.eigvalsh(covariance).min() > 0
    nobody, _ = system.estimate(pilots, noise, np.zeros((60, 6), bool))
    assert np.median(np.linalg.norm(nobody - snapshots.position_m, axis=1)) == pytest.approx(
        np.median(before), rel=0.1
    )


def test_it_costs_eighty_bits_more(snapshots: HeldOut) -> None:
    guess = Guess(snapshots.position_m)
    system = DirectedSystem(guess, kept_arrivals())
    assert system.name == "guess+directions"
    assert system.payload_bits == 180
    assert system.wire_bits > 180
    assert (system.samples_trained, system.csi_shape, system.num_bs) == (5, (10, 8, 24), 6)


def test_a_system_that_claims_nothing_is_refused(snapshots: HeldOut, pilots: Pilots) -> None:
    system = DirectedSystem(Guess(snapshots.position_m, claims=False), kept_arrivals())
    with pytest.raises(EvaluationError, match="guess claims no covariance"):
        system.estimate(pilots, snapshots.channel.noise_variance, np.ones((60, 6), bool))


def test_shipped_models_have_a_directed_one_each() -> None:
    (system,) = systems_named(["ecc-r+directions"], bits=(4,))
    assert system.name == "ecc-r at 4 bits+directions"
    assert system.payload_bits == 768 * 4 + 80
    with pytest.raises(EvaluationError, match=r"unknown system 'nobody\+directions'; one of ecc-r, "):
        systems_named(["nobody+directions"])
