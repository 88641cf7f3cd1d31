"""What a world in real time remembers of frames on their way, and for how long."""

from collections import Counter, defaultdict
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sim.parts import Parts
from sim.passages import Passages
from sim.realtime import RealtimeWorld
from sim.watch import Watch


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


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that is set by hand, for passages, their world and its watch."""
    now = SimpleNamespace(s=100.0)
    for module in ("passages", "realtime", "watch"):
        monkeypatch.setattr(f"sim.{module}.monotonic", lambda: now.s)
    return now


def test_a_frame_is_on_its_way_until_its_end_is_known(now: SimpleNamespace) -> None:
    passages, key, other = Passages(), ("bs1", "ue1", 7), ("bs1", "ue1", 8)
    passages.owe(key, 10**9)
    passages.owe(other, 2 * 10**9)
    passage = passages.get(key)
    assert passage is not None
    assert (passage.t_sample_ns, passage.frame, passage.t_offer_ns) == (10**9, None, None)
    assert len(passages) == 2
    assert passages.end(key) is passage
    assert (passages.end(key), passages.get(key), len(passages)) == (None, None, 1)


def test_who_is_heard_of_is_silent_from_then_on(now: SimpleNamespace) -> None:
    passages, keys = Passages(), [("bs1", "ue1", seq) for seq in range(3)]
    for key in keys[:2]:
        passages.owe(key, 0)
    now.s = 101.0
    passages.owe(keys[2], 0)
    passages.get(keys[1])

    def silent() -> list[int]:
        return [key[2] for key, _ in passages.silent_for(2.0)]

    now.s = 102.0
    assert silent() == []
    now.s = 102.5
    assert silent() == [0]
    now.s = 103.5
    assert silent() == [0, 1, 2]
    passages.hear()
    now.s = 105.5
    assert silent() == []
    now.s = 106.0
    assert silent() == [0, 1, 2]
    passage = passages.end(keys[2])
    assert passage is not None
    assert (passage.owed_s, passage.since_s) == (101.0, 103.5)


def world_with(passages: Passages, watch: Any) -> Any:
    """As much of a world as explains what became of frames."""
    world: Any = SimpleNamespace(
        watch=watch,
        passages=passages,
        parts=SimpleNamespace(down=set()),
        _stations=defaultdict(lambda: SimpleNamespace(up=True)),
        lost_frames=Counter(),
    )
    world._unexplained = partial(RealtimeWorld._unexplained, cast(RealtimeWorld, world))
    return world


def causes(world: Any) -> dict[tuple[str, str, int], str | None]:
    """What became of all frames that nothing has been heard of for two seconds."""
    return {
        key: RealtimeWorld._cause(cast(RealtimeWorld, world), key[0], passage)
        for key, passage in world.passages.silent_for(2.0)
    }


def test_an_outage_explains_what_was_lost_in_it_however_late_that_is_found(now: SimpleNamespace) -> None:
    """The world was away itself meanwhile, so nothing was overdue for long."""
    passages, back_s = Passages(), {"bs1": 100.5}
    for bs in ("bs1", "bs2"):
        passages.owe((bs, "ue1", 7), 10**9)
    now.s = 106.0
    passages.hear()
    now.s = 108.5
    watch = SimpleNamespace(
        was_away=lambda name, within_s: now.s - back_s.get(name, -1e9) < within_s, lost=frozenset()
    )
    world = world_with(passages, watch)
    assert causes(world) == {("bs1", "ue1", 7): "bs_down", ("bs2", "ue1", 7): "lost"}
    assert world.lost_frames == {"bs2, between air and broker": 1}


def test_a_moment_in_which_a_station_is_down_explains_what_it_had_heard(now: SimpleNamespace) -> None:
    """It is up again long before anybody misses the frame, and what was heard later has no such excuse."""
    watch = Watch(cast(Parts, None), lambda name, state, why: None)
    world = world_with(Passages(), watch)
    world.passages.owe(("bs4", "ue1", 7), 10**9)
    now.s = 100.4
    watch.was_switched_off("bs4")
    now.s = 103.0
    world.passages.owe(("bs4", "ue1", 8), 4 * 10**9)
    now.s = 105.5
    assert causes(world) == {("bs4", "ue1", 7): "bs_down", ("bs4", "ue1", 8): "lost"}
    assert world.lost_frames == {"bs4, between air and broker": 1}
