"""A recording is fused and tracked again: the same with the same policy, otherwise with another one."""

import math
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from models.testing import GeometryModel
from sim.errors import UserError
from sim.fingerprint import Event
from sim.live import Conductor
from sim.live.hub import Hub as Viewers
from sim.replay import replay
from sim.run_folder import RunFolder, RunFolderError
from sim.scenario import load_scenario
from sim.streams_out import Hub
from tests.sim.kit import QUIET, run_quietly, walking_from

LOSSY: dict[str, Any] = {
    "duration": "2 s",
    "ues": {"ue1": walking_from(80), "ue2": walking_from(70, "7 Hz")},
    "fronthaul": {
        "default": {
            "capacity": "1 Mbit/s",
            "latency": "1 ms",
            "jitter": {"kind": "exponential", "mean": "15 ms"},
            "loss": {"kind": "bernoulli", "rate": "20 %"},
        },
        "shared": {"core": {"capacity": "500 kbit/s", "members": ["bs1", "bs2", "bs3"]}},
    },
    "faults": [{"at": "1 s", "kind": "bs_down", "bs": "bs3", "for": "300 ms"}],
    "cu": {"deadline": "40 ms", "min_bs": 3, "processing": "5 ms"},
}
MODEL = GeometryModel()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "lossy"
    run_quietly(LOSSY, out)
    return out


@pytest.mark.parametrize("late", ["drop", "retrodict"])
def test_the_same_policy_gives_the_same_fixes(late: str, tmp_path: Path) -> None:
    run = run_quietly(LOSSY | {"cu": LOSSY["cu"] | {"late": late}}, tmp_path / "run")
    again = replay(tmp_path / "run", model=MODEL)
    assert again.same_fixes
    assert again.fixes.equals(run.fixes)
    counts = run.summary["frames"]
    assert counts["dropped"]["bs_down"] > 0
    assert (counts["dropped"].get("late", 0) > 0) == (late == "drop")
    for key, value in again.summary["frames"].items():
        assert value == counts[key], key
    for key in ("track_error_3d_mean_m", "fix_anees", "age_p99_s", "fixes", "fixes_missed", "payload_ratio"):
        assert again.summary[key] == run.summary[key], key


def test_what_is_in_flight_at_the_end_was_published_in_a_replay_too(tmp_path: Path) -> None:
    slow = {"default": {"capacity": "10 Mbit/s", "latency": "150 ms"}}
    run = run_quietly({"fronthaul": slow}, tmp_path / "run")
    again = replay(tmp_path / "run", model=MODEL)
    assert again.summary["frames"]["in_flight"] > 0
    for key in ("payload_bits", "wire_bits", "payload_ratio", "wire_ratio"):
        assert again.summary[key] == run.summary[key], key
    place = [("seq", "ascending"), ("bs", "ascending")]
    assert again.frames.sort_by(place).equals(run.frames.sort_by(place))


def test_events_of_the_central_unit_are_the_same(tmp_path: Path) -> None:
    heard: list[Event] = []
    again: list[Event] = []
    run_quietly(LOSSY, tmp_path / "run", listener=heard.append)
    replay(tmp_path / "run", model=MODEL, listener=again.append)
    absent = {"publish", "bs_down", "bs_up"}
    assert again == [event for event in heard if event.kind not in absent]


def test_a_longer_deadline_lets_late_frames_in(recording: Path) -> None:
    before = replay(recording, model=MODEL).summary
    after = replay(recording, ["cu.deadline=95 ms"], model=MODEL)
    assert not after.same_fixes
    assert after.summary["frames"]["dropped"].get("late", 0) < before["frames"]["dropped"]["late"]
    assert after.summary["fixes_missed"] < before["fixes_missed"]
    assert after.summary["latency_p99_s"] > before["latency_p99_s"]


def test_more_base_stations_wanted_means_fewer_fixes(recording: Path) -> None:
    strict = replay(recording, ["cu.min_bs=5"], model=MODEL).summary
    assert strict["fixes"] < replay(recording, model=MODEL).summary["fixes"]


def test_another_tracker_leaves_the_fixes(recording: Path) -> None:
    one = replay(recording, model=MODEL)
    other = replay(recording, ["tracker.acceleration=5 m/s2"], model=MODEL)
    assert other.fixes.column("x_m").equals(one.fixes.column("x_m"))
    assert not other.fixes.column("track_x_m").equals(one.fixes.column("track_x_m"))


def test_a_replay_can_be_replayed(recording: Path, tmp_path: Path) -> None:
    once = replay(recording, ["cu.min_bs=2"], tmp_path / "once", model=MODEL)
    twice = replay(tmp_path / "once", model=MODEL)
    assert twice.same_fixes
    assert twice.digest == once.digest


def broken_off(folder: Path, after_ns: int = 1_000_000_000) -> None:
    """A run into a folder that is interrupted after a second."""

    def stop(t_ns: int) -> None:
        if t_ns > after_ns:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_quietly(LOSSY, folder, progress=stop)


@pytest.mark.parametrize("after_ns", [1_000_000_000, 1_500_000_000])
def test_a_run_that_broke_off_is_replayed_as_far_as_it_goes(after_ns: int, tmp_path: Path) -> None:
    broken_off(tmp_path / "run", after_ns)
    assert replay(tmp_path / "run", model=MODEL).same_fixes


def test_a_run_that_was_killed_ends_with_the_last_that_is_known_of_it(tmp_path: Path) -> None:
    broken_off(tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text('{"complete": false, "closed": false}')
    path = tmp_path / "run" / "fixes.parquet"
    pq.write_table(pq.read_table(path).slice(0, 5), path)  # the others were not written yet
    again = replay(tmp_path / "run", model=MODEL)
    assert again.same_fixes
    assert again.summary["sim_time_s"] == pytest.approx(1.0, abs=0.1)
    assert again.summary["age_p99_s"] < 1.0
    assert not replay(tmp_path / "run", ["cu.min_bs=5"], model=MODEL).same_fixes


def test_only_the_central_unit_can_be_changed(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a replay can change cu and tracker only, not seed=2"):
        replay(recording, ["seed=2"], tmp_path / "out", model=MODEL)
    assert not (tmp_path / "out").exists()


def test_other_weights_are_refused(recording: Path) -> None:
    with pytest.raises(UserError, match="recorded with weights"):
        replay(recording, model=GeometryModel(name="other"))


def test_a_recording_is_not_overwritten_by_its_replay(recording: Path) -> None:
    with pytest.raises(UserError, match="is the recording itself"):
        replay(recording, out=recording, model=MODEL)


@pytest.mark.parametrize("name", ["bus.mcap", "fixes.parquet", "frames.parquet"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_recording_is_refused_before_anything_is_written(
    name: str, damage: str, tmp_path: Path
) -> None:
    run_quietly(QUIET, tmp_path / "run")
    path = tmp_path / "run" / name
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(RunFolderError, match="missing" if damage == "missing" else "damaged"):
        replay(tmp_path / "run", out=tmp_path / "again", model=MODEL)
    assert not (tmp_path / "again").exists()


def test_a_watched_replay_tells_what_a_watched_run_would_have_told(recording: Path, tmp_path: Path) -> None:
    scenario = load_scenario(recording / "scenario.resolved.yaml")
    viewers, hub = Viewers(), Hub("run1")
    reader = hub.reader("one")
    watch = Conductor(scenario, viewers, speed=math.inf)
    result = replay(recording, out=tmp_path / "again", model=MODEL, watch=watch, hub=hub)
    assert result.same_fixes, "being watched changes nothing"
    told = {update.topic: update.content for update in reader.take(0.0)}
    assert told["track/ue1/"]["seq"] == 19
    assert told["link/core/"]["sent"] == result.summary["links"]["core"]["sent"]
    assert told["link/core/"]["dropped"] == result.summary["links"]["core"]["dropped"]
    assert told["run/state/"]["figures"]["fixes"] == result.summary["fixes"]
    assert told["fault/bs3/"]["kind"] == "bs_up"
    with viewers.view() as view:
        seen = view.history
    assert {"truth/ue1", "track/ue2", "link/bs1", "link/core", "totals", "run"} <= set(seen)
    assert seen["run"][-1]["state"] == "ended"
    assert seen["totals"][-1]["fixes"] == result.summary["fixes"]
    again = [one.body for one in RunFolder.open(tmp_path / "again").messages() if "fault/" in one.topic]
    assert len(again) == 2, "what failed is in the recording of the replay too"


def test_a_replay_goes_at_the_pace_that_is_wanted(recording: Path) -> None:
    scenario = load_scenario(recording / "scenario.resolved.yaml")
    began = time.monotonic()
    replay(recording, model=MODEL, watch=Conductor(scenario, Viewers(), speed=4.0))
    assert time.monotonic() - began > 2.0 / 4.0 - 0.1
