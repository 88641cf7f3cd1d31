"""What a world in real time remembers of frames on their way, and for how long."""

from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

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


def test_an_outage_explains_what_was_lost_in_it_however_late_that_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The world was away itself meanwhile, so nothing was overdue for long."""
    now_s = 100.0
    monkeypatch.setattr("sim.passages.monotonic", lambda: now_s)
    monkeypatch.setattr("sim.realtime.monotonic", lambda: now_s)
    passages, back_s = Passages(), {"bs1": 100.5}
    for bs in ("bs1", "bs2"):
        passages.owe((bs, "ue1", 7), 10**9)
    now_s = 106.0
    passages.hear()
    now_s = 108.5
    world: Any = SimpleNamespace(
        watch=SimpleNamespace(
            was_away=lambda name, within_s: now_s - back_s.get(name, -1e9) < within_s, lost=frozenset()
        ),
        parts=SimpleNamespace(down=frozenset()),
        _stations={bs: SimpleNamespace(up=True) for bs in ("bs1", "bs2")},
        lost_frames=Counter(),
        _up_s={},
    )
    world._unexplained = partial(RealtimeWorld._unexplained, cast(RealtimeWorld, world))
    found = {
        key[0]: RealtimeWorld._cause(cast(RealtimeWorld, world), key[0], passage)
        for key, passage in passages.silent_for(2.0)
    }
    assert found == {"bs1": "bs_down", "bs2": "lost"}
    assert world.lost_frames == {"bs2, between air and broker": 1}


def test_a_moment_in_which_a_station_is_down_explains_what_it_had_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is up again long before anybody misses the frame, and what was heard later has no such excuse."""
    now_s = 100.0
    monkeypatch.setattr("sim.passages.monotonic", lambda: now_s)
    monkeypatch.setattr("sim.realtime.monotonic", lambda: now_s)
    world: Any = SimpleNamespace(
        watch=SimpleNamespace(was_away=lambda name, within_s: False, lost=frozenset()),
        parts=SimpleNamespace(down={"bs4"}),
        _stations={"bs4": SimpleNamespace(up=True)},
        lost_frames=Counter(),
        _up_s={},
        passages=Passages(),
    )
    world._unexplained = partial(RealtimeWorld._unexplained, cast(RealtimeWorld, world))
    world.passages.owe(("bs4", "ue1", 7), 10**9)
    world.parts.down.clear()
    world._up_s["bs4"] = now_s = 100.4
    now_s = 103.0
    world.passages.owe(("bs4", "ue1", 8), 4 * 10**9)
    now_s = 105.5
    causes = {
        key[2]: RealtimeWorld._cause(cast(RealtimeWorld, world), key[0], passage)
        for key, passage in world.passages.silent_for(2.0)
    }
    assert causes == {7: "bs_down", 8: "lost"}
    assert world.lost_frames == {"bs4, between air and broker": 1}
