"""A run in real time whose pace is changed while it goes: its parts change theirs with it."""

import time
from typing import Any

from broker.clock import WallClock
from sim.realtime import Pace, RealtimeWorld
from tests.sim.test_realtime import at, run_now


def test_a_run_is_held_and_goes_on_faster_without_missing_anything() -> None:
    stood: list[tuple[float, int]] = []

    def prepare(world: RealtimeWorld) -> None:
        def hold() -> None:
            world.turn(0.0)
            began = time.monotonic()

            def look(there: RealtimeWorld) -> None:
                stood.append((time.monotonic() - began, there.clock.now_ns()))
                if time.monotonic() - began < 2.5:  # longer than anything may be silent
                    there.requests.put(look)
                else:
                    there.turn(2.0)

            world.requests.put(look)

        at(world, 0.52, hold)

    # Tight for the wall: 2.5 s of it pass within one deadline of 0.9 s.
    changes: dict[str, Any] = {
        "duration": "2 s",
        "cu": {"deadline": "900 ms", "min_bs": 2, "processing": "5 ms"},
        "fronthaul": {"default": {"capacity": "10 Mbit/s", "latency": "50 ms"}},
    }
    began = time.monotonic()
    result = run_now(changes, prepare=prepare, pace=Pace(speed=1.0))
    assert time.monotonic() - began > 2.5
    summary = result.summary
    assert summary["valid"], summary["errors"]
    assert summary["fixes"] == 20
    assert summary["frames"]["dropped"] == {}
    held = {t_ns for after_s, t_ns in stood if after_s > 0.2}
    assert len(held) == 1, "the run's time stood still"
    assert [turn["speed"] for turn in summary["turns"]] == [0.0, 2.0]
    assert summary["processing_p99_s"] < 1.0, "standstill is not processing"


def test_a_part_that_comes_back_goes_by_the_changed_clock() -> None:
    clock = WallClock(time.time_ns(), 1.0)
    for speed in (0.0, 2.0, 0.5):
        clock.turn(speed)
    again = WallClock.from_plan(clock.plan())
    assert abs(again.now_ns() - clock.now_ns()) < 5e7
