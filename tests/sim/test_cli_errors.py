"""A user's mistake on the command line: one line on stderr, exit code 2, no traceback, nothing written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.testing import GeometryModel
from sim.cli.app import app
from sim.deployment import MUNICH6

ROOT = Path(__file__).parents[2]
SPIRAL = ROOT / "scenarios" / "spiral.yaml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(SPIRAL, "spiral.yaml")


def refused(*arguments: str) -> str:
    """What the command says on stderr."""
    before = sorted(Path().rglob("*"))
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert sorted(Path().rglob("*")) == before
    return result.stderr


def edited(old: str, new: str) -> str:
    text = Path("spiral.yaml").read_text()
    assert old in text
    Path("edited.yaml").write_text(text.replace(old, new))
    return "edited.yaml"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "rate: 10 Hz",
            "rat: 10 Hz",
            (
                "edited.yaml:17:5 ues.ue1.rat: unknown key; did you mean 'rate'? "
                "allowed: trajectory, rate, start, stop, count, stagger"
            ),
        ),
        (
            "rate: 10 Hz",
            "rate: 10 fps",
            (
                "edited.yaml:17:11 ues.ue1.rate: 'fps' is not a unit of frequency: write for example 10 Hz "
                "(units: Hz, kHz, MHz, GHz)"
            ),
        ),
        (
            "capacity: 10 Mbit/s",
            "capacity: -10 Mbit/s",
            (
                "edited.yaml:23:15 fronthaul.default.capacity: -10 Mbit/s is not allowed: "
                "must be more than 0 bit/s"
            ),
        ),
        (
            "centre: [85 m, 105 m]",
            "centre: [85 m, 115 m]",
            "edited.yaml:9:5 ues.ue1.trajectory: goes through a wall at 0.60 s, (90.6, 117.2, 1.1) m",
        ),
        (
            "transport: inproc",
            "faults:\n  - {at: 1 s, kind: bs_down, bs: bs7}",
            (
                "edited.yaml:33:34 faults[0].bs: unknown base station 'bs7'; did you mean 'bs6'? "
                "allowed: bs1, bs2, bs3, bs4, bs5, bs6"
            ),
        ),
    ],
)
def test_a_wrong_scenario(old: str, new: str, line: str) -> None:
    assert refused("run", edited(old, new)) == line + "\n"


def test_a_missing_scenario() -> None:
    assert refused("run", "none.yaml") == "none.yaml: no such file\n"


def test_a_scenario_that_is_nested_too_deeply() -> None:
    Path("deep.yaml").write_text("[" * 3000)
    assert refused("run", "deep.yaml") == "deep.yaml:1:1: nested too deeply\n"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-lag", "5 ms"),
        ("--on-lag", "abort"),
        ("--keys", "folder"),
        ("--host", "0.0.0.0"),
        ("--wait-for", "cu"),
        ("--port", "5000"),
    ],
)
def test_options_that_virtual_time_would_do_nothing_about(option: str, value: str) -> None:
    assert refused("run", "spiral.yaml", option, value) == f"{option}: only with --realtime\n"


def test_a_speed_is_for_what_can_be_watched() -> None:
    assert refused("run", "spiral.yaml", "--speed", "2") == "--speed: only with --realtime or --live\n"


def test_lock_step_and_the_wall_clock_exclude_each_other() -> None:
    line = "--processes goes in lock-step, --realtime by the wall clock: choose one\n"
    assert refused("run", "spiral.yaml", "--processes", "--realtime") == line


def test_ports_that_there_are_not() -> None:
    for option in ("--metrics", "--port", "--live-port"):
        assert "65535" in refused("run", "spiral.yaml", "--realtime", option, "65536")


def test_what_cannot_be_written_is_refused_before_anything_is_judged() -> None:
    Path("folder").mkdir()
    Path("file").touch()
    assert refused("evaluate", "--json", "folder") == "--json folder: is a folder\n"
    assert refused("evaluate", "--json", "no/x.json") == "--json no/x.json: its folder is not there\n"
    assert refused("evaluate", "--pictures", "file") == "--pictures file: is a file, not a folder\n"


def test_options_that_do_nothing_with_a_data_set() -> None:
    options = ("--system", "music", "--dims", "5", "--missing", "1", "--pictures", "new")
    line = "not for --dataset: --system, --dims, --missing, --pictures\n"
    assert refused("evaluate", "--dataset", "mine.h5", "--model", "mine", *options) == line


def test_a_missing_file_of_a_scenario() -> None:
    wrong = "ues.ue1.trajectory={kind: csv, file: way.csv}"
    assert refused("run", "spiral.yaml", wrong) == (
        f"override {wrong} ues.ue1.trajectory.file: no such file: way.csv\n"
    )


def test_a_wrong_override() -> None:
    assert refused("run", "spiral.yaml", "cu.deadline=0 ms") == (
        "override cu.deadline=0 ms cu.deadline: 0 ms is not allowed: must be more than 0 s\n"
    )


def test_validate_tells_of_every_file() -> None:
    Path("a.yaml").write_text("duration: 1 s\n")
    result = CliRunner().invoke(app, ["validate", "a.yaml", "spiral.yaml", "b.yaml"])
    assert result.exit_code == 2
    assert result.stdout == "spiral.yaml: 30 s, 1 UE, 300 snapshots, 6 base stations, 0 faults\n"
    assert result.stderr == "a.yaml:1:1 ues: required, but missing\nb.yaml: no such file\n"


def test_validate_is_silent_about_nothing_else() -> None:
    result = CliRunner().invoke(app, ["validate", "spiral.yaml"])
    assert result.exit_code == 0
    assert result.stderr == ""


@pytest.mark.parametrize("command", ["report", "replay"])
def test_a_folder_that_is_no_run(command: str) -> None:
    assert refused(command, "none") == "none: no such run folder\n"
    Path("empty").mkdir()
    assert refused(command, "empty") == "empty: not a run folder: versions.json is missing\n"


def test_weights_that_are_missing_or_damaged() -> None:
    line = refused("run", "spiral.yaml", "model.name=nothing")
    assert "nothing" in line
    Path("mine").mkdir()
    Path("mine/model.json").write_text('{"format": ')
    line = refused("run", "spiral.yaml", "model.name=mine")
    assert line.startswith("mine/model.json: ")
    assert len(line.splitlines()) == 1


def test_a_damaged_trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sim.channel.channel import world_of

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sim.api.model_of", lambda scenario: GeometryModel(scenario.bs_ids))
    trace = Path("traces") / f"mine-{world_of(MUNICH6).key()}.h5"
    trace.parent.mkdir()
    trace.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    line = refused("run", "spiral.yaml")
    assert line.startswith(f"{trace}: ")
    assert len(line.splitlines()) == 1


def test_nothing_or_too_much_to_trace() -> None:
    either = "trace takes either scenario files or --pool NAME\n"
    assert refused("trace") == either
    assert refused("trace", "seed=2") == either
    assert refused("trace", "spiral.yaml", "--pool", "train") == either
    assert refused("trace", "--pool", "trian").startswith("unknown pool 'trian'; one of train")
    assert refused("trace", "spiral.yaml", "none.yaml") == "none.yaml: no such file\n"


@pytest.mark.parametrize(("pool", "most"), [("train", 80), ("test-blocked", 2)])
def test_more_chunks_to_trace_than_a_pool_has(pool: str, most: int) -> None:
    line = f"the pool '{pool}' has {most} chunks, not {most + 1}\n"
    assert refused("trace", "--pool", pool, "--chunks", f"{most + 1}", "--out", "traces") == line


def test_an_unknown_command_and_option() -> None:
    assert "No such command 'runn'" in refused("runn")
    assert "No such option: --oute" in refused("run", "spiral.yaml", "--oute", "x")


def test_through_the_real_command_line() -> None:
    wrong = subprocess.run(
        [sys.executable, "-m", "sim", "run", str(Path("spiral.yaml").resolve()), "seed=one"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert wrong.stderr == "override seed=one seed: must be a whole number, not 'one'\n"


def test_help_comes_without_importing_what_commands_need() -> None:
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from sim.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = 'numpy pydantic ruamel torch sionna zmq pyarrow h5py onnxruntime'.split()\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules) or None)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
