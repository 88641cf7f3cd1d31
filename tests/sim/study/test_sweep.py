import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from models.runtime import WEIGHTS
from sim.engine import Failure, SerialEngine, Task
from sim.errors import UserError
from sim.study.analysis import interval
from sim.study.report import write_study_report
from sim.study.results import StudyFolder, StudyFolderError
from sim.study.spec import Study, load_study
from sim.study.sweep import Listener, Sweep, sweep
from sim.study.work import Worker

ROOT = Path(__file__).resolve().parents[3]


class Counting(SerialEngine):
    """Counts the chunks that are computed; may be told to stop."""

    def __init__(self, study: Study, stop_after: int = 1000) -> None:
        super().__init__(partial(Worker, study))
        self.chunks: list[str] = []
        self._stop_after = stop_after

    def map(
        self, tasks: Iterable[Task], tell: Callable[[str], None] = print
    ) -> Iterator[tuple[Task, Any | Failure]]:
        return super().map(self._counted(tasks), tell)

    def _counted(self, tasks: Iterable[Task]) -> Iterator[Task]:
        for task in tasks:
            if task.method == "rows":
                if len(self.chunks) == self._stop_after:
                    raise KeyboardInterrupt
                self.chunks.append(task.argument.key)
            yield task


def listening() -> tuple[list[str], Listener]:
    lines: list[str] = []
    return lines, Listener(lines.append)


def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.study.sweep.MOST_PER_CHUNK", 2)


def run_all(study: Study, out: Path, **keywords: Any) -> Sweep:
    return sweep(study, out, jobs=1, listener=listening()[1], **keywords)


@pytest.fixture
def study(study_file: Path) -> Study:
    return load_study(study_file)


@pytest.fixture
def whole(study: Study, tmp_path: Path) -> pa.Table:
    return run_all(study, tmp_path / "whole").folder.table()


def test_a_study_has_a_row_for_every_point(whole: pa.Table) -> None:
    assert len(whole) == 12
    assert whole.column("repeat").to_pylist() == [0] * 6 + [1] * 6
    assert whole.column("seed").to_pylist() == [1] * 6 + [2] * 6
    assert whole.column("fronthaul.default.capacity").to_pylist()[:6] == [1e5, 1e5, 316e3, 316e3, 1e6, 1e6]
    assert whole.column("dropout").to_pylist()[:4] == [0, 1, 0, 1]
    assert whole.column("error").null_count == 12
    assert len(set(whole.column("scenario_digest").to_pylist())) == 12
    summary = json.loads(whole.column("summary")[5].as_py())
    assert summary["fixes"] == whole.column("fixes")[5].as_py() == 10
    assert whole.column("dropped_bs_down").to_pylist()[:2] == [0, 10]


def test_resuming_computes_only_what_is_missing(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch)
    uninterrupted = run_all(study, tmp_path / "uninterrupted").folder.table()
    out = tmp_path / "interrupted"
    first = Counting(study, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        run_all(study, out, engine=first)
    second = Counting(study)
    done = run_all(study, out, engine=second, resume=True)
    assert done.folder.table().equals(uninterrupted)
    assert not set(first.chunks) & set(second.chunks)
    assert (done.found, done.computed) == (4, 8)
    assert done.folder.manifest()["finished"]


def test_a_damaged_chunk_is_told_and_computed_again(study: Study, tmp_path: Path, whole: pa.Table) -> None:
    folder = StudyFolder(tmp_path / "whole")
    file = sorted(folder.chunks_path.iterdir())[0]
    file.write_bytes(file.read_bytes()[:100])
    lines, listener = listening()
    done = sweep(study, folder.path, resume=True, jobs=1, listener=listener)
    assert len(lines) == 1
    assert lines[0].startswith(f"{file}: damaged: ")
    assert (done.found, done.computed) == (6, 6)
    assert done.folder.table().equals(whole)


def test_more_repetitions_keep_what_is_there(study_file: Path, tmp_path: Path, whole: pa.Table) -> None:
    done = run_all(load_study(study_file, repeat=3), tmp_path / "whole", resume=True)
    assert (done.found, done.computed) == (12, 6)
    assert done.folder.table().slice(0, 12).equals(whole)


def test_another_study_in_the_folder_is_replaced_when_asked(
    study_file: Path, tmp_path: Path, whole: pa.Table
) -> None:
    other = load_study(study_file, ["cu.deadline=40 ms"])
    with pytest.raises(StudyFolderError, match="is not empty; --resume goes on"):
        run_all(other, tmp_path / "whole")
    lines, listener = listening()
    done = sweep(other, tmp_path / "whole", resume=True, jobs=1, listener=listener)
    assert done.found == 0
    assert lines == [f"{tmp_path / 'whole'}: removed 2 chunks of other points or weights"]


def test_values_that_are_called_something_else_are_computed_again(study_file: Path, tmp_path: Path) -> None:
    run_all(load_study(study_file), tmp_path / "out")
    study_file.write_text(study_file.read_text().replace('"1":', '"one":').replace('"0":', '"none":'))
    done = run_all(load_study(study_file), tmp_path / "out", resume=True)
    assert (done.found, done.computed) == (0, 12)
    assert set(done.folder.table().column("dropout").to_pylist()) == {"none", "one"}


def test_a_failing_point_is_told_at_once_and_the_rest_goes_on(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: pa.Table
) -> None:
    from sim.study.point import Bench

    summaries = Bench.summaries

    def failing(bench: Bench, scenarios: Any) -> Any:
        for scenario in scenarios:
            if scenario.faults and scenario.seed == 2:
                raise MemoryError("no room\nat all")
        return summaries(bench, scenarios)

    monkeypatch.setattr(Bench, "summaries", failing)
    lines, listener = listening()
    done = sweep(study, tmp_path / "failing", jobs=1, listener=listener)
    assert done.failed == 3
    expected = "failed: fronthaul.default.capacity=100 kbit/s, dropout=1, repeat 1: MemoryError: no room"
    assert expected in lines
    errors = done.folder.table().column("error").to_pylist()
    assert [error is None for error in errors] == [True] * 6 + [True, False] * 3


def test_a_full_disk_is_one_line_and_leaves_what_is_there(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim.study import results

    parquet: Any = vars(results)["pq"]
    write_table, written = parquet.write_table, list[int]()

    def full(*arguments: Any, **keywords: Any) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(1)
        write_table(*arguments, **keywords)

    monkeypatch.setattr(parquet, "write_table", full)
    with pytest.raises(StudyFolderError, match=r"cannot be written: No space left on device$"):
        run_all(study, tmp_path / "full")
    folder = StudyFolder(tmp_path / "full")
    assert len(folder.table()) == 6
    assert [path.suffix for path in folder.chunks_path.iterdir()] == [".parquet"]


def test_repeats_until_the_interval_is_narrow(study_file: Path, tmp_path: Path) -> None:
    text = study_file.read_text() + "  until: {half_width: 1000, most: 4}\n"
    study_file.write_text(text)
    assert len(run_all(load_study(study_file), tmp_path / "wide").folder.table()) == 12
    study_file.write_text(text.replace("1000", "0.000001"))
    assert len(run_all(load_study(study_file), tmp_path / "narrow").folder.table()) == 20
    # Two of the six have no fix at all: nothing to know better.


def test_it_repeats_until_students_interval_is_narrow(study_file: Path, tmp_path: Path) -> None:
    """With two seeds it is six times as wide as the normal distribution's."""
    table = run_all(load_study(study_file), tmp_path / "two").folder.table(["group", "track_error_3d_mean_m"])
    of_group: dict[int, list[float]] = {}
    for group, error_m in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if error_m is not None:
            of_group.setdefault(group, []).append(error_m)
    widest = max(interval(errors_m)[1] for errors_m in of_group.values())
    text = study_file.read_text()
    study_file.write_text(text + f"  until: {{half_width: {0.5 * widest}, most: 3}}\n")
    assert len(run_all(load_study(study_file), tmp_path / "three").folder.table()) > len(table)


def test_a_figure_that_there_is_not_is_told_before_anything_is_computed(
    study_file: Path, tmp_path: Path
) -> None:
    study_file.write_text(study_file.read_text() + "  until: {figure: fixes, half_width: 1}\n")
    with pytest.raises(UserError, match="until: there is no figure 'fixes'"):
        run_all(load_study(study_file), tmp_path / "out")
    assert not list((tmp_path / "out" / "chunks").iterdir())


@pytest.mark.parametrize(
    "axes", [["seed=3,4"], ["seed=3,4", "model.bits=4,10"]], ids=["seeds alone", "and something else"]
)
def test_seeds_can_be_swept(tmp_path: Path, axes: list[str]) -> None:
    study = load_study(ROOT / "scenarios" / "spiral.yaml", ["duration=0.5 s", *axes])
    table = run_all(study, tmp_path / "out").folder.table()
    assert sorted(set(table.column("axis.seed").to_pylist())) == [3.0, 4.0]
    assert table.column("seed").to_pylist() == table.column("axis.seed").to_pylist()
    assert run_all(study, tmp_path / "out", resume=True).found == len(study.groups)
    assert "seed" in write_study_report(tmp_path / "out").read_text()


def test_an_axis_may_be_called_as_a_column(study_file: Path, tmp_path: Path) -> None:
    study_file.write_text(study_file.read_text().replace("dropout:", "error:"))
    done = run_all(load_study(study_file), tmp_path / "out")
    assert (done.failed, done.computed) == (0, 12)
    assert "error" in write_study_report(tmp_path / "out").read_text()


def test_ues_may_have_two_underscores(tmp_path: Path) -> None:
    spiral = (ROOT / "scenarios" / "spiral.yaml").read_text().replace("ue1:", "my__ue:")
    (tmp_path / "uu.yaml").write_text(spiral)
    study = load_study(tmp_path / "uu.yaml", ["ues.my__ue.rate=5 Hz,10 Hz", "duration=0.3 s"])
    assert [study.scenario(point).ues["my__ue"].rate for point in study.points()] == [5.0, 10.0]


@pytest.mark.parametrize("key", ["model.name", "model"])
def test_other_weights_of_one_value_are_computed_again(tmp_path: Path, key: str) -> None:
    """Noticed at once, as those of the only model of a study are."""
    mine = tmp_path / "mine"
    shutil.copytree(WEIGHTS / "ecc-r", mine)
    names = ["ecc-r", str(mine)]
    changes = [json.dumps({key: {"name": name} if key == "model" else name}) for name in names]
    study_file = tmp_path / "study.yaml"
    study_file.write_text(
        f"study:\n  scenario: {ROOT / 'scenarios' / 'spiral.yaml'}\n  set: {{duration: 0.3 s}}\n"
        f"  sweep:\n    model:\n      shipped: {changes[0]}\n      mine: {changes[1]}\n"
    )
    study = load_study(study_file)
    run_all(study, tmp_path / "out")
    assert run_all(study, tmp_path / "out", resume=True).found == 2
    page = mine / "model.json"
    page.write_text(page.read_text() + "\n")
    with pytest.raises(KeyboardInterrupt):
        run_all(study, tmp_path / "out", resume=True, engine=Counting(study, stop_after=0))
    assert StudyFolder(tmp_path / "out").table().column("model").to_pylist() == ["shipped"]
    done = run_all(study, tmp_path / "out", resume=True)
    assert (done.found, done.computed, done.failed, len(done.folder.table())) == (1, 1, 0, 2)


OTHER_STUDIES = {
    "other axes": ["fronthaul.default.capacity=1 Mbit/s", "model.bits=4,10"],
    "other values": ["fronthaul.default.capacity=200 kbit/s,2 Mbit/s"],
    "another scenario": ["cu.min_bs=6"],
}


@pytest.mark.parametrize("changes", OTHER_STUDIES.values(), ids=OTHER_STUDIES)
def test_another_study_that_is_stopped_has_no_rows_of_the_one_before(
    study_file: Path, tmp_path: Path, whole: pa.Table, changes: list[str]
) -> None:
    other = load_study(study_file, changes)
    with pytest.raises(KeyboardInterrupt):
        sweep(other, tmp_path / "whole", resume=True, listener=listening()[1], engine=Counting(other, 1))
    table = StudyFolder(tmp_path / "whole").table()
    assert 0 < len(table) < len(list(other.points()))
    wanted = {other.scenario(point).digest() for point in other.points()}
    assert set(table.column("scenario_digest").to_pylist()) <= wanted
    write_study_report(tmp_path / "whole")


def test_a_run_in_two_chunks_counts_once(study: Study, tmp_path: Path, whole: pa.Table) -> None:
    folder = StudyFolder(tmp_path / "whole")
    rows = whole.slice(3, 2)
    folder.write_chunk("cut-otherwise", rows.to_pylist(), rows.schema)
    assert folder.table().equals(whole)


@pytest.mark.slow
def test_sigkill_and_resume_gives_the_same_table(study_file: Path, tmp_path: Path, cache: Path) -> None:
    def command(out: Path, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sim",
                "sweep",
                str(study_file),
                "--out",
                str(out),
                "--jobs",
                "2",
                *options,
            ],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        )

    out = tmp_path / "killed"
    process = command(out)
    deadline = time.monotonic() + 60
    while not list(out.glob("chunks/*.parquet")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    resumed = command(out, "--resume", "--compare", "1")
    said, errors = resumed.communicate(timeout=100)
    assert resumed.returncode == 0, errors
    assert "1 points run separately: the same summaries" in said
    expected = run_all(load_study(study_file), tmp_path / "expected").folder.table()
    assert StudyFolder(out).table().equals(expected)
