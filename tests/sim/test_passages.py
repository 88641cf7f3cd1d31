"""What a world in real time remembers of frames on their way, and for how long."""

from types import SimpleNamespace
from typing import Any, cast

from sim.passages import Passages
from sim.realtime import RealtimeWorld


def test_delays_are_remembered_until_their_snapshot_closes() -> None:
    passages = Passages()
    passages.delays_ns["ue1", 100] = {"bs1": 7}
    assert passages.forget("ue1", 100) == {"bs1": 7}
    assert passages.forget("ue1", 100) == {}


def test_what_comes_late_is_not_remembered_for_ever() -> None:
    passages = Passages()
    for t_s in range(20):
        passages.delays_ns["ue1", t_s * 10**9] = {"bs1": 7}
    world: Any = SimpleNamespace(
        clock=SimpleNamespace(speed=1.0, now_ns=lambda: 19 * 10**9),
        passages=passages,
        centre=SimpleNamespace(policy=SimpleNamespace(deadline_ns=10**9)),
        _books=SimpleNamespace(overdue=lambda before_ns: None),
        _top_speed=1.0,
    )
    RealtimeWorld._sweep(cast(RealtimeWorld, world))
    # Two seconds of grace and the deadline of one.
    assert [t_ns // 10**9 for _, t_ns in passages.delays_ns] == [16, 17, 18, 19]
