"""Stored traces are found by position, whatever file they lie in; other worlds' are left alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.path_table import PathTable, PathTableError, concatenate, write_path_table
from sim.channel.traces import (
    SHIPPED_TRACES,
    TraceLibrary,
    on_grid,
    position_digest,
    scenario_positions,
    trace_folders,
)
from sim.channel.world import world_of
from sim.deployment import MUNICH6
from sim.scenario import load_scenario
from tests.sim.channel.kit import MUNICH_KEY, positions, random_table

WORLD = world_of(MUNICH6)


def stored(folder: Path, name: str, count: int, seed: int) -> PathTable:
    table = random_table(positions(count, seed), seed=seed, world_key=MUNICH_KEY)
    write_path_table(table, folder / f"{name}-{MUNICH_KEY}.h5")
    return table


def test_paths_come_in_the_order_asked_for_from_whatever_file(tmp_path: Path) -> None:
    one, other = stored(tmp_path, "one", 7, 1), stored(tmp_path, "other", 5, 2)
    everything = concatenate([one, other])
    library = TraceLibrary(WORLD, [tmp_path])
    rows = np.random.default_rng(0).integers(0, 12, 40)
    assert not library.missing(everything.position_m[rows]).any()
    found, wanted = library.paths(everything.position_m[rows]).whole(), everything.select(rows)
    np.testing.assert_array_equal(found.gain, wanted.gain)
    np.testing.assert_array_equal(found.position_m, wanted.position_m)
    np.testing.assert_array_equal(found.count, wanted.count)


def test_paths_are_read_block_by_block_and_are_those_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.channel.traces.BLOCK", 8)
    one, other = stored(tmp_path, "one", 7, 1), stored(tmp_path, "other", 5, 2)
    everything = concatenate([one, other])
    library = TraceLibrary(WORLD, [tmp_path])
    rows = np.random.default_rng(0).integers(0, 12, 40)
    assert not library.missing(everything.position_m[rows]).any()
    found, wanted = library.paths(everything.position_m[rows]), everything.select(rows)
    assert len(found) == 40
    for index in [*range(40), 3]:
        table, row = found.at(index)
        assert len(table) <= 8
        np.testing.assert_array_equal(table.position_m[row], wanted.position_m[index])
        one_of, same = table.select(np.array([row])), wanted.select(np.array([index]))
        np.testing.assert_array_equal(one_of.gain, same.gain)
        np.testing.assert_array_equal(one_of.mirror, same.mirror)


def test_what_is_missing_is_told_one_by_one(tmp_path: Path) -> None:
    table = stored(tmp_path, "one", 4, 1)
    asked = np.concatenate([table.position_m, positions(3, 9)])
    np.testing.assert_array_equal(TraceLibrary(WORLD, [tmp_path]).missing(asked), [False] * 4 + [True] * 3)


@given(error_m=st.floats(-4e-5, 4e-5))
def test_the_last_digits_of_a_position_do_not_matter(error_m: float) -> None:
    position_m = np.round(positions(5), 4)
    assert position_digest(position_m + error_m) == position_digest(position_m)
    np.testing.assert_array_equal(on_grid(position_m + error_m), on_grid(position_m))


def test_files_are_read_only_as_long_as_something_is_missing(tmp_path: Path) -> None:
    table = stored(tmp_path, "b-mine", 4, 1)
    (tmp_path / f"a-{MUNICH_KEY}.h5").write_bytes(b"nonsense")
    assert not TraceLibrary(WORLD, [tmp_path], first="b-mine").missing(table.position_m).any()
    with pytest.raises(PathTableError, match=rf"a-{MUNICH_KEY}\.h5: damaged path table"):
        TraceLibrary(WORLD, [tmp_path]).missing(table.position_m)


def test_traces_of_other_worlds_are_not_looked_at(tmp_path: Path) -> None:
    table = random_table(positions(3), world_key="1" * 16)
    write_path_table(table, tmp_path / f"one-{'1' * 16}.h5")
    assert TraceLibrary(WORLD, [tmp_path]).missing(table.position_m).all()


def test_a_trace_under_another_world_s_name_is_refused(tmp_path: Path) -> None:
    table = random_table(positions(3), world_key="1" * 16)
    path = tmp_path / f"one-{MUNICH_KEY}.h5"
    write_path_table(table, path)
    with pytest.raises(PathTableError, match=f"{path}: paths of world 1+, expected {MUNICH_KEY}"):
        TraceLibrary(WORLD, [tmp_path]).missing(table.position_m)


def test_folders_that_are_not_there_hold_nothing(tmp_path: Path) -> None:
    assert TraceLibrary(WORLD, [tmp_path / "none"]).missing(positions(2)).all()
    assert TraceLibrary(WORLD, []).missing(positions(2)).all()


def test_traces_are_looked_for_beside_the_scenario_first(tmp_path: Path, cache: Path) -> None:
    assert trace_folders(tmp_path) == [tmp_path / "traces", SHIPPED_TRACES, cache]
    assert trace_folders(None) == [SHIPPED_TRACES, cache]
    assert trace_folders(SHIPPED_TRACES.parent) == [SHIPPED_TRACES, cache]


@pytest.mark.parametrize("path", sorted(SHIPPED_TRACES.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_bring_their_traces(path: Path) -> None:
    scenario = load_scenario(path)
    library = TraceLibrary(world_of(scenario.deployment), [SHIPPED_TRACES])
    for position_m in scenario_positions(scenario).values():
        assert not library.missing(position_m).any()
