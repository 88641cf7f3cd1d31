"""Path tables: what is written is what is read, what is joined comes apart again, damage is refused."""

from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.path_table import (
    PathTable,
    PathTableError,
    concatenate,
    read_path_table,
    write_path_table,
)
from tests.sim.channel.kit import positions, random_table

EXACT = ("position_m", "first", "count", "gain", "delay_s", "ue_direction", "bs_direction", "line_of_sight")


def links(table: PathTable) -> list[list[tuple[float, complex]]]:
    """Delays and gains of every link, one after the other."""
    return [
        list(zip(table.delay_s[at : at + n].tolist(), table.gain[at : at + n].tolist(), strict=True))
        for at, n in zip(table.first.ravel(), table.count.ravel(), strict=True)
    ]


def same(one: PathTable, other: PathTable) -> bool:
    return (one.world_key, one.bs_ids) == (other.world_key, other.bs_ids) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in EXACT
    )


@pytest.mark.parametrize(("count", "most"), [(1, 0), (1, 5), (20, 5), (3, 200)])
def test_what_is_written_is_what_is_read(tmp_path: Path, count: int, most: int) -> None:
    table = random_table(positions(count), most=most)
    path = tmp_path / "paths.h5"
    write_path_table(table, path)
    found = read_path_table(path)
    assert same(table, found)
    np.testing.assert_array_equal(table.image_distance_m, found.image_distance_m)
    assert found.attributes == table.attributes
    assert list(tmp_path.iterdir()) == [path]


def test_mirrors_are_kept_to_four_thousandths(tmp_path: Path) -> None:
    table = random_table(positions(10))
    object.__setattr__(table, "mirror", np.random.default_rng(1).uniform(-1, 1, table.mirror.shape))
    write_path_table(table, tmp_path / "paths.h5")
    assert abs(read_path_table(tmp_path / "paths.h5").mirror - table.mirror).max() <= 0.5 / 127 + 1e-6


@given(rows=st.lists(st.integers(0, 9), max_size=20), seed=st.integers(0, 99))
def test_selected_rows_are_the_links_of_those_rows(rows: list[int], seed: int) -> None:
    table = random_table(positions(10), seed=seed)
    chosen = table.select(np.array(rows, dtype=np.int64))
    per_row = [links(table)[row * 6 : row * 6 + 6] for row in range(10)]
    assert links(chosen) == [link for row in rows for link in per_row[row]]
    np.testing.assert_array_equal(chosen.position_m, table.position_m[rows])
    np.testing.assert_allclose(chosen.power(), table.power()[rows], rtol=1e-5, atol=1e-18)
    np.testing.assert_array_equal(chosen.sites_in_sight(), table.sites_in_sight()[rows])


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_what_is_joined_can_be_taken_apart(sizes: list[int], seed: int) -> None:
    parts = [random_table(positions(size, number), seed=seed + number) for number, size in enumerate(sizes)]
    whole = concatenate(parts)
    assert len(whole) == sum(sizes)
    ends = np.cumsum(sizes)
    for part, end, size in zip(parts, ends, sizes, strict=True):
        assert same(whole.select(np.arange(end - size, end)), part)


def test_tables_of_other_worlds_are_not_joined() -> None:
    one, other = random_table(positions(2)), random_table(positions(2), world_key="1" * 16)
    with pytest.raises(PathTableError, match="different worlds"):
        concatenate([one, other])


def test_power_and_sight_are_those_of_the_paths() -> None:
    table = random_table(positions(8), most=3)
    for row in range(8):
        seen = 0
        for bs in range(6):
            at = slice(table.first[row, bs], table.first[row, bs] + table.count[row, bs])
            assert table.power()[row, bs] == pytest.approx(float((abs(table.gain[at]) ** 2).sum()), rel=1e-5)
            seen += bool(table.line_of_sight[at].any())
        assert table.sites_in_sight()[row] == seen


def damage(path: Path, how: str) -> str:
    """Spoil a file; gives what must be said of it."""
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-2000])
        return "damaged path table"
    if how == "empty":
        path.write_bytes(b"")
        return "damaged path table"
    if how == "text":
        path.write_text("not HDF5 at all")
        return "damaged path table"
    with h5py.File(path, "a") as file:
        match how:
            case "version":
                file.attrs["version"] = 99
                return "path table version 99, expected 1"
            case "other":
                file.attrs["format"] = "holiday pictures"
                return "not a path table"
            case "column":
                del file["delay_s"], file["mirror"]
                return r"damaged path table \(no delay_s, mirror\)"
            case "attribute":
                del file.attrs["bs_ids"]
                return "damaged path table"
            case "shorter":
                shorter = file["delay_s"][:-1]
                del file["delay_s"]
                file["delay_s"] = shorter
                return "its parts differ in length"
            case "planar":
                planar = file["ue_direction"][:, :2]
                del file["ue_direction"]
                file["ue_direction"] = planar
                return "its parts differ in length"
            case "count":
                file["count"][0, 0] += 1
                return "its parts differ in length"
            case "not a number":
                file["delay_s"][0] = np.nan
                return "numbers that are not finite"
    raise AssertionError(how)


DAMAGE = ("truncated", "empty", "text", "version", "other", "column", "attribute", "shorter", "count")


@pytest.mark.parametrize("how", [*DAMAGE, "planar", "not a number"])
def test_what_is_damaged_is_refused_in_one_line_that_names_the_file(tmp_path: Path, how: str) -> None:
    path = tmp_path / "paths.h5"
    write_path_table(random_table(positions(20)), path)
    said = damage(path, how)
    with pytest.raises(PathTableError, match=said) as caught:
        read_path_table(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PathTableError, match=r"none\.h5: no such path table"):
        read_path_table(tmp_path / "none.h5")


def test_every_column_of_a_table_is_one_of_the_file(tmp_path: Path) -> None:
    write_path_table(random_table(positions(3)), tmp_path / "paths.h5")
    with h5py.File(tmp_path / "paths.h5") as file:
        stored = set(file) | set(file.attrs)
    derived = {"first", "attributes", "gain"}
    assert {field.name for field in fields(PathTable)} - derived <= stored
    assert {"gain_re", "gain_im", "format", "version"} <= stored


def test_a_whole_link_may_have_more_paths_than_a_byte_can_count(tmp_path: Path) -> None:
    table = random_table(positions(1), most=1000, seed=3)
    assert table.count.max() > 255
    write_path_table(table, tmp_path / "paths.h5")
    assert same(table, read_path_table(tmp_path / "paths.h5"))
