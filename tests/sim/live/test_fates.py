"""What became of frames, as the page is told: while a run goes, and of its recording."""

import math
from pathlib import Path
from typing import Any

from sim.live import Conductor, Hub, recording_of
from sim.live.fates import FateFeed
from sim.metrics import FrameCounts
from sim.run_folder import RunFolder
from sim.scenario import load_scenario
from tests.sim.kit import run_quietly, scenario_of

LOSSY: dict[str, Any] = {
    "duration": "1 s",
    "cu": {"deadline": "6 ms", "min_bs": 1, "processing": "1 ms"},
    "fronthaul": {
        "default": {"capacity": "10 Mbit/s", "latency": "1 ms"},
        "links": {"bs2": {"capacity": "10 Mbit/s", "latency": "20 ms"}},
    },
    "faults": [
        {"at": "0.35 s", "kind": "bs_down", "bs": "bs3", "for": "0.3 s"},
        {"at": "0.55 s", "kind": "link_outage", "link": "bs4", "for": "0.2 s"},
    ],
}


def told_of(counts: FrameCounts) -> dict[str, Any]:
    return {"sent": counts.sent, "dropped": sum(counts.dropped.values()), "causes": counts.dropped}


def test_the_page_is_told_what_the_summary_says(tmp_path: Path) -> None:
    scenario, hub = scenario_of(LOSSY), Hub()
    frames = run_quietly(scenario, tmp_path / "run", watch=Conductor(scenario, hub, speed=math.inf)).summary[
        "frames"
    ]
    assert set(frames["dropped"]) == {"late", "bs_down", "link_down"}
    with hub.view() as view:
        seen = view.history["frames"]
    folder = RunFolder.open(tmp_path / "run")
    found = recording_of(folder, load_scenario(folder.scenario_path))["series"]["frames"]
    for series in (seen, found):
        last = series[-1]
        assert last["t"] == 1.0
        assert (last["sent"], last["causes"]) == (frames["sent"], frames["dropped"])
        for value in series:
            assert value["dropped"] == sum(value["causes"].values())
    for t_s, cause in ((0.3, "bs_down"), (0.5, "link_down")):
        for series in (seen, found):
            before = [value for value in series if value["t"] <= t_s]
            assert before[-1]["sent"] > 0
            assert cause not in before[-1]["causes"], "nothing is told before it happens"
    half = {value["t"]: value for value in found}[0.5]
    # Six instants by six base stations; what bs2 sent at the last one is still on its way.
    assert (half["sent"], half["causes"]) == (36, {"late": 5, "bs_down": 2})


def test_counts_are_told_now_and_then() -> None:
    class Books:
        counts = FrameCounts(sent=6, delivered=4, in_flight=1, dropped={"late": 1})

    told: list[tuple[str, Any]] = []
    feed = FateFeed(Books(), lambda key, value: told.append((key, value)), every_ns=100)
    for t_ns in (0, 99, 100, 101, 250):
        feed.look(t_ns)
    assert told == [("frames", {"t": t_ns / 1e9} | told_of(Books.counts)) for t_ns in (100, 250)]
