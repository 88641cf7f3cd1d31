"""Running a scenario from Python."""

import errno
import gc
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim
from models.testing import GeometryModel
from sim import Scenario, ScenarioError, run
from sim.api import model_at_home, next_run_folder, output_folder
from sim.errors import UserError
from sim.run_folder import RunFolder, RunFolderError
from tests.sim.kit import QUIET, ROOT, GeometryChannel, run_quietly, scenario_of

SPIRAL = ROOT / "scenarios" / "spiral.yaml"


def test_public_names() -> None:
    assert set(sim.__all__) >= {"Scenario", "ScenarioError", "run"}
    assert set(dir(sim)) >= set(sim.__all__)


@pytest.mark.parametrize("num_bs", [5, 7])
def test_a_channel_of_other_base_stations_is_refused_before_anything_is_written(
    tmp_path: Path, num_bs: int
) -> None:
    scenario = scenario_of(None)
    model = GeometryModel(scenario.bs_ids)
    channel = GeometryChannel(scenario, model)
    channel.noise_variance = np.ones(num_bs)
    with pytest.raises(ValueError, match=rf"noise_variance of the channel is \[6\].*not \({num_bs},\)"):
        run(scenario, tmp_path / "out", model=model, channel=channel)
    assert not (tmp_path / "out").exists()


def test_a_scenario_file_is_run_by_its_path(tmp_path: Path) -> None:
    scenario = Scenario.load(SPIRAL)
    model = GeometryModel(scenario.bs_ids)
    result = run(SPIRAL, tmp_path / "out", model=model, channel=GeometryChannel(scenario, model))
    assert result.summary["scenario"] == "spiral"
    assert result.path == tmp_path / "out"
    assert result.summary == RunFolder.open(tmp_path / "out").summary()


def test_tables_are_ready_for_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    result = run_quietly()
    fixes, frames = result.fixes.to_pandas(), result.frames.to_pandas()
    assert isinstance(fixes, pandas.DataFrame)
    assert fixes["error_3d_m"].mean() == pytest.approx(result.summary["fix_error_3d_mean_m"])
    assert frames.groupby("bs").size().to_dict() == {f"bs{number}": 3 for number in range(1, 7)}


def test_without_out_the_folder_goes_with_the_result() -> None:
    result = run_quietly()
    path = result.path
    assert path.is_dir()
    del result
    gc.collect()
    assert not path.exists()


def test_without_out_a_failed_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(t_ns: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        run_quietly(progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_what_fails_before_anything_is_written_leaves_no_folder(tmp_path: Path) -> None:
    def fail(name: str, file: str = "") -> bool:
        """Whether a folder is left by a run that fails when it has written so much."""
        with suppress(KeyboardInterrupt), output_folder(tmp_path / name) as folder:
            if file:
                (folder.path / file).write_text("{}")
            raise KeyboardInterrupt
        return (tmp_path / name).exists()

    (tmp_path / "there before").mkdir()
    assert not fail("new")
    assert fail("there before")
    assert fail("begun", "versions.json")
    assert (tmp_path / "begun" / "versions.json").exists()


def removed(path: Path) -> None:
    shutil.rmtree(path)
    (path / "summary.json").write_text("")


def full(path: Path) -> None:
    raise OSError(errno.ENOSPC, f"Error writing bytes to {path}. Detail: [errno 28] No space left on device")


@pytest.mark.parametrize("trouble", [removed, full])
def test_a_folder_that_can_be_written_no_longer_is_one_line(
    tmp_path: Path, trouble: Callable[[Path], None]
) -> None:
    out = tmp_path / "run"
    said = r"run: cannot be written any longer: No (space left on device|such file or directory)$"
    with pytest.raises(RunFolderError, match=said), output_folder(out):
        trouble(out)


def test_the_resolved_scenario_gives_the_same_run_again(tmp_path: Path) -> None:
    first = run_quietly(QUIET, tmp_path / "run")
    again = run_quietly(Scenario.load(first.folder.scenario_path))
    assert (again.fingerprint, again.digest) == (first.fingerprint, first.digest)


def test_a_bad_scenario_writes_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(SPIRAL.read_text().replace("rate: 10 Hz", "rate: 10"))
    with pytest.raises(ScenarioError, match=r"ues\.ue1\.rate: 10 has no unit"):
        run(bad, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_weights_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model 'nonesuch'"):
        run(scenario_of({"model": {"name": "nonesuch"}}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_weights_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.json").write_text("{")
    with pytest.raises(UserError, match=r"model\.json: damaged") as told:
        run(scenario_of({"model": {"name": str(tmp_path / "mine")}}), tmp_path / "out")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunFolderError, match="holds something else than a run"):
        run_quietly(QUIET, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_run_folders_are_numbered(tmp_path: Path) -> None:
    scenario = scenario_of(name="spiral")
    assert next_run_folder(scenario, tmp_path) == tmp_path / "spiral-1"
    (tmp_path / "spiral-1").mkdir()
    assert next_run_folder(scenario, tmp_path) == tmp_path / "spiral-2"


def test_the_summary_has_every_key_of_the_contract() -> None:
    summary = run_quietly().summary
    errors = {
        f"{kind}_error_{figure}_m"
        for kind in ("fix", "track")
        for figure in ("3d_mean", "3d_e90", "h_e50", "h_e90", "v_e50", "v_e90")
    }
    times = {f"{kind}_p{share}_s" for kind in ("latency", "age") for share in (50, 99)}
    others = {
        "scenario",
        "fingerprint",
        "digest",
        "fixes",
        "fixes_missed",
        "payload_ratio",
        "wire_ratio",
        "frames",
    }
    assert errors | times | others | {"sim_time_s", "wall_time_s"} <= set(summary)
    per_bs = summary["frames"]["per_bs"]
    assert set(per_bs) == {f"bs{number}" for number in range(1, 7)}
    for counts in (summary["frames"], *per_bs.values()):
        assert {"sent", "delivered", "in_flight", "dropped"} <= set(counts)


@pytest.mark.parametrize(
    ("deployment", "warns"),
    [
        ("munich6", False),
        ({"preset": "munich6", "sites": {"bs2": None}}, False),
        ({"preset": "munich6", "sites": {"bs2": {"position": ["30 m", "200 m", "32.5 m"]}}}, True),
        ({"preset": "munich6", "radio": {"carrier": "28 GHz"}}, True),
    ],
)
def test_a_model_away_from_home_is_warned_of(
    deployment: Any, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    scenario = Scenario.load(SPIRAL, {"deployment": deployment})
    model_at_home(scenario)
    assert ("was trained for another scene" in caplog.text) is warns
