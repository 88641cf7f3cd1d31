"""A world that hands over in batches does what one does that hands over frame by frame, in that order."""

import cProfile
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

import sim.api
from broker.bus import Arrival
from nodes.central_unit import in_groups
from nodes.collector import Snapshot
from sim.api import RunResult
from sim.interruption import interruptible
from sim.lagging import LAG_NS, Backlog, LaggingWorld
from sim.run_folder import RunFolder
from sim.study.stations import DirectWire
from tests.sim.kit import QUIET, run_quietly, walking_from

INTERRUPTIONS = 14
CROWDED: dict[str, Any] = QUIET | {
    "duration": "0.5 s",
    "ues": {f"ue{number}": walking_from(60 + number, f"{7 + 3 * number} Hz") for number in range(5)},
    "cu": {"deadline": "10 ms", "min_bs": 2, "processing": "1 ms"},
    "fronthaul": {
        "default": {
            "capacity": "2 Mbit/s",
            "latency": "1 ms",
            "jitter": {"kind": "exponential", "mean": "3 ms"},
            "loss": {"kind": "bernoulli", "rate": "30 %"},
        },
        "shared": {
            "core": {"capacity": "3 Mbit/s", "queue": "400 B", "members": ["bs1", "bs2", "bs3", "bs4"]}
        },
    },
    "faults": [
        {"at": "0.1 s", "kind": "bs_down", "bs": "bs3", "for": "0.1 s"},
        {"at": "0.2 s", "kind": "link_outage", "link": "bs1", "for": "0.1 s"},
        {"at": "0.3 s", "kind": "loss_burst", "link": "bs2", "rate": "100 %", "for": "0.1 s"},
        {"at": "0.4 s", "kind": "link_outage", "link": "core", "for": "50 ms"},
    ],
}


def recording(result: RunResult) -> list[Any]:
    return [
        (message.topic, message.sequence, message.t_sample_ns, message.t_arrival_ns, message.body)
        for message in result.folder.messages()
    ]


class Counting(DirectWire):
    """Counts how often it is asked to carry frames on."""

    def __init__(self) -> None:
        self.times = 0
        self.frames = 0

    def to_central_unit(self, arrivals: Any) -> list[Arrival]:
        self.times += 1
        self.frames += len(arrivals)
        return super().to_central_unit(arrivals)


def test_all_that_is_written_is_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    many, each = Counting(), Counting()
    lagging = run_quietly(CROWDED, wire=many)
    monkeypatch.setattr(sim.api, "may_lag", lambda scenario: False)
    prompt = run_quietly(CROWDED, wire=each)
    assert each.times > 9 * many.times  # handed over at each fault, too
    assert each.frames == many.frames
    assert (lagging.fingerprint, lagging.digest) == (prompt.fingerprint, prompt.digest)
    assert lagging.fixes.equals(prompt.fixes)
    assert lagging.frames.equals(prompt.frames)
    assert recording(lagging) == recording(prompt)
    assert {"bs_down", "link_down", "loss", "late"} <= set(lagging.summary["frames"]["dropped"])
    assert lagging.summary["fixes_missed"] > 0
    timeless = {"wall_time_s"}
    assert {key: lagging.summary[key] for key in lagging.summary.keys() - timeless} == {
        key: prompt.summary[key] for key in prompt.summary.keys() - timeless
    }


def test_late_frames_that_are_let_in_are_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("lags")

    monkeypatch.setattr(LaggingWorld, "__init__", fail)
    assert run_quietly(QUIET | {"cu": QUIET["cu"] | {"late": "retrodict"}}).summary["valid"]
    with pytest.raises(AssertionError, match="lags"):
        run_quietly(QUIET)


def test_a_frame_that_is_changed_on_its_way_is_read_again() -> None:
    class Forging(DirectWire):
        def to_central_unit(self, arrivals: Any) -> list[Arrival]:
            return [
                Arrival((topic, header, bytes(len(payload))), t_ns)
                for (topic, header, payload), t_ns in super().to_central_unit(arrivals)
            ]

    honest, forged = run_quietly(QUIET), run_quietly(QUIET, wire=Forging())
    assert forged.fixes.column("x_m").to_pylist() != honest.fixes.column("x_m").to_pylist()


def test_nothing_is_handed_over_before_there_is_much() -> None:
    wire = Counting()
    run_quietly(QUIET | {"duration": "0.3 s", "ues": {"ue1": walking_from(80, "1 kHz")}}, wire=wire)
    assert wire.frames == pytest.approx(6 * 300, abs=6 * 5)
    assert wire.times <= 0.3e9 / LAG_NS * (1 + 6 * LAG_NS * 1e-6 / 512) + 1


def calls_per_fix(ues: int, seconds: int) -> float:
    """Function calls of one more fix, between a run and one twice as long."""
    way = walking_from(60, "1 Hz") | {"count": ues, "stagger": f"{1000 // ues} ms"}
    calls, fixes = list[int](), list[int]()
    for length in (seconds, 2 * seconds):
        profile = cProfile.Profile()
        profile.enable()
        try:
            result = run_quietly(QUIET | {"duration": f"{length} s", "ues": {"ue": way}}, wire=DirectWire())
        finally:
            profile.disable()
        calls.append(sum(entry.callcount for entry in profile.getstats()))
        fixes.append(result.summary["fixes"])
    return (calls[1] - calls[0]) / (fixes[1] - fixes[0])


def test_a_fix_costs_no_more_calls_among_many_ues() -> None:
    run_quietly(QUIET)  # what is imported with the first run does not count
    few, many = calls_per_fix(4, 25), calls_per_fix(100, 1)
    assert many <= 1.3 * few
    assert many < 2_000


def test_a_backlog_is_told_by_time_then_moment_then_order() -> None:
    backlog, said = Backlog(), list[str]()
    backlog.note(2, 0, said.append, "later")
    backlog.note(1, 3, said.append, "last of its time")
    backlog.note(1, 1, said.append, "one")
    backlog.note(1, 1, said.append, "two")
    backlog.clear()
    backlog.clear()
    assert said == ["one", "two", "last of its time", "later"]


def interrupted_at(number: int, monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> int:
    """Run with a Ctrl-C at one of the calls that the world makes; gives how many calls there were."""
    calls, run_world = 0, LaggingWorld.run

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"
        if event == "call" and calls == number:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGINT)

    def watched(world: LaggingWorld, progress: Any) -> None:
        sys.setprofile(called)
        try:
            run_world(world, progress)
        finally:
            sys.setprofile(None)

    with monkeypatch.context() as patch, interruptible(), suppress(KeyboardInterrupt):
        patch.setattr(LaggingWorld, "run", watched)
        run()
    return calls


def test_wherever_a_run_is_interrupted_it_has_come_to_the_time_that_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has happened before is there, as in a run that goes on, and nothing is of later."""
    whole = run_quietly(CROWDED)
    calls = interrupted_at(-1, monkeypatch, lambda: run_quietly(CROWDED))
    ends = set()
    for number in np.linspace(1, calls, INTERRUPTIONS).astype(int).tolist():
        out = tmp_path / f"{number}"
        interrupted_at(number, monkeypatch, partial(run_quietly, CROWDED, out))
        folder = RunFolder(out)
        end_ns = round(json.loads((out / "summary.json").read_text())["sim_time_s"] * 1e9)
        ends.add(end_ns)
        closed_ns = pc.subtract(whole.fixes.column("t_fix_ns"), 1_000_000)
        assert folder.table("fixes").equals(whole.fixes.filter(pc.less(closed_ns, end_ns)))
        frames = folder.table("frames")
        for column in ("t_sample_ns", "t_publish_ns", "t_arrival_ns"):
            assert (pc.max(frames.column(column)).as_py() or 0) <= end_ns
        arrived_ns = whole.frames.column("t_arrival_ns")
        assert pc.count(frames.column("t_arrival_ns")).as_py() == pc.sum(pc.less(arrived_ns, end_ns)).as_py()
    assert len(ends) > 3


def closed(ue: str, t_close_ns: int) -> Snapshot:
    return Snapshot(ue, 0, t_close_ns, 0, ())


def test_ues_that_recur_are_tracked_one_after_the_other() -> None:
    a1, b1, b2, a3 = closed("a", 1), closed("b", 1), closed("b", 2), closed("a", 3)
    assert in_groups([a1, b1, b2, a3]) == [[a1, b1], [b2, a3]]


def test_a_ue_twice_at_a_time_stays_apart_from_all_others() -> None:
    a1, a1_too, b2, c3 = closed("a", 1), closed("a", 1), closed("b", 2), closed("c", 3)
    assert in_groups([a1, a1_too, b2, c3]) == [[a1, a1_too], [b2, c3]]
