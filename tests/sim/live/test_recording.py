"""A finished run, seen as the stream it was."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sim.live import Hub, recording_of
from sim.live.control import Command
from sim.live.recording import MAX_VALUES, _thinned
from sim.run_folder import BusMessage, RunFolder
from sim.scenario import load_scenario
from tests.sim.kit import run_quietly, scenario_of
from tests.sim.live.test_conductor import Commands

BUSY: dict[str, Any] = {
    "duration": "1 s",
    "fronthaul": {
        "default": {"capacity": "150 kbit/s", "latency": "1 ms", "queue": "4 kB"},
        "shared": {"ring": {"capacity": "250 kbit/s", "latency": "1 ms", "members": ["bs1", "bs2"]}},
    },
    "faults": [
        {"at": "0.2 s", "kind": "bs_down", "bs": "bs3", "for": "0.3 s"},
        {"at": "0.4 s", "kind": "link_outage", "link": "bs2", "for": "0.2 s"},
        {"at": "0.5 s", "kind": "loss_burst", "link": "bs4", "rate": "50 %", "for": "0.4 s"},
    ],
}


MANY: dict[str, list[Mapping[str, Any]]] = {f"link/{n}": [] for n in range(100)}


def recorded(path: Path) -> dict[str, Any]:
    folder = RunFolder.open(path)
    return recording_of(folder, load_scenario(folder.scenario_path))


def test_it_is_what_a_viewer_saw(tmp_path: Path) -> None:
    scenario, hub = scenario_of(BUSY), Hub()
    conductor = Commands(scenario, hub, speed=math.inf)
    conductor.script = {0.61: Command("throttle", "bs5", 60_000.0), 0.7: Command("bs_down", "bs6")}
    run_quietly(scenario, tmp_path / "run", watch=conductor)
    with hub.view() as view:
        seen = view.history
    found = recorded(tmp_path / "run")["series"]
    for ue_key in ("truth/ue1", "fix/ue1", "track/ue1"):
        assert found[ue_key] == seen[ue_key]
    counts = [{**series["totals"][-1], "t": 0.0} for series in (found, seen)]
    assert counts[0] == counts[1]
    assert found["faults"][-1] == seen["faults"][-1]
    for link in (*scenario.bs_ids, "ring"):
        # Looked at somewhat other times: the counts at the end of the last look must agree.
        at_s = {value["t"]: value for value in found[f"link/{link}"]}
        last = found[f"link/{link}"][-1]
        later = next(value for value in seen[f"link/{link}"] if value["t"] >= last["t"] - 1e-8)
        assert last["capacity"] == later["capacity"]
        assert last["up"] == later["up"]
        assert last["sent"] <= later["sent"] <= last["sent"] + 1
        assert len(at_s) == 10, "nine times between the ends, and at the end"


def test_totals_are_those_of_the_summary(tmp_path: Path) -> None:
    """Also of snapshots of which the end was known at the last moment, or after it."""
    busy = BUSY | {"duration": "954 ms", "cu": {"min_bs": 5, "deadline": "50 ms", "processing": "5 ms"}}
    summary = run_quietly(busy, tmp_path / "run").summary
    found = recorded(tmp_path / "run")
    totals = found["series"]["totals"][-1]
    assert summary["fixes_missed"] > 0
    assert (totals["fixes"], totals["missed"]) == (summary["fixes"], summary["fixes_missed"])
    assert totals["mean"] == pytest.approx(summary["fix_error_3d_mean_m"], abs=1e-4)
    assert totals["t"] <= found["end_s"]


def test_what_was_written_down_late_is_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_quietly(BUSY, tmp_path / "run")
    before = recorded(tmp_path / "run")["series"]
    written = RunFolder.messages

    def late(folder: RunFolder) -> Iterator[BusMessage]:
        """What became of the third snapshot is told at the end, as in real time of one that was missed."""
        messages = list(written(folder))
        yield from (message for message in messages if not is_late(message))
        yield from (message for message in messages if is_late(message))

    def is_late(message: BusMessage) -> bool:
        return message.sequence == 3 and message.topic.startswith(("fix/", "track/"))

    monkeypatch.setattr(RunFolder, "messages", late)
    after = recorded(tmp_path / "run")["series"]
    assert after["track/ue1"] == before["track/ue1"]
    assert after["totals"] == before["totals"]
    assert [fix["e"] for fix in after["fix/ue1"]] == [fix["e"] for fix in before["fix/ue1"]]


def test_twenty_minutes_of_one_ue_are_whole() -> None:
    """So that ages are those of the run: of a fix that is left out the page would not know."""
    values: list[Mapping[str, Any]] = [{"t": n / 10, "s": n / 10} for n in range(12_000)]
    kinds = ("truth/ue1", "fix/ue1", "track/ue1", "frames", "totals", "faults")
    series = dict.fromkeys((*kinds, *(f"link/bs{n}" for n in range(6))), values)
    assert _thinned(series) == series


def test_a_long_series_is_thinned_and_keeps_its_end() -> None:
    values: list[Mapping[str, Any]] = [{"t": float(n)} for n in range(2 * MAX_VALUES + 1)]
    thinned = _thinned(MANY | {"frames": values})["frames"]
    assert len(thinned) <= MAX_VALUES
    assert (thinned[0], thinned[-1]) == (values[0], values[-1])


def test_fixes_and_tracks_are_thinned_to_the_same_snapshots(tmp_path: Path) -> None:
    """Also where there was no fix of some."""
    truths: list[Mapping[str, Any]] = [{"t": n / 10} for n in range(3 * MAX_VALUES)]
    tracks: list[Mapping[str, Any]] = [{"t": n / 10 + 0.01, "s": n / 10} for n in range(3 * MAX_VALUES)]
    fixes = [track for n, track in enumerate(tracks) if n % 7]
    thinned = _thinned(MANY | {"truth/ue1": truths, "track/ue1": tracks, "fix/ue1": fixes})
    tracked, fixed = ([value["s"] for value in thinned[f"{kind}/ue1"]] for kind in ("track", "fix"))
    assert len(tracked) <= MAX_VALUES
    assert [truth["t"] for truth in thinned["truth/ue1"]] == tracked
    assert set(fixed) <= set(tracked)
    assert len(fixed) == pytest.approx(6 / 7 * len(tracked), rel=0.01)


def test_links_do_again_what_they_did(tmp_path: Path) -> None:
    summary = run_quietly(BUSY, tmp_path / "run").summary
    series = recorded(tmp_path / "run")["series"]
    for name, link in summary["links"].items():
        last = series[f"link/{name}"][-1]
        assert (last["sent"], last["delivered"]) == (link["sent"], link["delivered"])
        assert last["causes"] == link["dropped"]
        looked = series[f"link/{name}"][-2]
        assert 0 <= link["sent"] - looked["sent"] <= 3
        assert 0 <= sum(link["dropped"].values()) - looked["dropped"] <= 3
    assert max(value["queue"] for value in series["link/ring"]) > 0


@pytest.mark.parametrize("missing", ["summary", "end"])
def test_a_run_that_broke_off_can_be_seen(tmp_path: Path, missing: str) -> None:
    def stop(t_ns: int) -> None:
        if t_ns > 300_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_quietly(BUSY, tmp_path / "run", progress=stop)
    if missing == "summary":
        (tmp_path / "run" / "summary.json").write_text('{"complete": false, "closed": false}')
    found = recorded(tmp_path / "run")
    assert found["end_s"] == pytest.approx(0.3, abs=0.1)
    assert len(found["series"]["truth/ue1"]) == 4
