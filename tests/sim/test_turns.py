"""A run in real time whose pace is changed while it goes: its parts change theirs with it."""

import time
from pathlib import Path
from typing import Any

from broker.clock import WallClock
from models.testing import GeometryModel
from sim.realtime import Pace, RealtimeWorld
from sim.replay import replay
from tests.sim.kit import walking_from
from tests.sim.test_realtime import at, run_now


def test_a_run_is_held_and_goes_on_faster_without_missing_anything(tmp_path: Path) -> None:
    stood: list[tuple[float, int]] = []

    def prepare(world: RealtimeWorld) -> None:
        def hold() -> None:
            world.turn(0.0)
            began = time.monotonic()

            def look(there: RealtimeWorld) -> None:
                stood.append((time.monotonic() - began, there.clock.now_ns()))
                if time.monotonic() - began < 3.0:  # longer than anything may be silent
                    there.requests.put(look)
                else:
                    there.turn(1.5)

            world.requests.put(look)

        at(world, 0.52, hold)

    # The second snapshot is under way when the clock stops, for longer than its deadline.
    changes: dict[str, Any] = {
        "duration": "3 s",
        "ues": {"ue1": walking_from(80, "2 Hz")},
        "cu": {"deadline": "2 s", "min_bs": 2, "processing": "5 ms"},
        "fronthaul": {"default": {"capacity": "10 Mbit/s", "latency": "200 ms"}},
    }
    began = time.monotonic()
    result = run_now(changes, tmp_path, prepare=prepare, pace=Pace(speed=1.0))
    assert time.monotonic() - began > 3.0
    summary = result.summary
    assert summary["valid"], summary["errors"]
    assert summary["fixes"] == 6, summary["frames"]
    assert summary["frames"]["dropped"] == {}
    held = {t_ns for after_s, t_ns in stood if after_s > 0.2}
    assert len(held) == 1, "the run's time stood still"
    assert [turn["speed"] for turn in summary["turns"]] == [0.0, 1.5]
    assert summary["processing_p99_s"] < 2.5, "standstill is not processing"
    assert replay(tmp_path, model=GeometryModel(("bs1", "bs2"))).same_fixes


def test_a_part_that_comes_back_goes_by_the_changed_clock() -> None:
    clock = WallClock(time.time_ns(), 1.0)
    for speed in (0.0, 2.0, 0.5):
        clock.turn(speed)
    again = WallClock.from_plan(clock.plan())
    assert abs(again.now_ns() - clock.now_ns()) < 5e7
