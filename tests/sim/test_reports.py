"""What parts tell the world is held to what they may; a part that says anything else harms nobody."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest

from broker.control import Message
from sim.agenda import Moment
from sim.clock import ns_from_s
from sim.realtime import RealtimeWorld
from sim.reports import is_proper
from sim.streams_out import Hub
from tests.sim.test_realtime import run_now

TRACK = ["ue1", 5, [1.0] * 3, [0.0] * 3, [1.0] * 36, 5, False]
FIX = ["fix", "ue1", 0, 5, 9, [1.0] * 3, [1.0] * 9, ["bs1"], {"bs1": 4}, 0, 1, TRACK]
MISS = ["miss", "ue1", 0, 5, 9, "min_bs", ["bs1"], None]
COUNTS = [3, 1, 1, {"loss": 1}, 300, 100]
PARTS = [b"emb/bs1/ue1/", b"header", b"payload"]
PROPER: list[tuple[str, str, Any]] = [
    ("bs1", "hello", {"name": "bs1", "pid": 7}),
    ("bs1", "ready", None),
    ("broker", "ready", {"upstream": "ipc:///x", "downstream": "ipc:///y"}),
    ("broker", "beat", {"links": {"bs1": COUNTS}, "utilisation": {"bs1": 0.5}, "refused": {}, "all": COUNTS}),
    ("bs1", "beat", {"heard": 1, "refused": {"replay": 2}}),
    ("bs1", "failed", "up: no such command"),
    ("bs1", "skipped", [["ue1", 3]]),
    ("bs1", "silent", [["ue1", 3]]),
    ("broker", "offered", [[5, 800, PARTS]]),
    ("broker", "fates", [["delivered", "bs1", "ue1", 0, 5, None, "bs1", 0, 6]]),
    ("cu", "received", [["bs1", "ue1", 0, 5, 6, "accepted", None, PARTS]]),
    ("cu", "results", [[9, FIX], [9, MISS]]),
]
NOT_OF_THEIRS = [("bs1", kind, body) for peer, kind, body in PROPER if peer != "bs1" and kind != "ready"]
LISTS = [(peer, kind, body) for peer, kind, body in PROPER if isinstance(body, list)]
HARMFUL: list[Any] = [
    None, 1 << 63, -(1 << 64) + 1, math.nan, math.inf, "", b"", [], {}, [[]], {"links": 1}, True,
]  # fmt: skip


@pytest.mark.parametrize(("peer", "kind", "body"), PROPER)
def test_what_parts_say_passes(peer: str, kind: str, body: Any) -> None:
    assert is_proper(Message(peer, kind, 0, body))


@pytest.mark.parametrize(("peer", "kind", "body"), [*NOT_OF_THEIRS, ("cu", "fates", []), ("bs1", "x", None)])
def test_what_another_part_would_say_does_not(peer: str, kind: str, body: Any) -> None:
    if kind != "beat":  # which says of a base station what it says
        assert not is_proper(Message(peer, kind, 0, body))


@pytest.mark.parametrize(("peer", "kind", "body"), LISTS)
def test_nothing_in_a_report_may_be_anything(peer: str, kind: str, body: Any) -> None:
    """Each value in it, one after the other, replaced by what its place cannot hold."""
    tried = 0
    for path in paths(body):
        for harm in HARMFUL:
            broken = replaced(body, path, harm)
            if same_kind(at(body, path), harm):
                continue
            tried += 1
            assert not is_proper(Message(peer, kind, 0, broken)), (path, harm)
    assert tried


def test_a_run_goes_on_whatever_a_base_station_tells_the_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = ["ghost", *FIX[2:]]
    told = [
        Message("bs1", "hello", 0, []),
        Message("bs1", "hello", 0, {"pid": "7"}),
        Message("bs1", "beat", 0, {"heard": b"?"}),
        Message("bs1", "results", 0, [[9, ["fix", *stranger]]]),
        Message("bs1", "offered", 0, [[5, 800, PARTS]]),
        Message("broker", "offered", 0, [[5, 800, PARTS]]),
        Message("broker", "ready", 0, None),
        Message("cu", "received", 0, [["bs1", "ue1", 4, 5, 6, "accepted", None, PARTS]]),
        Message("cu", "results", 0, [[9, [*FIX[:1], "ghost", *FIX[2:]]]]),
    ]

    def prepare(world: RealtimeWorld) -> None:
        control = world.parts.control
        receive, waiting = control.receive, list[Message]()

        def received(timeout_s: float) -> list[Message]:
            found = [*waiting, *receive(timeout_s)]
            waiting.clear()
            return found

        monkeypatch.setattr(control, "receive", received)
        world.at(ns_from_s(0.35), Moment.FAULT, lambda: waiting.extend(told))

    hub = Hub("run1")
    summary = run_now(out=tmp_path, prepare=prepare, hub=hub).summary
    assert (summary["complete"], summary["valid"], summary["fixes"]) == (True, True, 10)
    assert summary["reports_refused"] >= len(told) - 1, "but of a frame that had arrived before"
    assert "track/ghost/" not in hub.latest()


def paths(value: Any) -> list[tuple[Any, ...]]:
    """Ways to all values in a value, itself included."""
    found: list[tuple[Any, ...]] = [()]
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        found += [(key, *below) for key in keys for below in paths(value[key])]
    return found


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    value = copy.deepcopy(value)
    at(value, path[:-1])[path[-1]] = by
    return value


def same_kind(old: Any, harm: Any) -> bool:
    """Whether one may stand for the other as far as a reader can tell."""
    if old is None or (isinstance(old, str) and harm is None):
        return True  # where there may be a cause or a track
    if isinstance(old, list | dict) and not harm:
        return type(old) is type(harm) or (isinstance(old, list) and len(old) == 7 and harm is None)
    if isinstance(old, float):
        return type(harm) is int  # which is a number too
    return type(old) is type(harm) and type(harm) is not int
