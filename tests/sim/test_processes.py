"""Fast over processes: what comes out is what comes out of one process, to the last bit."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from models.runtime import WEIGHTS
from models.testing import GeometryModel
from sim import Scenario, run
from sim.api import InvalidRunError
from sim.errors import UserError
from sim.fingerprint import Event
from tests.sim.kit import ROOT, SHIPPED_DIMS, TWO_BS, run_quietly, shipped_scenarios, walking_from

EVENTFUL: dict[str, Any] = {
    "deployment": TWO_BS,
    "duration": "0.6 s",
    "ues": {"ue1": walking_from(80), "ue2": walking_from(60)},
    "fronthaul": {
        "default": {
            "capacity": "400 kbit/s",
            "latency": "1 ms",
            "jitter": {"kind": "uniform", "spread": "0.2 ms"},
            "loss": {"kind": "bernoulli", "rate": "20 %"},
            "queue": "300 B",
        },
        "shared": {"all": {"capacity": "1 Mbit/s", "latency": "0.5 ms", "members": ["bs1", "bs2"]}},
    },
    "faults": [
        {"at": "101 ms", "kind": "bs_down", "bs": "bs1", "for": "150 ms"},
        {"at": "300 ms", "kind": "link_outage", "link": "bs2", "for": "100 ms"},
        {"at": "400 ms", "kind": "capacity", "link": "bs1", "to": "30 kbit/s", "for": "100 ms"},
        {"at": "400 ms", "kind": "latency", "link": "bs1", "to": "70 ms", "for": "50 ms"},
        {"at": "450 ms", "kind": "loss_burst", "link": "bs2", "rate": "50 %", "for": "100 ms"},
    ],
}


@pytest.mark.parametrize(("transport", "late"), [("ipc", "drop"), ("tcp", "retrodict")])
def test_processes_give_the_same_as_one_process(transport: str, late: str) -> None:
    cu = {"deadline": "30 ms", "min_bs": 1, "processing": "5 ms", "late": late}
    scenario = EVENTFUL | {"cu": cu}
    one = run_quietly(scenario)
    many = run_quietly(scenario | {"transport": transport}, processes=True)
    assert set(one.summary["frames"]["dropped"]) >= {"bs_down", "link_down", "loss"}
    assert (many.fingerprint, many.digest) == (one.fingerprint, one.digest)
    assert many.summary["frames"] == one.summary["frames"]
    assert many.summary["links"] == one.summary["links"]


@pytest.mark.parametrize(
    "policy", [{"kind": "fit"}, {"kind": "innovation", "bound": "1 m"}, {"kind": "delta", "bound": "1 %"}]
)
def test_policies_decide_alike_in_processes_of_their_own(policy: dict[str, Any]) -> None:
    cu = {"deadline": "7 ms", "min_bs": 1, "processing": "5 ms"}  # two UEs at once are one too many
    scenario = EVENTFUL | {"cu": cu, "bs": {"processing": "2 ms", "policy": policy}}
    one, many = run_quietly(scenario), run_quietly(scenario, processes=True)
    assert "silent" in one.summary["frames"]["dropped"]
    assert (many.fingerprint, many.digest) == (one.fingerprint, one.digest)


@pytest.mark.slow
@pytest.mark.parametrize("path", shipped_scenarios(), ids=lambda path: path.stem)
def test_shipped_scenarios_over_processes(path: Path) -> None:
    scenario = Scenario.load(path)
    if len(scenario.ues) > 1:
        scenario = Scenario.load(path, duration="10 s")  # enough of twenty at once
    model = GeometryModel(scenario.bs_ids, dims=SHIPPED_DIMS, bits=10)
    one = run_quietly(scenario, model=model)
    many = run_quietly(scenario, model=model, processes=True)
    assert (many.fingerprint, many.digest) == (one.fingerprint, one.digest)


@pytest.mark.skipif(not (WEIGHTS / "ecc-r").is_dir(), reason="the shipped weights are not there")
def test_real_weights_give_the_same_over_processes() -> None:
    scenario = Scenario.load(ROOT / "scenarios" / "spiral.yaml", duration="0.5 s")
    one, many = run(scenario), run(scenario, processes=True)
    assert (many.fingerprint, many.digest) == (one.fingerprint, one.digest)


def test_a_process_that_dies_ends_the_run_with_one_line(tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_the_central_unit(event: Event) -> None:
        if event.kind == "fix" and not killed:
            killed.append(child_running("cu"))
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(InvalidRunError, match=r"the process of cu has ended by itself, exit code -9"):
        run_quietly(
            {"deployment": TWO_BS, "duration": "2 s"},
            tmp_path,
            processes=True,
            listener=kill_the_central_unit,
        )
    assert (tmp_path / "fixes.parquet").is_file()
    assert not children()


def test_a_temporary_folder_too_deep_for_sockets_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 110)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(UserError, match=r"fronthaul-.*: too long a path for sockets, of at most 107 bytes"):
        run_quietly(Scenario.load(ROOT / "scenarios" / "spiral.yaml", duration="1 s"), processes=True)
    assert not list(deep.glob("fronthaul-????????")), "nothing is left"


def test_a_send_policy_cannot_travel() -> None:
    with pytest.raises(UserError, match="policy"):
        run_quietly({}, processes=True, policy=lambda heard: None)


def children() -> dict[int, list[str]]:
    """Command lines of the processes that this one has started, zombies left out."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if int(status[1]) == os.getpid() and status[0] != "Z" and ("nodes" in words or "broker" in words):
            found[int(folder.name)] = words
    return found


def child_running(name: str) -> int:
    return next(pid for pid, words in children().items() if name in words)
