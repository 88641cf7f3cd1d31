"""The clock of a run: what it shows while its speed changes, and that all who hold its plan see the same."""

import pytest

from broker.clock import NEVER_S, WallClock, ahead_ns

SECOND = 1_000_000_000


class Wall:
    """The time of day and the monotonic clock, by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed_ns = 0
        self.step_ns = 0
        monkeypatch.setattr("time.monotonic_ns", lambda: 77 * SECOND + self.passed_ns)
        monkeypatch.setattr("time.time_ns", lambda: 1_000_000 * SECOND + self.passed_ns + self.step_ns)

    def passes(self, seconds: float) -> None:
        self.passed_ns += round(seconds * SECOND)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


def seconds(clock: WallClock) -> float:
    return clock.now_ns() / SECOND


def test_run_time_goes_by_the_wall_from_its_epoch(wall: Wall) -> None:
    clock = WallClock(1_000_002 * SECOND, speed=2.0)
    assert seconds(clock) == -4.0
    assert clock.seconds_until(0) == 2.0
    wall.passes(5.0)
    assert seconds(clock) == 6.0
    assert clock.seconds_until(8 * SECOND) == 1.0
    assert clock.seconds_until(6 * SECOND) == clock.seconds_until(1 * SECOND) == 0.0


def test_a_step_of_the_time_of_day_does_not_move_it(wall: Wall) -> None:
    clock = WallClock(1_000_000 * SECOND)
    wall.step_ns = 3600 * SECOND
    wall.passes(1.0)
    assert seconds(clock) == seconds(WallClock.from_plan(clock.plan(), clock)) == 1.0


def test_it_stands_still_and_goes_on(wall: Wall) -> None:
    clock = WallClock(1_000_000 * SECOND)
    wall.passes(3.0)
    clock.turn(0.0, after_s=0.5)
    wall.passes(0.25)
    assert seconds(clock) == 3.25
    assert clock.seconds_until(3 * SECOND + SECOND // 2) == 0.25
    assert clock.seconds_until(4 * SECOND) == NEVER_S
    wall.passes(100.0)
    assert seconds(clock) == 3.5
    clock.turn(4.0, after_s=0.5)
    assert clock.seconds_until(5_500_000_000) == 1.0
    wall.passes(1.0)
    assert seconds(clock) == 5.5
    assert clock.seconds_between(3 * SECOND, 5_500_000_000) == 0.5 + 2.0 / 4.0, "standstill does not count"
    assert clock.seconds_between(5_500_000_000, 3 * SECOND) == -1.0


def test_whoever_holds_the_plan_sees_the_same(wall: Wall) -> None:
    clock = WallClock(1_000_000 * SECOND)
    part = WallClock.from_plan(clock.plan())
    for pause_s, speed in ((1.0, 10.0), (0.7, 0.0), (2.0, 0.5), (0.1, 1.0)):
        wall.passes(pause_s)
        clock.turn(speed, after_s=0.05)
        part = WallClock.from_plan(clock.plan(), part)
        for _ in range(4):
            wall.passes(0.03)
            assert part.now_ns() == clock.now_ns()
            assert part.seconds_until(9 * SECOND) == pytest.approx(clock.seconds_until(9 * SECOND))


def test_turns_in_quick_succession_are_all_in_the_plan(wall: Wall) -> None:
    """As of a viewer who runs through the speeds: none of them has come when the last is asked for."""
    clock = WallClock(1_000_000 * SECOND)
    part = WallClock.from_plan(clock.plan())
    wall.passes(1.0)
    for speed in (10.0, 20.0, 50.0, 50.0):
        clock.turn(speed, after_s=0.05)
        part = WallClock.from_plan(clock.plan(), part)
        assert part.now_ns() == clock.now_ns() == 1 * SECOND
        assert part.seconds_until(2 * SECOND) == clock.seconds_until(2 * SECOND)


def test_time_never_falls_over_a_turn(wall: Wall) -> None:
    clock = WallClock(1_000_000 * SECOND)
    last_ns = clock.now_ns()
    for speed in (3.0, 0.1, 0.0, 20.0, 0.3):
        clock.turn(speed, after_s=0.01)
        clock.turn(speed, after_s=0.0)
        for _ in range(5):
            wall.passes(0.004)
            assert clock.now_ns() >= last_ns
            last_ns = clock.now_ns()


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_clock_begins_with_a_speed(speed: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        WallClock(0, speed)
    if speed != 0.0:
        with pytest.raises(ValueError, match="must not be negative"):
            WallClock(0).turn(speed)


def test_a_pause_between_the_two_reads_does_not_put_a_clock_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    passed_ns, reads = 0, 0

    def monotonic_ns() -> int:
        nonlocal passed_ns, reads
        reads += 1
        passed_ns += 40_000_000 if reads == 2 else 100  # the process waits once, right after the time of day
        return passed_ns

    monkeypatch.setattr("time.monotonic_ns", monotonic_ns)
    monkeypatch.setattr("time.time_ns", lambda: SECOND + passed_ns)
    assert abs(ahead_ns() - SECOND) < 1000
