"""Tracing chunk by chunk with a stand-in for the ray tracer: what is done stays done, and is told."""

from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import sim.channel.tracing as tracing
from models.path_table import PathTable, read_path_table
from sim.channel import ChannelError, open_channel
from sim.channel.tracer import TracingUnavailableError, require_ray_tracer
from sim.channel.traces import SHIPPED_TRACES, scenario_positions
from sim.channel.world import World
from sim.cli.app import app
from sim.scenario import load_scenario
from sim.scenario.document import dump
from tests.sim.channel.kit import MUNICH_KEY, Array, random_table, store_made_up_paths
from tests.sim.kit import QUIET, scenario_of, walking_from

TWO_UES = {"ues": {"ue1": walking_from(80), "ue2": walking_from(85)}, "duration": "12 s"}


class Stub:
    """Traces in no time; may be interrupted."""

    traced: ClassVar[list[int]] = []
    left = 10**6

    def __init__(self, world: World) -> None:
        self.world = world

    def trace(self, position_m: Array) -> PathTable:
        if Stub.left <= 0:
            raise KeyboardInterrupt
        Stub.left -= 1
        Stub.traced.append(len(position_m))
        return random_table(position_m, world_key=self.world.key(), seed=int(abs(position_m).sum()))


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> type[Stub]:
    monkeypatch.setattr(tracing, "Tracer", Stub)
    monkeypatch.setattr(tracing, "require_ray_tracer", lambda: None)
    Stub.traced, Stub.left = [], 10**6
    return Stub


@pytest.fixture
def no_ray_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_run_traces_what_it_lacks_once(stub: type[Stub], cache: Path) -> None:
    scenario = scenario_of(TWO_UES)
    lines: list[str] = []
    channel = open_channel(scenario, lines.append)
    assert channel.pilots("ue2", 5).shape == (6, 10, 8, 24)
    wanted = np.concatenate(list(scenario_positions(scenario).values()))
    assert sum(stub.traced) == len(np.unique(wanted, axis=0))
    (name,) = files(cache)
    assert name.startswith("test-")
    assert name.endswith(f"-{MUNICH_KEY}.h5")
    assert lines[0] == f"test: {sum(stub.traced)} of {sum(stub.traced)} positions to trace"
    assert lines[-1].endswith("0 s to go")
    open_channel(scenario, lines.append)
    open_channel(scenario_of(TWO_UES | {"seed": 5, "duration": "3 s"}), lines.append)
    assert len(stub.traced) == len(lines) - 1


def test_only_what_is_new_is_traced(stub: type[Stub], cache: Path) -> None:
    open_channel(scenario_of(), lambda line: None)
    before = sum(stub.traced)
    open_channel(scenario_of(TWO_UES | {"duration": "0.3 s"}), lambda line: None)
    assert (before, sum(stub.traced)) == (3, 6)
    assert len(files(cache)) == 2


def test_an_interrupted_trace_goes_on_where_it_was(stub: type[Stub], tmp_path: Path, cache: Path) -> None:
    scenario, out = scenario_of(TWO_UES), tmp_path / "out"
    whole = tracing.trace_scenarios([scenario], tmp_path / "whole", lambda line: None)
    chunks = list(stub.traced)
    assert chunks[0] == tracing.CHUNK
    assert len(chunks) > 2
    stub.left = 2
    with pytest.raises(KeyboardInterrupt):
        tracing.trace_scenarios([scenario], out, lambda line: None)
    assert files(out) == []
    assert len(files(cache)) == 2
    stub.left, stub.traced = 10**6, []
    lines: list[str] = []
    resumed = tracing.trace_scenarios([scenario], out, lines.append)
    assert stub.traced == chunks[2:]
    assert lines[0] == f"test: {sum(chunks[2:])} of {sum(chunks)} positions to trace"
    assert files(cache) == []
    assert [path.name for path in resumed] == [path.name for path in whole]
    one, other = read_path_table(resumed[0]), read_path_table(whole[0])
    np.testing.assert_array_equal(one.gain, other.gain)
    np.testing.assert_array_equal(one.position_m, other.position_m)


def test_a_damaged_chunk_is_named(stub: type[Stub], tmp_path: Path, cache: Path) -> None:
    scenario = scenario_of(TWO_UES)
    stub.left = 1
    with pytest.raises(KeyboardInterrupt):
        tracing.trace_scenarios([scenario], tmp_path, lambda line: None)
    stub.left = 10**6
    (chunk,) = cache.rglob("*.h5")
    chunk.write_bytes(chunk.read_bytes()[:500])
    with pytest.raises(ChannelError, match=r"damaged path table .*; delete it and trace again") as caught:
        tracing.trace_scenarios([scenario], tmp_path, lambda line: None)
    assert str(caught.value).startswith(f"{chunk}: ")
    chunk.unlink()
    assert tracing.trace_scenarios([scenario], tmp_path, lambda line: None)


def test_a_folder_that_cannot_be_made_is_told_before_tracing(stub: type[Stub], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ChannelError, match=r"file: cannot be made \(File exists\)"):
        tracing.trace_scenarios([scenario_of()], tmp_path / "file", lambda line: None)
    assert not stub.traced


def test_a_named_folder_gets_all_it_lacks(stub: type[Stub], tmp_path: Path) -> None:
    """Also what other folders have: so shipped traces are made again."""
    spiral = load_scenario(SHIPPED_TRACES.parent / "spiral.yaml", ["duration=2 s"])
    assert tracing.trace_scenarios([spiral], None, lambda line: None) == []
    (path,) = tracing.trace_scenarios([spiral], tmp_path, lambda line: None)
    assert len(read_path_table(path)) == sum(stub.traced) == 20
    assert tracing.trace_scenarios([spiral], tmp_path, lambda line: None) == []


def test_scenarios_that_share_positions_are_traced_once(stub: type[Stub], cache: Path) -> None:
    scenarios = [scenario_of(name="one"), scenario_of({"seed": 2}, name="other")]
    assert len(tracing.trace_scenarios(scenarios, None, lambda line: None)) == 1
    assert stub.traced == [3]


def test_without_the_ray_tracer_one_line_says_what_to_install(no_ray_tracer: None) -> None:
    said = (
        "no stored trace has 3 of the scenario's positions, and tracing needs Sionna RT: pip install '.[rt]'"
    )
    with pytest.raises(ChannelError) as caught:
        open_channel(scenario_of())
    assert str(caught.value) == said


def test_without_llvm_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("sim.channel.tracer.point_the_tracer_at_llvm", lambda: None)
    monkeypatch.setattr("sim.channel.tracer.has_cuda", lambda: False)
    with pytest.raises(TracingUnavailableError, match=r"tracing needs LLVM on a CPU: .*libllvm19"):
        require_ray_tracer()
    monkeypatch.setattr("sim.channel.tracer.has_cuda", lambda: True)
    require_ray_tracer()


class TestCommandLine:
    """The same through `python -m sim`."""

    @pytest.fixture(autouse=True)
    def workplace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("quiet.yaml").write_text(dump(QUIET))

    def refused(self, *arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1, result.stderr
        return result.stderr

    def test_files_go_to_stdout_and_progress_to_stderr(self, stub: type[Stub]) -> None:
        result = CliRunner().invoke(app, ["trace", "quiet.yaml", "--out", "traces"])
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines() == [f"traces/{name}" for name in files(Path("traces"))]
        assert result.stderr.startswith("quiet: 3 of 3 positions to trace\nquiet: 3 of 3 positions, ")
        again = CliRunner().invoke(app, ["trace", "quiet.yaml", "seed=2"])
        assert (again.stdout, again.stderr) == ("", "quiet: nothing to do, all 3 positions are there\n")

    def test_a_shipped_scenario_needs_no_tracing(self) -> None:
        spiral = SHIPPED_TRACES.parent / "spiral.yaml"
        result = CliRunner().invoke(app, ["trace", str(spiral), "seed=2"])
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == "spiral: nothing to do, all 300 positions are there\n"

    @pytest.mark.parametrize("command", ["run", "trace"])
    def test_what_is_missing_and_cannot_be_traced(self, command: str, no_ray_tracer: None) -> None:
        line = self.refused(command, "quiet.yaml")
        assert "tracing needs Sionna RT: pip install '.[rt]'" in line
        assert files(Path()) == ["quiet.yaml"]

    @pytest.mark.parametrize("command", ["run", "trace"])
    @pytest.mark.parametrize("how", ["truncated", "column", "version"])
    def test_a_damaged_trace_is_named(self, command: str, how: str) -> None:
        path = store_made_up_paths(load_scenario("quiet.yaml"), Path("traces"))
        if how == "truncated":
            path.write_bytes(path.read_bytes()[:3000])
        else:
            with h5py.File(path, "a") as file:
                if how == "column":
                    del file["bs_direction"]
                else:
                    file.attrs["version"] = 2
        said = {
            "truncated": "damaged path table (",
            "column": "damaged path table (no bs_direction)",
            "version": "path table version 2, expected 1",
        }[how]
        before = files(Path())
        assert self.refused(command, "quiet.yaml").startswith(f"{path}: {said}")
        assert files(Path()) == before

    def test_a_scene_that_is_not_there(self) -> None:
        line = self.refused("trace", "quiet.yaml", "deployment={preset: munich6, scene: city.xml}")
        assert line == "city.xml: the scene cannot be read (No such file or directory)\n"

    def test_an_unknown_pool(self) -> None:
        assert self.refused("trace", "--pool", "tets").startswith("unknown pool 'tets'; one of train, ")
