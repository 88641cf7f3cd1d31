"""A watched run: its pace, what is told of it, and what viewers may do to it."""

import math
import time
from collections.abc import Mapping
from threading import Thread
from typing import Any

import pytest

from sim.live import Conductor, Hub
from sim.live.control import Command
from tests.sim.kit import run_quietly, scenario_of

ONE_SECOND = {"duration": "1 s"}


class Commands(Conductor):
    """Submits commands at simulated times."""

    script: Mapping[float, Command] = {}

    def passes(self, t_ns: int) -> None:
        for t_s in [t_s for t_s in self.script if t_s * 1e9 <= t_ns]:
            self.script = dict(self.script)
            self.submit(self.script.pop(t_s))
        super().passes(t_ns)


def watched(
    changes: Mapping[str, Any], script: Mapping[float, Command] | None = None, speed: float = math.inf
) -> tuple[dict[str, Any], dict[str, list[Mapping[str, Any]]]]:
    """The summary of a watched run, and all that the hub kept."""
    scenario, hub = scenario_of(changes), Hub()
    conductor = Commands(scenario, hub, speed=speed)
    conductor.script = script or {}
    result = run_quietly(scenario, watch=conductor)
    with hub.view() as view:
        return result.summary, view.history


def test_being_watched_changes_nothing() -> None:
    changes: dict[str, Any] = {
        **ONE_SECOND,
        "fronthaul": {
            "default": {
                "capacity": "200 kbit/s",
                "latency": "1 ms",
                "loss": {"kind": "bernoulli", "rate": "10 %"},
            },
            "shared": {"ring": {"capacity": "1 Mbit/s", "latency": "1 ms", "members": ["bs1", "bs2"]}},
        },
        "faults": [{"at": "0.3 s", "kind": "capacity", "link": "bs1", "to": "50 kbit/s", "for": "0.2 s"}],
    }
    alone = run_quietly(changes).summary
    together, _ = watched(changes)
    assert (together["fingerprint"], together["digest"]) == (alone["fingerprint"], alone["digest"])


def test_the_page_is_told_what_the_summary_says() -> None:
    changes = {**ONE_SECOND, "faults": [{"at": "0.5 s", "kind": "bs_down", "bs": "bs3"}], "cu": {"min_bs": 6}}
    summary, told = watched(changes)
    totals = told["totals"][-1]
    assert summary["fixes_missed"] > 0
    assert (totals["fixes"], totals["missed"]) == (summary["fixes"], summary["fixes_missed"])
    assert totals["mean"] == pytest.approx(summary["fix_error_3d_mean_m"], abs=1e-4)
    assert len(told["truth/ue1"]) == 10
    assert len(told["fix/ue1"]) == summary["fixes"]
    for bs, link in summary["links"].items():
        said = told[f"link/{bs}"][-1]
        assert (said["t"], said["sent"], said["delivered"]) == (1.0, link["sent"], link["delivered"])
    assert told["faults"][-1]["down"] == ["bs3"]
    assert told["run"][-1]["state"] == "ended"


def test_loads_add_up_to_the_utilisation_of_the_link() -> None:
    summary, told = watched({"duration": "2 s", "fronthaul": {"default": {"capacity": "100 kbit/s"}}})
    loads = [value["load"] for value in told["link/bs1"]]
    assert sum(loads) / 20 == pytest.approx(summary["links"]["bs1"]["utilisation"], abs=0.02)


def test_a_viewer_takes_a_base_station_down_and_the_run_records_it() -> None:
    script = {0.35: Command("bs_down", "bs3"), 0.75: Command("bs_up", "bs3")}
    summary, told = watched(ONE_SECOND, script)
    assert [(fault["kind"], fault["target"]) for fault in summary["faults"]] == [
        ("bs_down", "bs3"),
        ("bs_up", "bs3"),
    ]
    assert all(0.3 <= fault["t_s"] <= 0.85 for fault in summary["faults"])
    used = {round(fix["s"], 3): fix["bs"] for fix in told["fix/ue1"]}
    assert "bs3" in used[0.3]
    assert "bs3" not in used[0.5]
    assert "bs3" in used[0.9]
    assert summary["valid"]


def test_a_viewer_throttles_and_cuts_a_link() -> None:
    script = {
        0.25: Command("throttle", "bs1", 20_000.0),
        0.65: Command("throttle", "bs1"),
        0.75: Command("link_down", "bs2"),
    }
    summary, told = watched(ONE_SECOND, script)
    capacities = [value["capacity"] for value in told["link/bs1"]]
    assert capacities[0] == 10_000_000
    assert 20_000 in capacities
    assert capacities[-1] == 10_000_000
    assert told["link/bs2"][-1]["up"] is False
    assert summary["links"]["bs2"]["dropped"]["link_down"] == 2
    assert summary["valid"]


def test_the_same_interventions_at_the_same_times_give_the_same_run() -> None:
    script = {0.35: Command("bs_down", "bs3"), 0.6: Command("throttle", "bs1", 20_000.0)}
    one, _ = watched(ONE_SECOND, script)
    other, _ = watched(ONE_SECOND, script)
    assert one["digest"] == other["digest"]


def test_a_run_keeps_its_pace() -> None:
    started = time.monotonic()
    watched(ONE_SECOND, speed=4.0)
    assert time.monotonic() - started > 0.2


def test_what_is_done_to_a_link_of_a_paused_run_is_told_at_once() -> None:
    scenario, hub = scenario_of({"duration": "0.6 s"}), Hub()
    conductor = Commands(scenario, hub)
    conductor.script = {0.35: Command("pause")}
    run = Thread(target=run_quietly, args=(scenario,), kwargs={"watch": conductor})
    with hub.view() as view:
        run.start()
        until(lambda: view.take().get("run", {}).get("state") == "paused")
        conductor.submit(Command("throttle", "bs2", 50_000.0))
        try:
            until(lambda: view.take().get("link/bs2", {}).get("capacity") == 50_000)
        finally:
            conductor.submit(Command("resume"))
            run.join(timeout=20)


def test_a_paused_run_obeys_and_goes_on() -> None:
    scenario, hub = scenario_of({"duration": "0.6 s"}), Hub()
    conductor = Conductor(scenario, hub, speed=5.0)
    conductor.submit(Command("pause"))
    run = Thread(target=run_quietly, args=(scenario,), kwargs={"watch": conductor})
    with hub.view() as view:
        run.start()
        until(lambda: view.take().get("run", {}).get("state") == "paused")
        conductor.submit(Command("bs_down", "bs2"))
        until(lambda: view.take().get("faults", {}).get("down") == ["bs2"])
        assert run.is_alive()
        conductor.submit(Command("speed", to=100.0))
        conductor.submit(Command("resume"))
        run.join(timeout=20)
    assert not run.is_alive()
    assert not conductor.submit(Command("pause"))


def test_a_flood_of_commands_is_turned_away() -> None:
    conductor = Conductor(scenario_of({}), Hub())
    accepted = [conductor.submit(Command("pause")) for _ in range(1000)]
    assert accepted.count(True) == 64


def test_a_hub_without_viewers_and_one_with_a_viewer_who_sleeps_cost_the_same() -> None:
    scenario, hub = scenario_of({"duration": "1 s"}), Hub()
    with hub.view() as asleep:
        run_quietly(scenario, watch=Conductor(scenario, hub, speed=math.inf))
        assert len(asleep.take()) <= 3 + 6 + 3
        assert asleep.dropped > 50


def test_links_are_looked_at_ten_times_a_second_and_at_the_end() -> None:
    _, told = watched(ONE_SECOND)
    assert [round(value["t"], 1) for value in told["link/bs1"]] == [n / 10 for n in range(1, 11)]


def until(happens: Any, timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not happens():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.01)
