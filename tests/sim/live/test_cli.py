"""`sim view` and `sim run --live` from the outside."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from models.testing import GeometryModel
from sim.cli.app import app
from sim.live import LiveServer
from sim.run_folder import RunFolder
from sim.scenario import Scenario
from sim.scenario.document import dump
from tests.sim.kit import QUIET, ROOT, GeometryChannel, run_quietly


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "sim", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def fetched(url: str, path: str) -> bytes:
    base, token = url.split("#")
    request = urllib.request.Request(base + path, headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        body: bytes = response.read()
        return body


def posted(url: str, command: dict[str, str]) -> int:
    base, token = url.split("#")
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    request = urllib.request.Request(base + "control", json.dumps(command).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_view_serves_a_finished_run_until_ctrl_c(tmp_path: Path) -> None:
    summary = run_quietly(QUIET, tmp_path / "run").summary
    with started("view", str(tmp_path / "run")) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        url = said.removeprefix("view: ").strip()
        assert url.startswith("http://127.0.0.1:")
        assert b"<title>" in fetched(url, "")
        recording = json.loads(fetched(url, "recording"))
        assert recording["summary"] == summary
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0


def test_a_ctrl_c_that_was_lost_while_the_run_was_read_ends_the_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where pyarrow imports pandas, which passes on no exception."""
    run_quietly(QUIET, tmp_path / "run")

    def recording_of(folder: RunFolder, scenario: Scenario) -> dict[str, Any]:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return {}

    def sleep(seconds: float) -> None:
        raise AssertionError("it waits for another one")

    monkeypatch.setattr("sim.live.recording_of", recording_of)
    monkeypatch.setattr("sim.cli.view.time", SimpleNamespace(sleep=sleep))
    result = CliRunner().invoke(app, ["view", str(tmp_path / "run")])
    assert result.exit_code == 0, result.exception
    assert result.stdout.startswith("view: http://127.0.0.1:")


def test_view_of_something_else_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["view", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}: not a run folder: versions.json is missing\n"


def test_a_live_run_is_the_run_it_would_be_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.api.model_of", lambda scenario: GeometryModel(scenario.bs_ids))

    def channel_of(scenario: Scenario) -> GeometryChannel:
        return GeometryChannel(scenario, GeometryModel(scenario.bs_ids))

    monkeypatch.setattr("sim.api.channel_of", channel_of)
    file = tmp_path / "quiet.yaml"
    file.write_text(dump(QUIET))
    said = {}
    for name, *more in (["plain"], ["live", "--live"]):
        result = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / name), *more])
        assert result.exit_code == 0, result.output
        said[name] = result.stdout
    assert said["live"].startswith("view: http://127.0.0.1:")
    digests = [json.loads((tmp_path / name / "summary.json").read_text())["digest"] for name in said]
    assert digests[0] == digests[1]


def test_a_replay_is_watched_held_and_not_disturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_quietly(QUIET | {"duration": "1 s"}, tmp_path / "run")
    monkeypatch.setattr("sim.replay.model_of", lambda scenario: GeometryModel(scenario.bs_ids))
    said: dict[str, Any] = {}

    def visit(address: str) -> None:
        setting = json.loads(fetched(address, "setting"))
        said["setting"] = setting["mode"], setting["controlled"]
        for command in ({"do": "bs_down", "target": "bs1"}, {"do": "pause"}, {"do": "resume"}):
            said[command["do"]] = posted(address, command)

    class Visited(LiveServer):
        def __enter__(self) -> "Visited":
            super().__enter__()
            visit(self.url)
            return self

    monkeypatch.setattr("sim.live.LiveServer", Visited)
    arguments = ["replay", str(tmp_path / "run"), "--live", "--speed", "5", "--metrics", "0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert said == {"setting": ("live", False), "bs_down": 409, "pause": 200, "resume": 200}
    assert "view: http://127.0.0.1:" in result.stdout
    assert "metrics: http://127.0.0.1:" in result.stdout
    assert "fixes and tracks are the same as in the recording" in result.stdout


def test_a_stream_of_a_run_in_virtual_time_is_refused(tmp_path: Path) -> None:
    scenario = str(ROOT / "scenarios" / "spiral.yaml")
    result = CliRunner().invoke(app, ["run", scenario, "--metrics", "9100"])
    assert result.exit_code == 2
    assert result.stderr == "--metrics: only with --realtime, or afterwards with sim replay RUN --metrics\n"
