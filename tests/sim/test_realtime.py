"""Real time: parts by the wall clock, what is said about lag, and a run that goes on when parts do not."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zmq

from broker.keys import make_keys
from models.runtime import WEIGHTS
from models.testing import GeometryModel
from sim.agenda import Moment
from sim.api import RunResult
from sim.clock import ns_from_s
from sim.errors import UserError
from sim.fingerprint import Event
from sim.realtime import LagError, Pace, RealtimeWorld, run_realtime
from sim.replay import replay
from sim.run_folder import TABLE_NAMES, RunFolder
from sim.streams_out import Hub
from tests.broker.test_mqtt import free_port
from tests.sim.kit import ROOT, TWO_BS, GeometryChannel, scenario_of, walking_from
from tests.sim.test_processes import children

FAST: dict[str, Any] = {
    "deployment": TWO_BS,
    "duration": "1 s",
    "ues": {"ue1": walking_from(80)},
    # A busy machine is late: here that is no reason to miss a fix.
    "cu": {"deadline": "900 ms", "min_bs": 1, "processing": "5 ms"},
}


def run_now(
    changes: dict[str, Any] | None = None,
    out: Path | None = None,
    channel: Callable[..., Any] = GeometryChannel,
    **arguments: Any,
) -> RunResult:
    scenario = scenario_of(FAST | (changes or {}))
    model = GeometryModel(scenario.bs_ids)
    return run_realtime(scenario, out, model=model, channel=channel(scenario, model), **arguments)


def test_a_run_in_real_time_and_its_replay(tmp_path: Path) -> None:
    result = run_now(out=tmp_path)
    summary = result.summary
    assert summary["valid"]
    assert summary["complete"]
    assert summary["fixes"] == 10
    dropped = summary["frames"]["dropped"]
    assert set(dropped) <= {"late", "stale"}, "what a busy machine adds"
    assert summary["frames"]["delivered"] + sum(dropped.values()) == 20
    for name in ("lag", "processing", "delay_modelled", "delay_observed"):
        assert 0.0 <= summary[f"{name}_p50_s"] <= summary[f"{name}_p99_s"] <= summary[f"{name}_max_s"]
    assert summary["delay_modelled_p50_s"] == pytest.approx(0.0011, abs=0.0002)  # 1 ms and 150 bytes
    own = summary["frames"]["per_bs"]["bs1"]["dropped"]
    assert summary["links"]["bs1"]["delivered"] == 10 - own.get("stale", 0)
    assert not children()
    again = replay(tmp_path, model=GeometryModel(("bs1", "bs2")))
    assert again.same_fixes


def test_what_arrives_after_the_last_snapshot_is_replayed(tmp_path: Path) -> None:
    """A run in real time waits for it, beyond the end of the scenario."""
    result = run_now({"fronthaul": {"default": {"latency": "300 ms"}}}, out=tmp_path)
    assert max(row["t_fix_ns"] for row in result.fixes.to_pylist()) > 1_000_000_000
    again = replay(tmp_path, model=GeometryModel(("bs1", "bs2")))
    assert again.same_fixes
    assert again.summary["frames"] == result.summary["frames"]


def test_streams_end_with_what_the_summary_says() -> None:
    hub = Hub("run1")
    summary = run_now(hub=hub).summary
    told = {topic: update.content for topic, update in hub.latest().items()}
    for bs, link in summary["links"].items():
        assert {key: told[f"link/{bs}/"][key] for key in link} == link
    figures = told["run/state/"]["figures"]
    assert (figures["fixes"], figures["frames_sent"]) == (summary["fixes"], 20)


@pytest.mark.parametrize("later", [True, False])
def test_what_the_broker_does_not_tell_in_time_is_recorded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    """As if it had been heard after the central unit, or had died before it could tell."""
    offered, received = RealtimeWorld._offered, RealtimeWorld._received
    untold: list[tuple[Any, ...]] = []

    def keep(world: RealtimeWorld, *told: Any) -> None:
        untold.append((world, *told))

    def then_tell(world: RealtimeWorld, *entry: Any) -> None:
        received(world, *entry)
        while later and untold:
            offered(*untold.pop())

    monkeypatch.setattr(RealtimeWorld, "_offered", keep)
    monkeypatch.setattr(RealtimeWorld, "_received", then_tell)
    result = run_now(out=tmp_path)
    assert result.summary["valid"]
    assert (result.summary["fixes"], result.summary["frames_not_ours"]) == (10, 0)
    assert result.frames.to_pandas().wire_bits.min() > 0
    assert replay(tmp_path, model=GeometryModel(("bs1", "bs2"))).same_fixes


def test_what_has_become_of_a_run_can_be_read_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.realtime.SAVE_EVERY_S", 0.2)
    monkeypatch.setattr("sim.realtime.BEAT_EVERY_S", 0.1)
    seen: list[int] = []

    def prepare(world: RealtimeWorld) -> None:
        def look() -> None:
            folder = RunFolder.open(tmp_path)
            seen.extend(folder.table(name).num_rows for name in TABLE_NAMES)

        world.at(ns_from_s(1.9), Moment.FAULT, look)

    result = run_now({"duration": "2 s"}, out=tmp_path, prepare=prepare)
    assert 0 < min(seen) <= max(seen) < 40, "of 20 fixes and 40 frames"
    assert (result.fixes.num_rows, result.frames.num_rows) == (20, 40)
    assert result.fixes["seq"].to_pylist() == list(range(20))


def test_a_run_at_twice_the_speed_takes_half_the_time() -> None:
    begun: list[float] = []
    result = run_now(
        {"duration": "2 s", "ues": {"ue1": walking_from(80, "2 Hz")}},
        pace=Pace(speed=4.0),
        listener=lambda event: begun.append(time.monotonic()),
    )
    assert result.summary["sim_time_s"] == 2.0
    assert result.summary["speed"] == 4.0


def test_a_part_from_elsewhere_joins_with_its_key(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys", ["broker", "cu", "bs1", "bs2"])
    elsewhere: list[subprocess.Popen[bytes]] = []
    port = free_port()

    def start() -> None:
        command = [sys.executable, "-m", "nodes", "bs", "--id", "bs2", "--keys", str(tmp_path / "keys")]
        command += ["--world", f"tcp://127.0.0.1:{port}"]
        elsewhere.append(subprocess.Popen(command, cwd=ROOT))

    start()
    try:
        result = run_now(keys_folder=tmp_path / "keys", port=port, spawn=["broker", "cu", "bs1"])
        assert elsewhere[0].wait(20) == 0, "it ends with the run"
    finally:
        elsewhere[0].kill()
        elsewhere[0].wait()
    assert result.summary["frames"]["per_bs"]["bs2"]["delivered"] == 10


def test_leaving_the_machine_takes_keys() -> None:
    with pytest.raises(UserError, match=r"0\.0\.0\.0: leaves this machine, which needs --keys"):
        run_now(host="0.0.0.0")
    with pytest.raises(UserError, match=r"world\.key: No such file"):
        run_now(keys_folder=Path("nowhere"))


def test_an_address_or_a_port_that_cannot_be_bound_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"^127\.0\.0\.1, port {port}: cannot be bound: Address already"):
            run_now(port=port)
    make_keys(tmp_path, [])
    with pytest.raises(UserError, match=r"^203\.0\.113\.9: cannot be bound: Cannot assign"):
        run_now(host="203.0.113.9", keys_folder=tmp_path)


class SlowChannel(GeometryChannel):
    """Takes its time once."""

    def pilots(self, ue: str, index: int, /) -> npt.NDArray[np.complex64]:
        if index == 2:
            time.sleep(0.5)
        return super().pilots(ue, index)


def test_a_run_that_may_not_lag_aborts_and_leaves_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(LagError, match="behind"):
        run_now(out=tmp_path, channel=SlowChannel, pace=Pace(max_lag_s=0.15, policy="abort"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["complete"], summary["closed"]) == (False, True)
    assert not children()


def test_a_run_that_lags_leaves_snapshots_out_if_told() -> None:
    result = run_now(channel=SlowChannel, pace=Pace(max_lag_s=0.15, policy="degrade"))
    assert result.summary["snapshots_skipped"] >= 1
    assert result.summary["lag_max_s"] > 0.15
    assert (
        result.summary["fixes"] + result.summary["fixes_missed"] + result.summary["snapshots_skipped"] == 10
    )


def at(world: RealtimeWorld, t_s: float, action: Callable[[], None]) -> None:
    world.at(ns_from_s(t_s), Moment.FAULT, action)


def test_what_was_told_while_the_world_was_away_is_heard_before_anything_is_given_up(tmp_path: Path) -> None:
    run_now(out=tmp_path, prepare=lambda world: at(world, 0.205, lambda: time.sleep(3.5)))
    assert replay(tmp_path, model=GeometryModel(("bs1", "bs2"))).same_fixes


class Blows:
    """Kills parts and lets one hang, each when all have been there and at work for a second."""

    def __init__(self, world: RealtimeWorld) -> None:
        self.struck_ns: dict[str, int] = {}
        self.behind_ns = 0.0
        self._world = world
        self._coming = [("bs1", signal.SIGKILL), ("bs2", signal.SIGSTOP)]
        self._coming += [("broker", signal.SIGKILL), ("cu", signal.SIGKILL)]
        self._awaited: str | None = None
        self._calm_s = 0.0
        at(world, 0.5, self._look)

    def _look(self) -> None:
        world, now_s = self._world, self._world.now_ns / 1e9
        if world.watch.lost:
            if self._awaited in world.watch.lost:
                self._signal(self._awaited, signal.SIGCONT)
                self._awaited = None
            self._calm_s = now_s
        elif self._awaited is None and now_s - self._calm_s > 1.0:
            if not self._coming:
                self.behind_ns = 1e9 * (world.lag.figures("lag")["lag_max_s"] or 0.0)
                world.turn(8.0)  # nothing is to be seen in what is left
                return
            name, number = self._coming.pop(0)
            self.struck_ns[name] = world.clock.now_ns()
            self._signal(name, number)
            self._awaited = name
        if now_s < 24.0:
            at(world, now_s + 0.1, self._look)

    def _signal(self, name: str, number: int) -> None:
        process = self._world.parts.peers[name].process
        assert process is not None
        process.send_signal(number)


def test_parts_that_die_or_hang_are_noticed_and_used_again() -> None:
    events: list[Event] = []
    blows: list[Blows] = []
    points = {"from": ["80 m", "100 m", "5 m"], "to": ["90 m", "110 m", "5 m"]}
    walk = {"trajectory": {"kind": "line", **points, "duration": "25 s"}, "rate": "10 Hz"}
    result = run_now(
        {"duration": "25 s", "ues": {"ue1": walk}},
        prepare=lambda world: blows.append(Blows(world)),
        listener=events.append,
    )
    struck_ns, behind_ns = blows[0].struck_ns, blows[0].behind_ns
    assert list(struck_ns) == ["bs1", "bs2", "broker", "cu"]
    summary = result.summary
    assert summary["valid"], summary["errors"]
    died = [entry["target"] for entry in summary["faults"] if entry["detail"].startswith("died")]
    assert sorted(died) == ["broker", "bs1", "cu"], "each is told once"
    fixes = result.fixes.to_pandas()
    fixes = fixes[~fixes.missed]
    for name, t_ns in struck_ns.items():
        lost_ns = first(events, "lost", name, t_ns)
        # A machine that is busy with something else adds what the world was behind.
        assert lost_ns - t_ns < 1e9 + behind_ns, f"{name} is missed within a second"
        back_ns = first(events, "back", name, lost_ns)
        after = fixes[(fixes.t_sample_ns > lost_ns) & (fixes.t_fix_ns > back_ns)]
        used = after[after.bs_used.str.contains(name)] if name.startswith("bs") else after
        assert used.t_fix_ns.min() - back_ns < 2e9 + behind_ns, f"{name} is used again within two seconds"
    # A track that begins stands still at first; one that goes on knows where to, at 0.4 m/s along x.
    begun = fixes.iloc[0]
    resumed = fixes[fixes.t_fix_ns > first(events, "back", "cu", struck_ns["cu"])].iloc[0]
    assert abs(begun.track_vx_mps) < 0.1
    assert 0.25 < resumed.track_vx_mps < 0.55, "the central unit goes on with its tracks"
    assert resumed.track_error_3d_m < 1.0
    frames = summary["frames"]
    assert frames["sent"] == frames["delivered"] + frames["in_flight"] + sum(frames["dropped"].values())
    assert set(frames["dropped"]) <= {"bs_down", "broker_down", "cu_down", "late", "stale"}
    assert not children()


def test_what_a_broker_carried_counts_however_it_came_to_its_end() -> None:
    """It hangs and is lost by that; that it dies then is no news."""

    def prepare(world: RealtimeWorld) -> None:
        def hang() -> None:
            process = world.parts.peers["broker"].process
            assert process is not None
            process.send_signal(signal.SIGSTOP)
            at(world, world.now_ns / 1e9 + 0.1, partial(end, process))

        def end(process: subprocess.Popen[bytes]) -> None:
            if "broker" in world.watch.lost:
                process.kill()
            else:
                at(world, world.now_ns / 1e9 + 0.1, partial(end, process))

        at(world, 2.0, hang)

    result = run_now({"duration": "8 s", "ues": {"ue1": walking_from(80)}}, prepare=prepare)
    summary = result.summary
    assert summary["valid"], summary["errors"]
    assert summary["parts_lost"]["broker"] == 1
    for bs, frames in summary["frames"]["per_bs"].items():
        link = summary["links"][bs]
        assert link["delivered"] > frames["delivered"] - 6, "what it had not told yet is not known"
        assert 0 not in link["dropped"].values(), "what did not happen is no cause"
        assert link["utilisation"] == pytest.approx(link["delivered"] * 1200 / 1e7 / 8.0, rel=0.3)


def first(events: list[Event], kind: str, entity: str, after_ns: int) -> int:
    """When something happened first after a time."""
    return min(e.t_ns for e in events if (e.kind, e.entity) == (kind, entity) and e.t_ns >= after_ns)


@pytest.mark.skipif(not (WEIGHTS / "ecc-r").is_dir(), reason="the shipped weights are not there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_at_once_and_leaves_it_valid(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sim", "run", "scenarios/spiral.yaml", "--realtime"]
    begun = time.monotonic()
    process = subprocess.Popen(
        [*command, "--zmq", "tcp://127.0.0.1:*", "--out", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    with process, zmq.Context() as context, context.socket(zmq.SUB) as stream:
        assert process.stdout is not None
        stream.linger = 0
        stream.connect(process.stdout.readline().decode().split()[-1])
        stream.subscribe("track/")
        track: dict[str, Any] = {"fix": False}
        while not track["fix"]:  # a machine that is busy otherwise misses the first
            assert stream.poll(60_000), "no track came"
            topic, body = stream.recv_multipart()
            assert topic == b"track/ue1/"
            track = json.loads(body)
        assert len(track["covariance_m2"]) == 9
        told = time.monotonic()
        process.send_signal(number)
        process.wait(100)
        took_s = time.monotonic() - told
        assert process.stderr is not None
        last_line = process.stderr.read().decode().splitlines()[-1]
    assert process.returncode == 130
    assert last_line == f"stopped: what there was by then is in {tmp_path}"
    # A machine that is busy with something else needs longer, as it did for the start.
    assert took_s < max(2.0, 0.5 * (told - begun)), "two seconds"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["complete"], summary["closed"]) == (False, True)
    assert summary["fixes"] >= 1
    assert not [pid for pid, words in everyone().items() if str(process.pid) in words]


def everyone() -> dict[int, list[str]]:
    """Parents of all parts that still run, by process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "--supervised" in words and status[0] != "Z":
            found[int(folder.name)] = [status[1]]
    return found
