"""`python -m sim train`: from traced points to a model that runs, and one line for every mistake."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from models.path_table import write_path_table
from models.runtime import WEIGHTS, load_model
from sim.channel.benchmark import POOLS
from sim.channel.pool import chunk_path
from sim.channel.traces import traces_cache
from sim.channel.world import radio_of, world_of
from sim.cli.app import app
from sim.deployment import MUNICH6
from tests.models.kit import free_space

ROOT = Path(__file__).parents[2]
TINY = ROOT / "models" / "configs" / "tiny.yaml"
WORLD = world_of(MUNICH6)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and no ray tracer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sim.channel.tracer.point_the_tracer_at_llvm", lambda: None)
    monkeypatch.setattr("sim.channel.tracer.has_cuda", lambda: False)
    shutil.copy(TINY, "tiny.yaml")


def store(pool: str, points: int, chunk: int = 0) -> Path:
    """Points of a pool as if they had been traced: in a Munich without houses."""
    sites = [site.position_in_world_m for site in MUNICH6.sites]
    low, high = np.array([-20, 10, 1]), np.array([80, 110, 20])
    positions = np.random.default_rng(len(pool) + chunk).uniform(low, high, (points, 3))
    table = free_space(positions, sites, radio_of(MUNICH6))
    path = chunk_path(traces_cache(), WORLD, POOLS[pool], chunk)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_path_table(table, path)
    return path


@pytest.fixture
def traced() -> None:
    store("train", 300)
    store("validation", 50)


@pytest.fixture
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting takes seconds: for tests of what comes before it."""
    monkeypatch.setattr("sim.train.export_model", lambda trainer, folder, report, **_: folder)


def train(*arguments: str) -> Result:
    return CliRunner().invoke(app, ("train", *arguments))


def refused(*arguments: str) -> str:
    result = train(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1
    return result.stderr.strip()


@pytest.mark.usefixtures("traced")
def test_from_traced_points_to_a_model_that_runs() -> None:
    command = [sys.executable, "-m", "sim", "train", "tiny.yaml", "--threads", "1", "--out", "mine"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "300 points to train on, 50 to validate on"
    assert lines[1].startswith("tiny: ")
    assert lines[1].endswith(" parameters, on 1 thread, from sample 0")
    assert lines[-1] == "exported to mine"
    model = load_model(Path("mine"))
    assert model.bs_ids == MUNICH6.bs_ids
    radio = radio_of(MUNICH6)
    assert model.csi_shape == (radio.slots, radio.antennas, radio.subcarriers)
    reached = float(lines[-2].split("all_mean_m ")[1].split(",")[0])
    assert reached < 15, lines[-2]
    assert Path("mine.state.pt").is_file()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("traced")
def test_two_processes_train_and_export_one_model() -> None:
    shorter = Path("tiny.yaml").read_text().replace("4_096, batch: 128", "2_048, batch: 64")
    Path("tiny.yaml").write_text(shorter)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "sim", "train", "tiny.yaml", "--threads", "1", "--out", "mine"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[1].endswith(" parameters, on 1 thread in each of 2 processes, from sample 0")
    assert lines[-1] == "exported to mine"
    assert len(lines) == 4, "the second process says nothing"
    reached = float(lines[-2].split("all_mean_m ")[1].split(",")[0])
    assert reached < 25, lines[-2]
    assert load_model(Path("mine")).bs_ids == MUNICH6.bs_ids


@pytest.mark.usefixtures("traced", "unexported")
def test_a_training_is_resumed_where_it_stopped() -> None:
    stopped = train("tiny.yaml", "--minutes", "0", "--out", "mine")
    assert stopped.exit_code == 0, stopped.output
    assert "out of time; the state is in mine.state.pt: --resume goes on from there" in stopped.stdout
    resumed = train("tiny.yaml", "--minutes", "0", "--resume", "--out", "mine")
    assert "from sample 0" in resumed.stdout
    assert not Path("mine.state.before.pt").exists()


@pytest.mark.usefixtures("traced")
def test_a_training_begins_with_the_weights_of_a_model() -> None:
    shorter = Path("tiny.yaml").read_text().replace("4_096, batch: 128", "1_024, batch: 128")
    Path("tiny.yaml").write_text(shorter)
    train("tiny.yaml", "--threads", "1", "--out", "mine")
    further = train("tiny.yaml", "--threads", "1", "--from", "mine", "--minutes", "0", "--out", "other")
    assert "begun with the weights of mine, 1024 samples old" in further.stdout
    page = json.loads(Path("other/model.json").read_text())
    assert page["samples_trained"] == 1024
    assert page["begun_with"]["model"] == "tiny"
    before = json.loads(Path("mine/model.json").read_text())
    assert page["validation"]["all_mean_m"] == pytest.approx(before["validation"]["all_mean_m"], rel=0.01)
    assert "has begun already: --from or --resume" in refused("tiny.yaml", "--from", "mine", "--resume")
    assert refused("tiny.yaml", "--from", "nobody").startswith("no model 'nobody' (shipped: ecc-r")
    assert "mapped, not networks alone" in refused("tiny.yaml", "--from", "ecc-r-map", "--out", "third")


@pytest.mark.usefixtures("traced", "unexported")
@pytest.mark.parametrize(
    ("changed", "message"),
    [("", "weights of another network"), ("slots: 9, ", "shape.slots is 9")],
    ids=["a bad model", "a configuration that does not fit"],
)
def test_what_cannot_be_trained_leaves_earlier_states_as_they_are(changed: str, message: str) -> None:
    """The model is looked at first: nothing is said of starting anew, and no state is renamed."""
    for _ in range(2):
        train("tiny.yaml", "--minutes", "0", "--out", "mine")
    states = [Path("mine.state.pt"), Path("mine.state.before.pt")]
    states[1].write_bytes(b"the training before that")
    earlier = [path.read_bytes() for path in states]
    text = Path("tiny.yaml").read_text()
    Path("tiny.yaml").write_text(text.replace("shape: {", "shape: {" + changed))
    wanted = () if changed else ("--from", "ecc-r")
    result = train("tiny.yaml", *wanted, "--out", "mine")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "anew" not in result.stdout
    assert [path.read_bytes() for path in states] == earlier


def test_a_model_to_begin_with_is_looked_at_before_points_are_traced() -> None:
    assert "weights of another network" in refused("tiny.yaml", "--from", "ecc-r", "--out", "mine")


@pytest.mark.usefixtures("traced", "unexported")
def test_a_training_that_is_not_resumed_keeps_the_old_state() -> None:
    train("tiny.yaml", "--minutes", "0", "--out", "mine")
    again = train("tiny.yaml", "--minutes", "0", "--out", "mine")
    assert "the state of an earlier training is now mine.state.before.pt" in again.stdout
    first = Path("mine.state.before.pt").read_bytes()
    third = train("tiny.yaml", "--minutes", "0", "--out", "mine")
    assert "the state of an earlier training is now mine.state.before-2.pt" in third.stdout
    assert Path("mine.state.before.pt").read_bytes() == first
    fresh = train("tiny.yaml", "--minutes", "0", "--resume", "--out", "other")
    assert "there is no other.state.pt to resume: starting anew" in fresh.stdout


@pytest.mark.usefixtures("traced")
def test_time_that_ends_in_stage_one_exports_nothing() -> None:
    text = Path("tiny.yaml").read_text() + "local: {samples: 1000}\n"
    Path("tiny.yaml").write_text(text)
    result = train("tiny.yaml", "--minutes", "0", "--out", "mine")
    assert result.exit_code == 0, result.output
    assert not Path("mine").exists()
    assert Path("mine.state.pt").is_file()


@pytest.mark.usefixtures("unexported")
def test_chunks_name_how_many_points() -> None:
    store("train", 40)
    store("train", 30, chunk=1)
    store("validation", 20)
    result = train("tiny.yaml", "--chunks", "2", "--minutes", "0", "--out", "mine")
    assert "70 points to train on, 20 to validate on" in result.stdout


@pytest.mark.usefixtures("unexported")
def test_points_in_shadow_come_on_top() -> None:
    store("train", 40)
    store("train-shadow", 7)
    store("validation", 20)
    with Path("tiny.yaml").open("a") as file:
        file.write("shadow_points: 1000\n")
    result = train("tiny.yaml", "--minutes", "0", "--out", "mine")
    assert "47 points to train on, 20 to validate on" in result.stdout
    result = train("tiny.yaml", "--chunks", "1", "--minutes", "0", "--out", "other")
    assert "40 points to train on, 20 to validate on" in result.stdout


def test_points_that_cannot_be_traced() -> None:
    line = refused("tiny.yaml")
    assert line.startswith("0 of 1000 points of the pool 'train' are traced, and ")
    assert "LLVM" in line or "Sionna" in line


def test_too_few_traced_points_say_how_to_go_on() -> None:
    store("train", 1000)
    Path("tiny.yaml").write_text(Path("tiny.yaml").read_text().replace("points: 1000", "points: 5000", 1))
    line = refused("tiny.yaml")
    assert line.startswith("1000 of 5000 points of the pool 'train' are traced, and ")
    assert line.endswith("(or train on those: --chunks 1)")


def test_more_points_than_there_are() -> None:
    assert refused("tiny.yaml", "--chunks", "81") == "the pool 'train' has 80000 points, not 81000"


def test_a_damaged_trace() -> None:
    path = store("train", 10)
    path.write_bytes(path.read_bytes()[:500])
    line = refused("tiny.yaml")
    assert line.startswith(f"{path}: damaged path table")
    assert line.endswith("delete it and trace again")


def test_a_wrong_configuration() -> None:
    Path("tiny.yaml").write_text("name: tiny\njoint: {samples: 10}\nbits: 33\n")
    assert refused("tiny.yaml") == "tiny.yaml:3:1: bits must be an integer from 1 to 16, not 33"
    assert refused("nowhere.yaml") == "nowhere.yaml: cannot be read (No such file or directory)"


@pytest.mark.usefixtures("traced", "unexported")
def test_a_damaged_state() -> None:
    train("tiny.yaml", "--minutes", "0", "--out", "mine")
    Path("mine.state.pt").write_bytes(b"state")
    assert refused("tiny.yaml", "--resume", "--out", "mine").startswith("mine.state.pt: damaged")


def test_a_folder_that_holds_something_else() -> None:
    Path("precious").mkdir()
    Path("precious/thesis.tex").write_text("years of work")
    line = refused("tiny.yaml", "--out", "precious")
    assert line == "precious: would be replaced, but holds more than a model: thesis.tex"
    Path("file").write_text("")
    assert refused("tiny.yaml", "--out", "file").startswith("file: cannot be used (")
    assert refused("tiny.yaml", "--out", "/proc/model").startswith("/proc/model: cannot be used (")
    assert refused("tiny.yaml", "--out", ".").startswith(".: a model needs a folder of its own, by name")


def test_without_the_training_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.train.find_spec", lambda name: None)
    assert refused("tiny.yaml") == "training needs torch and onnx: pip install '.[train]'"


@pytest.mark.skipif(not (WEIGHTS / "ecc-r").is_dir(), reason="the shipped weights are not there")
def test_damaged_weights_end_a_run_with_one_line() -> None:
    shutil.copytree(WEIGHTS / "ecc-r", "mine")
    shutil.copy(ROOT / "scenarios" / "spiral.yaml", "spiral.yaml")
    fusion = Path("mine/fusion.onnx")
    fusion.write_bytes(fusion.read_bytes()[:-100])
    result = CliRunner().invoke(app, ("run", "spiral.yaml", "model.name=mine", "--out", "out"))
    assert result.exit_code == 2
    assert result.stderr == "mine/fusion.onnx: damaged (not the file that model.json was written with)\n"
    assert not Path("out").exists()
