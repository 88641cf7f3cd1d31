"""Commands at work, with a model and a channel that need neither weights nor traces."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.testing import GeometryModel
from sim.cli.app import app
from sim.scenario import Scenario
from sim.scenario.document import dump
from tests.sim.kit import QUIET, GeometryChannel

SCENARIO = "quiet.yaml"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(SCENARIO).write_text(dump(QUIET))

    def model_of(scenario: Scenario) -> GeometryModel:
        return GeometryModel(scenario.bs_ids)

    def channel_of(scenario: Scenario) -> GeometryChannel:
        return GeometryChannel(scenario, model_of(scenario))

    monkeypatch.setattr("sim.api.model_of", model_of)
    monkeypatch.setattr("sim.replay.model_of", model_of)
    monkeypatch.setattr("sim.api.channel_of", channel_of)


def called(*arguments: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_run_leaves_a_folder_with_its_report() -> None:
    said = called("run", SCENARIO)
    assert "quiet" in said
    assert said.splitlines()[-1] == "report: runs/quiet-1/report.html"
    assert Path("runs/quiet-1/report.html").is_file()
    assert called("run", SCENARIO).splitlines()[-1] == "report: runs/quiet-2/report.html"


def test_what_is_wrong_with_the_cache_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd()))
    monkeypatch.setattr("sim.embeddings_cache.WORTH_KEEPING", 1)
    called("run", SCENARIO)
    (file,) = Path("fronthaul-sim/embeddings").iterdir()
    file.write_bytes(b"not embeddings")
    result = CliRunner().invoke(app, ["run", SCENARIO])
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "embeddings" in line] == [
        f"{Path.cwd() / file}: cannot be used, computing again: not an archive, or cut short"
    ]
    assert "embeddings" not in CliRunner().invoke(app, ["run", SCENARIO]).stderr


def test_a_run_goes_where_it_is_told_with_what_is_overridden() -> None:
    called("run", SCENARIO, "seed=7", "transport=ipc", "--out", "here")
    resolved = Scenario.load("here/scenario.resolved.yaml")
    assert (resolved.seed, resolved.transport, resolved.name) == (7, "ipc", "quiet")


def test_a_replay_says_whether_it_is_the_same() -> None:
    called("run", SCENARIO, "--out", "here")
    assert called("replay", "here").splitlines()[-1] == ("fixes and tracks are the same as in the recording")
    other = called("replay", "here", "cu.min_bs=6", "cu.processing=9 ms", "--out", "there").splitlines()
    assert other[-2:] == [
        "fixes and tracks are other than in the recording",
        "report: there/report.html",
    ]


def test_a_report_can_be_written_again() -> None:
    called("run", SCENARIO, "--out", "here")
    Path("here/report.html").unlink()
    assert called("report", "here") == "here/report.html\n"
    assert Path("here/report.html").is_file()


def test_the_reference_is_printed() -> None:
    assert called("reference").startswith("# Scenario files: every key\n")


def test_a_damaged_recording_is_told_in_one_line() -> None:
    called("run", SCENARIO, "--out", "whole")
    for file, commands in {
        "bus.mcap": ["replay"],
        "fixes.parquet": ["replay", "report"],
        "summary.json": ["replay", "report"],
        "scenario.resolved.yaml": ["replay"],
    }.items():
        shutil.copytree("whole", "cut", dirs_exist_ok=True)
        damaged = Path("cut") / file
        damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2] + b"\0")
        for command in commands:
            result = CliRunner().invoke(app, [command, "cut"])
            assert result.exit_code == 2, (file, command, result.output)
            assert len(result.stderr.splitlines()) == 1
            assert result.stderr.startswith("cut")
