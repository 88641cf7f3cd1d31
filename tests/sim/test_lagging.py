"""A world that hands over in batches does what one does that hands over frame by frame, in that order."""

import cProfile
from typing import Any

import pytest

import sim.api
from broker.bus import Arrival
from nodes.central_unit import in_groups
from nodes.collector import Snapshot
from sim.api import RunResult
from sim.lagging import LAG_NS, Backlog, LaggingWorld
from sim.study.stations import DirectWire
from tests.sim.kit import QUIET, run_quietly, walking_from

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


def closed(ue: str, t_close_ns: int) -> Snapshot:
    return Snapshot(ue, 0, t_close_ns, 0, ())


def test_ues_that_recur_are_tracked_one_after_the_other() -> None:
    a1, b1, b2, a3 = closed("a", 1), closed("b", 1), closed("b", 2), closed("a", 3)
    assert in_groups([a1, b1, b2, a3]) == [[a1, b1], [b2, a3]]


def test_a_ue_twice_at_a_time_stays_apart_from_all_others() -> None:
    a1, a1_too, b2, c3 = closed("a", 1), closed("a", 1), closed("b", 2), closed("c", 3)
    assert in_groups([a1, a1_too, b2, c3]) == [[a1, a1_too], [b2, c3]]
