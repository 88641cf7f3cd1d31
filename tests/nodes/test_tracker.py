import math
from collections.abc import Sequence
from itertools import pairwise, permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.tracker import Outcome, Track, Tracker, TrackerParams

Float64 = npt.NDArray[np.float64]
S = 1_000_000_000
OPEN = TrackerParams(gate=1.0)


def follow(
    tracker: Tracker, ue: str, fixes: Sequence[tuple[float, Sequence[float]]], sigma_m: float = 1.0
) -> list[str]:
    """Give the tracker one fix after the other and write down what became of each."""
    spread = sigma_m**2 * np.eye(3)
    return [
        tracker.update([ue], [round(t_s * S)], [position_m], [spread])[0].name for t_s, position_m in fixes
    ]


def existing(track: Track | None) -> Track:
    assert track is not None
    return track


def assert_same(one: Track | None, other: Track | None) -> None:
    one, other = existing(one), existing(other)
    assert (one.ue, one.t_ns, one.t_fix_ns, one.coasting) == (
        other.ue,
        other.t_ns,
        other.t_fix_ns,
        other.coasting,
    )
    np.testing.assert_array_equal(one.position_m, other.position_m)
    np.testing.assert_array_equal(one.velocity_mps, other.velocity_mps)
    np.testing.assert_array_equal(one.covariance, other.covariance)


def walk(generator: np.random.Generator, num: int, dt_s: float = 0.1) -> list[tuple[float, list[float]]]:
    position = np.cumsum(generator.normal(0, 0.3, size=(num, 3)), axis=0)
    return [(dt_s * (at + 1), position[at].tolist()) for at in range(num)]


# Start, update, velocity


def test_first_fix_starts_a_track_at_rest_with_a_velocity_prior() -> None:
    tracker = Tracker(TrackerParams(velocity_prior_mps=3.0))
    assert follow(tracker, "ue1", [(1.0, [1, 2, 3])], sigma_m=2.0) == ["STARTED"]
    track = existing(tracker.track("ue1"))
    np.testing.assert_array_equal(track.position_m, [1, 2, 3])
    np.testing.assert_array_equal(track.velocity_mps, [0, 0, 0])
    np.testing.assert_array_equal(track.covariance, np.diag([4.0, 4, 4, 9, 9, 9]))
    assert (track.t_ns, track.t_fix_ns, track.coasting) == (S, S, False)


def test_steady_motion_is_learned() -> None:
    tracker = Tracker()
    follow(tracker, "ue1", [(0.1 * k, [0.2 * k, -0.1 * k, 5.0]) for k in range(100)])
    track = existing(tracker.track("ue1"))
    np.testing.assert_allclose(track.velocity_mps, [2, -1, 0], atol=1e-3)
    np.testing.assert_allclose(track.position_m, [19.8, -9.9, 5], atol=1e-3)


@pytest.mark.parametrize(
    ("dt_s", "acceleration", "sigma"), [(0.1, 1.0, 1.0), (0.5, 0.3, 2.0), (0.02, 3, 0.2)]
)
def test_covariance_settles_on_the_riccati_equation(dt_s: float, acceleration: float, sigma: float) -> None:
    """Scalar constant-velocity filter, iterated in plain 2 x 2 matrices to its fixed point."""
    q = acceleration**2
    F = np.array([[1, dt_s], [0, 1]])
    Q = q * np.array([[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]])
    P = np.diag([sigma**2, 25.0])
    for _ in range(5000):
        predicted = F @ P @ F.T + Q
        gain = predicted[:, 0] / (predicted[0, 0] + sigma**2)
        P = predicted - np.outer(gain, predicted[0])
    tracker = Tracker(TrackerParams(acceleration_mps2=acceleration, gate=1.0))
    follow(tracker, "ue1", [(dt_s * k, [0.0, 0, 0]) for k in range(600)], sigma)
    covariance = existing(tracker.track("ue1")).covariance
    for axis in range(3):
        axes = [axis, axis + 3]
        np.testing.assert_allclose(covariance[np.ix_(axes, axes)], P, rtol=1e-9)


def test_errors_are_as_large_as_the_covariance_says() -> None:
    """NEES of 2,000 targets that move exactly as believed: chi-square with 6 degrees of freedom."""
    generator = np.random.default_rng(7)
    num, dt_s, density, sigma = 2000, 0.1, 1.5**2, 0.8
    tracker = Tracker(TrackerParams(acceleration_mps2=1.5, gate=1.0, velocity_prior_mps=2.0))
    ues = [f"ue{at}" for at in range(num)]
    position, velocity = np.zeros((num, 3)), generator.normal(0, 2, (num, 3))
    spread = np.repeat(sigma**2 * np.eye(3)[None], num, axis=0)
    for step in range(30):
        fixes = position + generator.normal(0, sigma, (num, 3))
        tracker.update(ues, [round(step * dt_s * S)] * num, fixes, spread)
        if step in (5, 29):
            tracks = [existing(tracker.track(ue)) for ue in ues]
            error = np.array([[*track.position_m, *track.velocity_mps] for track in tracks])
            error -= np.concatenate([position, velocity], axis=1)
            covariance = np.array([track.covariance for track in tracks])
            nees = np.einsum("ni,ni->n", error, np.linalg.solve(covariance, error[:, :, None])[:, :, 0])
            assert nees.mean() == pytest.approx(6, abs=4 * math.sqrt(12 / num))
        change = generator.normal(0, math.sqrt(density * dt_s), (num, 3))
        jitter = generator.normal(0, math.sqrt(density * dt_s**3 / 12), (num, 3))
        position = position + dt_s * velocity + dt_s / 2 * change + jitter
        velocity = velocity + change


# Gate


def test_an_outlier_is_rejected_and_the_track_coasts_through() -> None:
    tracker, undisturbed = Tracker(), Tracker()
    good = [(0.1 * k, [0.1 * k, 0.0, 0.0]) for k in range(20)]
    follow(undisturbed, "ue1", good)
    assert follow(tracker, "ue1", [*good, (2.0, [80.0, 0, 0])])[-1] == "REJECTED"
    assert_same(tracker.track("ue1", 2 * S), undisturbed.track("ue1", 2 * S))


def test_the_gate_is_as_wide_as_its_probability() -> None:
    for distance, outcome in ((16.2, "ACCEPTED"), (16.4, "REJECTED")):  # quantile of 0.999: 16.27
        tracker = Tracker(TrackerParams(gate=0.999))
        follow(tracker, "ue1", [(0.0, [0, 0, 0])])
        before = existing(tracker.track("ue1", S // 10)).covariance[0, 0]
        away = math.sqrt(distance * (before + 1.0))
        assert follow(tracker, "ue1", [(0.1, [away, 0, 0])]) == [outcome]


def test_repeated_gate_failures_start_the_track_afresh() -> None:
    tracker = Tracker(TrackerParams(restart_after=3, velocity_prior_mps=4.0))
    follow(tracker, "ue1", [(0.1 * k, [0, 0, 0]) for k in range(10)])
    far = [(1.0 + 0.1 * k, [200, 0, 0]) for k in range(4)]
    assert follow(tracker, "ue1", far) == ["REJECTED", "REJECTED", "RESTARTED", "ACCEPTED"]
    fresh = existing(tracker.track("ue1", round(1.2 * S)))
    np.testing.assert_array_equal(fresh.position_m, [200, 0, 0])
    np.testing.assert_array_equal(fresh.covariance, np.diag([1.0, 1, 1, 16, 16, 16]))


def test_after_a_restart_failures_are_counted_anew() -> None:
    tracker = Tracker(TrackerParams(restart_after=2))
    follow(tracker, "ue1", [(0.1 * k, [0, 0, 0]) for k in range(10)])
    fixes = [(1.0 + 0.1 * k, [500 * (1 + k // 2), 0, 0]) for k in range(6)]
    assert follow(tracker, "ue1", fixes) == ["REJECTED", "RESTARTED"] * 3


def test_a_good_fix_between_bad_ones_keeps_the_track() -> None:
    tracker = Tracker(TrackerParams(restart_after=2))
    follow(tracker, "ue1", [(0.1 * k, [0, 0, 0]) for k in range(10)])
    fixes = [(1.0, [99, 0, 0]), (1.1, [0, 0, 0]), (1.2, [99, 0, 0]), (1.3, [0, 0, 0])]
    assert follow(tracker, "ue1", fixes) == ["REJECTED", "ACCEPTED", "REJECTED", "ACCEPTED"]


# Coasting and forgetting


def test_covariance_grows_while_coasting() -> None:
    tracker = Tracker(TrackerParams(acceleration_mps2=0.5, coast_after_ns=300_000_000))
    follow(tracker, "ue1", [(0.1 * k, [0.1 * k, 0, 0]) for k in range(20)])
    last = existing(tracker.track("ue1"))
    at = [existing(tracker.track("ue1", last.t_ns + ms * 1_000_000)) for ms in (0, 100, 300, 301, 1000, 9000)]
    assert [track.coasting for track in at] == [False, False, False, True, True, True]
    spreads = [np.trace(track.covariance[:3, :3]) for track in at]
    assert all(later > earlier for earlier, later in pairwise(spreads))
    # Closed form: P + t (Ppv + Pvp) + t² Pvv + q t³/3.
    P, t = last.covariance, 9.0
    expected = P[0, 0] + 2 * t * P[0, 3] + t**2 * P[3, 3] + 0.25 * t**3 / 3
    assert at[-1].covariance[0, 0] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(at[-1].position_m, last.position_m + t * last.velocity_mps, rtol=1e-12)


def test_no_track_before_the_first_fix_and_long_after_the_last() -> None:
    tracker = Tracker(TrackerParams(forget_after_ns=10 * S))
    assert tracker.track("ue1") is None
    follow(tracker, "ue1", [(5.0, [0, 0, 0])])
    assert tracker.track("ue1", 5 * S - 1) is None
    assert tracker.track("ue1", 15 * S) is not None
    assert tracker.track("ue1", 15 * S + 1) is None


def test_a_fix_after_a_long_pause_starts_a_new_track() -> None:
    tracker = Tracker(TrackerParams(forget_after_ns=10 * S))
    fixes = [(0.0, [0.0, 0, 0]), (0.1, [0.0, 0, 0]), (10.1, [5.0, 0, 0]), (20.2, [9.0, 0, 0])]
    assert follow(tracker, "ue1", fixes) == ["STARTED", "ACCEPTED", "ACCEPTED", "STARTED"]


def test_memory_does_not_grow_with_ues_that_came_and_went() -> None:
    tracker = Tracker(TrackerParams(forget_after_ns=S))
    for at in range(500):
        follow(tracker, f"ue{at}", [(at * 0.1, [0, 0, 0])])
    assert len(tracker.ues) < 30
    assert len(tracker._histories) <= 64
    assert tracker.track("ue0") is None


def test_ues_are_told_in_the_order_of_their_names() -> None:
    tracker = Tracker()
    for ue in ("ue3", "ue1", "ue20", "ue2"):
        follow(tracker, ue, [(0.0, [0, 0, 0])])
    assert tracker.ues == ("ue1", "ue2", "ue20", "ue3")


def test_who_comes_after_someone_forgotten_inherits_nothing() -> None:
    """Places in memory are used again: neither times, nor failures, nor what was remembered go with them."""
    params = TrackerParams(forget_after_ns=10 * S, history=4, restart_after=3)
    tracker, unused = Tracker(params), Tracker(params)
    follow(tracker, "ue1", [(0.1 * k, [0, 0, 0]) for k in range(5)])
    follow(tracker, "ue1", [(0.5, [900, 0, 0]), (0.6, [900, 0, 0])])
    follow(tracker, "ue2", [(100.0, [5, 5, 5])])
    assert list(tracker.ues) == ["ue2"]
    assert tracker.track("ue1", S // 2) is None
    later: list[tuple[float, list[float]]] = [
        (100.2, [1.0, 2, 3]),
        (100.1, [1.5, 2, 3]),
        (100.3, [400, 2, 3]),
    ]
    for one in (tracker, unused):
        assert follow(one, "ue3", later) == ["STARTED", "STARTED", "REJECTED"]
        assert one.track("ue3", round(0.6 * S)) is None
    assert list(tracker.ues) == ["ue2", "ue3"]
    assert_same(tracker.track("ue3"), unused.track("ue3"))
    assert_same(tracker.track("ue3", round(100.2 * S)), unused.track("ue3", round(100.2 * S)))


# Going on from a track


def test_what_was_before_a_track_one_goes_on_from_is_too_old() -> None:
    one, other = Tracker(), Tracker()
    follow(one, "ue1", [(0.1 * k, [0.1 * k, 0, 0]) for k in range(10)])
    follow(one, "ue1", [(1.0, [80, 0, 0])])
    last = existing(one.track("ue1"))
    assert (last.t_ns, last.t_fix_ns) == (S, 9 * S // 10)
    other.resume([last])
    assert_same(other.track("ue1"), last)
    assert other.track("ue1", S - 1) is None
    assert follow(other, "ue1", [(0.95, [0, 0, 0]), (1.0, [0, 0, 0])]) == ["TOO_OLD", "TOO_OLD"]
    assert_same(other.track("ue1"), last)


def test_several_tracks_are_gone_on_from_each_for_itself() -> None:
    params = TrackerParams(correlation_time_s=0.5)
    one, other = Tracker(params), Tracker(params)
    walks = {ue: walk(np.random.default_rng(seed), 8) for seed, ue in enumerate(("a", "b", "c"))}
    for ue, fixes in walks.items():
        follow(one, ue, fixes[:5])
    follow(other, "b", walks["b"][:5])
    other.resume([existing(one.track(ue)) for ue in walks])
    for ue, fixes in walks.items():
        # One overtakes the other, which is taken in before it all the same.
        assert follow(other, ue, [fixes[5], fixes[7], fixes[6]]) == ["ACCEPTED"] * 3
        follow(one, ue, fixes[5:])
        assert_same(one.track(ue), other.track(ue))


# Out of sequence


def test_fixes_in_any_order_give_what_fixes_in_order_give() -> None:
    fixes = walk(np.random.default_rng(11), 5)
    in_order = Tracker(OPEN)
    follow(in_order, "ue1", fixes)
    for order in permutations(fixes):
        tracker = Tracker(OPEN)
        follow(tracker, "ue1", list(order))
        for t_s, _ in fixes:
            assert_same(tracker.track("ue1", round(t_s * S)), in_order.track("ue1", round(t_s * S)))


@given(st.integers(0, 2**32), st.integers(1, 20), st.floats(0, 1.0), st.sampled_from([0.0, 0.5]))
@settings(max_examples=40, deadline=None)
def test_order_does_not_matter_through_gates_and_restarts(
    seed: int, num: int, bad: float, correlation_time_s: float
) -> None:
    """Also where a late fix changes whether later ones pass the gate, and with several fixes per call."""
    generator = np.random.default_rng(seed)
    params = TrackerParams(restart_after=2, correlation_time_s=correlation_time_s)
    fixes = [
        (t_s, (np.array(position) + 60 * (generator.random() < bad)).tolist())
        for t_s, position in walk(generator, num)
    ]
    in_order, mixed = Tracker(params), Tracker(params)
    follow(in_order, "ue1", fixes)
    order = generator.permutation(num)
    for part in np.array_split(order, 3):
        chosen = [fixes[at] for at in part]
        mixed.update(
            ["ue1"] * len(chosen),
            [round(t_s * S) for t_s, _ in chosen],
            np.array([position for _, position in chosen]).reshape(-1, 3),
            np.repeat(np.eye(3)[None], len(chosen), axis=0),
        )
    for t_s, _ in fixes:
        assert_same(mixed.track("ue1", round(t_s * S)), in_order.track("ue1", round(t_s * S)))


def test_a_late_fix_changes_what_later_ones_are_judged_by() -> None:
    """The jump of the UE was rejected; the late fix shows that it was on its way."""
    params = TrackerParams(acceleration_mps2=0.2, velocity_prior_mps=1.0)
    tracker = Tracker(params)
    assert follow(tracker, "ue1", [(0.0, [0, 0, 0]), (2.0, [10, 0, 0])]) == ["STARTED", "REJECTED"]
    assert follow(tracker, "ue1", [(1.0, [5, 0, 0])]) == ["ACCEPTED"]
    assert existing(tracker.track("ue1")).t_fix_ns == 2 * S


def test_a_fix_of_the_same_time_replaces_the_earlier_one() -> None:
    fixes = walk(np.random.default_rng(13), 6)
    expected, tracker = Tracker(OPEN), Tracker(OPEN)
    follow(expected, "ue1", fixes)
    wrong = fixes.copy()
    wrong[2] = (fixes[2][0], [0.5, 0.5, 0.5])
    follow(tracker, "ue1", wrong)
    follow(tracker, "ue1", [fixes[2]])
    assert_same(tracker.track("ue1"), expected.track("ue1"))


def test_of_two_fixes_of_the_same_time_in_one_call_the_last_counts() -> None:
    tracker = Tracker()
    tracker.update(["ue1", "ue1"], [S, S], [[9, 9, 9], [1, 2, 3]], [np.eye(3)] * 2)
    np.testing.assert_array_equal(existing(tracker.track("ue1")).position_m, [1, 2, 3])


def test_a_fix_older_than_all_that_is_remembered_changes_nothing() -> None:
    tracker = Tracker(TrackerParams(history=5))
    follow(tracker, "ue1", walk(np.random.default_rng(17), 8))  # 0.1 ... 0.8 s; 0.4 s is the oldest now
    before = existing(tracker.track("ue1"))
    assert follow(tracker, "ue1", [(0.35, [0, 0, 0]), (0.4, [0, 0, 0])]) == ["TOO_OLD", "TOO_OLD"]
    assert_same(tracker.track("ue1"), before)
    assert tracker.track("ue1", round(0.35 * S)) is None
    assert follow(tracker, "ue1", [(0.45, [0, 0, 0])]) == ["ACCEPTED"]


def test_a_full_history_takes_in_out_of_sequence_fixes_exactly() -> None:
    fixes = walk(np.random.default_rng(19), 30)
    in_order, mixed = Tracker(TrackerParams(history=4)), Tracker(TrackerParams(history=4))
    follow(in_order, "ue1", fixes)
    for at in range(0, 30, 3):
        follow(mixed, "ue1", [fixes[at], fixes[at + 2], fixes[at + 1]])
    assert_same(mixed.track("ue1"), in_order.track("ue1"))


# Batches


def test_a_batch_gives_to_the_bit_what_one_by_one_gives() -> None:
    generator = np.random.default_rng(23)
    for num in (1, 2, 7, 33):
        params = TrackerParams(gate=0.9, correlation_time_s=0.4, restart_after=2)
        together, alone = Tracker(params), Tracker(params)
        ues = [f"ue{at}" for at in range(num)]
        for step in range(12):
            positions = generator.normal(0, 3, (num, 3))
            roots = generator.normal(size=(num, 3, 3))
            spreads = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(3)
            times = generator.integers(step * S, (step + 1) * S, num)
            outcomes = together.update(ues, times, positions, spreads)
            for at, ue in enumerate(ues):
                outcome = alone.update([ue], times[at : at + 1], positions[at : at + 1], spreads[at : at + 1])
                assert outcome == [outcomes[at]]
        for ue in ues:
            assert_same(together.track(ue), alone.track(ue))


def test_fixes_of_several_ues_out_of_sequence_in_one_call() -> None:
    one, other = walk(np.random.default_rng(29), 6), walk(np.random.default_rng(31), 6)
    expected, tracker = Tracker(OPEN), Tracker(OPEN)
    follow(expected, "a", one)
    follow(expected, "b", other)
    calls = [[("a", 4), ("b", 0)], [("b", 5), ("b", 1), ("a", 0)], [("a", 5), ("b", 4), ("a", 2)]]
    calls += [[("b", 3)], [("a", 3), ("b", 2), ("a", 1)]]
    for call in calls:
        chosen = [(ue, (one if ue == "a" else other)[at]) for ue, at in call]
        tracker.update(
            [ue for ue, _ in chosen],
            [round(fix[0] * S) for _, fix in chosen],
            [fix[1] for _, fix in chosen],
            [np.eye(3)] * len(chosen),
        )
    assert_same(tracker.track("a"), expected.track("a"))
    assert_same(tracker.track("b"), expected.track("b"))


def test_nothing_to_update() -> None:
    assert Tracker().update([], [], np.zeros((0, 3)), np.zeros((0, 3, 3))) == []


# Correlated errors


def correlated_nees(correlation_time_s: float) -> float:
    """Mean NEES of the position when the errors of fixes are alike over one second."""
    generator = np.random.default_rng(37)
    num, dt_s = 400, 0.1
    keep = math.exp(-dt_s / 1.0)
    tracker = Tracker(TrackerParams(gate=1.0, correlation_time_s=correlation_time_s))
    ues, error = [f"ue{at}" for at in range(num)], generator.normal(size=(num, 3))
    spread = np.repeat(np.eye(3)[None], num, axis=0)
    total = []
    for step in range(60):
        tracker.update(ues, [round(step * dt_s * S)] * num, error, spread)  # the UEs stand still at 0
        if step >= 30 and step % 10 == 0:
            for ue in ues:
                track = existing(tracker.track(ue))
                total.append(track.position_m @ np.linalg.solve(track.covariance[:3, :3], track.position_m))
        error = keep * error + math.sqrt(1 - keep**2) * generator.normal(size=(num, 3))
    return float(np.mean(total))


def test_correlation_time_keeps_the_covariance_honest() -> None:
    """Taken as white, errors that stay alike make a filter that is sure of its mistake."""
    assert correlated_nees(0.0) > 9
    assert correlated_nees(1.0) < 3


def test_a_fix_counts_by_how_long_after_the_last_accepted_one_it_comes() -> None:
    """Variance times coth(dt / 2τ), as of means of exponentially correlated errors; the first is plain."""
    tau_s, sigma, q = 0.7, 1.5, 0.25
    tracker = Tracker(TrackerParams(acceleration_mps2=0.5, velocity_prior_mps=2.0, correlation_time_s=tau_s))
    assert follow(tracker, "ue1", [(0.0, [0, 0, 0]), (0.3, [900, 0, 0])], sigma) == ["STARTED", "REJECTED"]
    assert follow(tracker, "ue1", [(0.5, [0, 0, 0])], sigma) == ["ACCEPTED"]
    before = sigma**2 + 0.5**2 * 2.0**2 + q * 0.5**3 / 3
    fix = sigma**2 / math.tanh(0.5 / (2 * tau_s))
    covariance = existing(tracker.track("ue1")).covariance
    np.testing.assert_allclose(np.diagonal(covariance)[:3], 1 / (1 / before + 1 / fix), rtol=1e-12)


def test_a_fresh_start_is_as_sure_as_its_fix_however_alike_errors_are() -> None:
    tracker = Tracker(TrackerParams(restart_after=1, correlation_time_s=5.0))
    assert follow(tracker, "ue1", [(0.0, [0, 0, 0]), (0.1, [900, 0, 0])], 1.5) == ["STARTED", "RESTARTED"]
    np.testing.assert_array_equal(existing(tracker.track("ue1")).covariance[:3, :3], 2.25 * np.eye(3))


# Bad input


def test_a_bad_fix_is_refused_by_name() -> None:
    tracker = Tracker()
    with pytest.raises(ValueError, match="position of ue2 is not finite"):
        tracker.update(["ue1", "ue2"], [0, 0], [[0.0, 0.0, 0.0], [0.0, math.nan, 0.0]], [np.eye(3)] * 2)
    with pytest.raises(ValueError, match="covariance of ue1 is not positive definite"):
        tracker.update(["ue1"], [0], [[0, 0, 0]], [-np.eye(3)])
    assert tracker.ues == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"acceleration_mps2": 0.0}, "acceleration_mps2 must be positive"),
        ({"velocity_prior_mps": math.inf}, "velocity_prior_mps must be positive"),
        ({"correlation_time_s": -1.0}, "correlation_time_s must not be negative"),
        ({"gate": 1.5}, "gate must be a probability"),
        ({"restart_after": 0}, "restart_after must be at least 1"),
        ({"history": 0}, "history must be at least 1"),
        ({"coast_after_ns": 0}, "coast_after_ns must be at least 1"),
        ({"forget_after_ns": 0}, "forget_after_ns must be at least 1"),
        ({"acceleration_mps2": math.nan}, "acceleration_mps2 must be positive"),
        ({"velocity_prior_mps": 0.0}, "velocity_prior_mps must be positive"),
        ({"correlation_time_s": math.inf}, "correlation_time_s must not be negative"),
    ],
)
def test_parameters_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrackerParams(**changes)  # type: ignore[arg-type]


def test_outcomes_have_names() -> None:
    assert [outcome.name for outcome in Outcome] == [
        "STARTED",
        "ACCEPTED",
        "REJECTED",
        "RESTARTED",
        "TOO_OLD",
    ]
