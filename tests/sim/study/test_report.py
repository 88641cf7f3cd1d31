import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sim.study import analysis
from sim.study.analysis import Results, axes_of, in_words, interval, knee
from sim.study.report import picture, write_study_report
from sim.study.spec import load_study
from sim.study.sweep import Listener, sweep


def test_a_report_is_one_page_that_loads_nothing(study_file: Path, tmp_path: Path) -> None:
    done = sweep(load_study(study_file), tmp_path / "out", jobs=1, listener=Listener(lambda line: None))
    page = write_study_report(done.folder.path).read_text()
    assert "12 runs: 6 combinations with 2 seeds" in page
    assert "Pareto" in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert page.count("<svg") > 10


def table(capacities: list[float], errors: list[float], wires: list[float], seeds: int = 3) -> Results:
    rows = [
        {"group": group, "repeat": seed, "c": capacity, "error": None, analysis.AVAILABILITY: 1.0}
        | {analysis.ERROR: error + 0.01 * seed, analysis.WIRE: wire, analysis.AGE: 0.1}
        for seed in range(seeds)
        for group, (capacity, error, wire) in enumerate(zip(capacities, errors, wires, strict=True))
    ]
    values = [[f"{capacity:g} bit/s", capacity] for capacity in capacities]
    manifest = {"study": {"axes": [{"name": "c", "numeric": True, "values": values}]}}
    return Results(pa.Table.from_pylist(rows), axes_of(manifest))


def test_the_knee_is_where_the_curve_bends() -> None:
    results = table([1e3, 1e4, 1e5, 1e6], [9.0, 1.2, 1.1, 1.0], [1.0, 2.0, 3.0, 4.0])
    assert any("the knee is at 10000 bit/s: 1.21 m there" in line for line in in_words(results))
    assert knee(np.arange(4.0), np.array([4.0, 3.0, 2.0, 1.0])) is None
    assert knee(np.arange(2.0), np.array([4.0, 3.0])) is None


def test_what_does_not_matter_is_said() -> None:
    results = table([1.0, 2.0, 3.0], [1.0, 1.01, 1.0], [1.0, 2.0, 3.0])
    assert "c hardly matters to the track's mean error: 1.0 %." in in_words(results)


def test_the_front_holds_what_nothing_beats() -> None:
    results = table([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 2.0, 3.0], [10.0, 20.0, 30.0, 40.0])
    assert [group for group, _, _ in results.front()] == [0, 2]


def test_the_interval_is_students() -> None:
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.303 / 3**0.5)
    assert interval([5.0]) == (5.0, 0.0)


def test_a_picture_is_well_formed() -> None:
    from xml.etree import ElementTree

    results = table([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0])
    ElementTree.fromstring(picture("A & B", results, (analysis.ERROR, analysis.AVAILABILITY), "digest"))
