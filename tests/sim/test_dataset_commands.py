"""`python -m sim train --dataset` and `evaluate --dataset`: as a user meets them."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from models.dataset import read_dataset, split_of
from sim.cli.app import app
from sim.dataset_evaluate import Judged, evaluate_on_dataset, print_dataset_rows, references, row_of
from tests.models.dataset_kit import arrays, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def said(result: Result, code: int = 0) -> str:
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set and the model that was trained on it, in one folder."""
    folder = tmp_path_factory.mktemp("trained")
    write(folder / "set.h5", arrays(places=40))
    line = ("train", "--dataset", str(folder / "set.h5"), "--out", str(folder / "model"), "--epochs", "8")
    output = said(command(*line))
    assert "split by position, seed 1: training 28 groups (112 samples), validation 6 groups" in output
    assert re.search(r"; test and training at least [\d.]+ m apart\n", output)
    assert "noise_variance is not given" in output
    assert "of the time making samples" in output
    assert "exported to" in output
    return folder


def test_only_held_out_groups_are_judged(trained: Path) -> None:
    line = ("evaluate", "--dataset", str(trained / "set.h5"), "--model", str(trained / "model"))
    output = said(command(*line, "--json", "rows.json"))
    assert "judged on 24 samples of the 6 groups held out for testing" in output
    rows = json.loads(Path("rows.json").read_text())
    assert rows[0]["system"] == "network and regression"  # in shares that validation may set to none and all
    assert [row["system"].split()[0] for row in rows] == ["network", "nearest", "centroid"]
    for row in rows:
        assert (row["samples"], row["groups"]) == (24, 6)
        low, high = row["intervals"]["mean_m"]
        assert low <= row["mean_m"] <= high
    assert rows[0]["anees"] > 0
    assert "anees" not in rows[1]
    assert rows[0]["payload_bits"] == 160


def test_numbers_are_whole_on_a_terminal_of_80_columns(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = evaluate_on_dataset(trained / "set.h5", trained / "model")
    for row in rows[1:]:
        row["system"] = "nearest neighbours (100, gain and spectrum)"
    capsys.readouterr()
    print_dataset_rows(rows, Console(width=80))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert f" {rows[0]['h90_m']:.2f} " in printed


def test_another_file_is_judged_as_a_whole_or_not_at_all(trained: Path) -> None:
    write(Path("other.h5"), arrays(places=20, seed=5))
    line = ("evaluate", "--dataset", "other.h5", "--model", str(trained / "model"))
    refused = said(command(*line), 2)
    assert "other.h5: not the file that" in refused
    assert len(refused.strip().splitlines()) == 1
    assert "all 80 samples of another file; 0 of them are of groups named like" in said(
        command(*line, "--whole")
    )
    own = ("evaluate", "--dataset", str(trained / "set.h5"), "--model", str(trained / "model"), "--whole")
    assert "the model was trained on this file" in said(command(*own), 2)


def test_another_file_need_not_name_trajectories() -> None:
    values = arrays(places=40)
    write(Path("named.h5"), values | {"trajectory_id": np.arange(len(values["position_m"])) // 8})
    said(command("train", "--dataset", "named.h5", "--epochs", "8"))
    write(Path("other.h5"), arrays(places=20, seed=5))
    line = ("evaluate", "--dataset", "other.h5", "--model", "named-model", "--whole")
    assert "all 80 samples of another file, which has no trajectory_id to tell" in said(command(*line))


def test_a_base_station_that_was_never_heard_in_training() -> None:
    values = arrays(places=40)
    deaf = values["csi_magnitude"].copy()
    deaf[:, 1] = 0
    write(Path("deaf.h5"), values | {"csi_magnitude": deaf})
    said_so = "base station 2: not heard in training, so absent if heard later"
    assert said_so in said(command("train", "--dataset", "deaf.h5", "--epochs", "8"))
    write(Path("heard.h5"), values)
    write(Path("still.h5"), values | {"csi_magnitude": deaf * np.float32(1.0001)})
    mean_m = []
    for name in ("heard.h5", "still.h5"):
        line = ("evaluate", "--dataset", name, "--model", "deaf-model", "--whole", "--json", "rows.json")
        assert "136 of them are of groups named like" in said(command(*line))
        mean_m.append(json.loads(Path("rows.json").read_text())[0]["mean_m"])
    assert mean_m[0] == pytest.approx(mean_m[1], abs=0.02)


def test_another_file_in_other_units_is_judged_alike() -> None:
    values = arrays(places=40)
    write(Path("set.h5"), values, noise_variance=4e-6)
    said(command("train", "--dataset", "set.h5", "--epochs", "8"))
    mean_m = []
    for scale in (1.0001, 10.0):
        other = values | {"csi_magnitude": values["csi_magnitude"] * np.float32(scale)}
        write(Path("other.h5"), other, noise_variance=4e-6 * scale**2)
        line = ("evaluate", "--dataset", "other.h5", "--model", "set-model", "--whole", "--json", "rows.json")
        said(command(*line))
        mean_m.append(json.loads(Path("rows.json").read_text())[0]["mean_m"])
    assert mean_m[1] == pytest.approx(mean_m[0], abs=0.01)


@pytest.mark.parametrize("fixed", [(1, 2), (0, 2)])
def test_along_a_corridor_the_ellipse_is_an_interval(fixed: tuple[int, int]) -> None:
    error_m = np.random.default_rng(1).normal(0, 2.0, (20_000, 3))
    error_m[:, fixed] = 1e-7
    covariance = np.tile(np.eye(3) * 4.0, (len(error_m), 1, 1))
    every = np.arange(len(error_m))
    row = row_of("network", error_m, covariance, Judged(every, every % 10, ""), 1, free_axes=1)
    assert row["coverage_h95"] == pytest.approx(0.95, abs=0.006)
    assert row["anees"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("scale", [1e-25, 1e22])
def test_neighbours_at_extreme_scales(scale: float) -> None:
    dataset = read_dataset(write(Path("set.h5"), arrays(places=40)))
    scaled = replace(dataset, csi=(dataset.csi * scale).astype(np.float32))
    split = split_of(dataset)
    rows = split.rows(dataset, "test")
    usual, found = (references(one, split, rows) for one in (dataset, scaled))
    assert list(found) == list(usual)
    for name, positions in usual.items():
        np.testing.assert_allclose(found[name], positions, atol=1e-3)


def test_training_goes_on_where_it_stopped(trained: Path) -> None:
    shutil.copy(trained / "set.h5", "set.h5")
    assert "out of time" in said(command("train", "--dataset", "set.h5", "--epochs", "8", "--minutes", "0"))
    assert Path("set-model/model.json").is_file()
    resumed = said(command("train", "--dataset", "set.h5", "--epochs", "8", "--resume"))
    assert "trial 3 of 3" in resumed
    assert "out of time" not in resumed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("train",), "train needs either a CONFIG or --dataset FILE"),
        (("train", "a.yaml", "--dataset", "b.h5"), "train needs either a CONFIG or --dataset FILE"),
        (("train", "--dataset", "none.h5"), "none.h5: no such file"),
        (("train", "--dataset", "none.h5", "--chunks", "1"), "--chunks is for the munich6 benchmark"),
        (("train", "--dataset", "none.h5", "--out", "."), ".: a model needs a folder of its own, by name"),
        (("train", "--dataset", "none.h5", "--out", "/proc/model"), "/proc/model: cannot be used ("),
        (("train", "--dataset", "none.h5", "--out", ".."), "..: a model needs a folder of its own, by name"),
        (("train", "a.yaml", "--epochs", "1"), "--epochs and --seed are for --dataset"),
        (("evaluate", "--dataset", "none.h5"), "--dataset needs exactly one --model FOLDER"),
        (("evaluate", "--dataset", "none.h5", "--model", "nowhere"), "nowhere: no such folder"),
        (("evaluate", "--dataset", "none.h5", "--model", "m", "--bits", "4"), "not for --dataset: --bits"),
        (("evaluate", "--whole"), "--whole is for --dataset"),
    ],
)
def test_mistakes_are_one_line(line: tuple[str, ...], message: str) -> None:
    output = said(command(*line), 2)
    assert message in output
    assert len(output.strip().splitlines()) == 1


def test_a_data_set_is_trained_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "call it without torchrun" in said(command("train", "--dataset", "any.h5"), 2)


def test_a_folder_that_holds_something_else(trained: Path) -> None:
    Path("precious").mkdir()
    Path("precious/thesis.txt").write_text("years of work")
    result = command("train", "--dataset", str(trained / "set.h5"), "--out", "precious")
    assert "would be replaced, but holds more than a model: thesis.txt" in said(result, 2)
    Path("networks").mkdir()
    Path("networks/of-others.onnx").write_text("also precious")
    result = command("train", "--dataset", str(trained / "set.h5"), "--out", "networks")
    assert "would be replaced, but holds more than a model: of-others.onnx" in said(result, 2)


def test_the_example_writes_a_set_that_can_be_read() -> None:
    script = ROOT / "docs" / "examples" / "make_dataset.py"
    done = subprocess.run(
        [sys.executable, str(script), "wifi.h5"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "wifi.h5: magnitudes [1800, 10, 1, 1, 49] at 90 positions\n"
    assert done.stdout.strip() in (ROOT / "docs" / "your-own-data.md").read_text(encoding="utf-8")
    output = said(command("train", "--dataset", "wifi.h5", "--epochs", "1", "--minutes", "0"))
    assert "1800 samples, 10 base stations, 1 slots, 1 antennas, 49 subcarriers, magnitudes" in output
