"""What a data set may look like, what is wrong with one in one line, and that groups are never divided."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models.dataset import DatasetError, read_dataset, split_of
from tests.models.dataset_kit import arrays, write


def changed(**changes: Any) -> dict[str, Any]:
    values = arrays() | changes
    return {name: value for name, value in values.items() if value is not None}


def not_a_number(values: Any, row: int) -> Any:
    values = np.array(values)
    values[row] = np.nan
    return values


POSITION = arrays()["position_m"]
MAGNITUDE = arrays()["csi_magnitude"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            changed(csi_magnitude=None),
            "exactly one of csi (complex) and csi_magnitude is needed; found: bs_pos",
        ),
        (changed(csi=MAGNITUDE.astype("c8")), "both are there"),
        (changed(csi_magnitude=MAGNITUDE[:, :, 0]), "must be [sample, bs, slot, antenna, subcarrier]"),
        (changed(csi_magnitude=MAGNITUDE[:, :, :, :0]), "none of them empty"),
        (changed(csi_magnitude=MAGNITUDE.astype("c8")), "csi_magnitude must be float32, not complex64"),
        (changed(csi_magnitude=None, csi=MAGNITUDE), "magnitudes alone go into csi_magnitude"),
        (
            changed(csi_magnitude=None, csi=np.zeros(MAGNITUDE.shape, [("real", "f4"), ("imag", "f4")])),
            "its fields real and imag have to be put together",
        ),
        (changed(csi_magnitude=-MAGNITUDE), "must not be negative (are these decibels?)"),
        (changed(csi_magnitude=0 * MAGNITUDE), "no base station heard anything"),
        (changed(position_m=None), "position_m is missing; found: bs_position_m, csi_magnitude"),
        (
            changed(position_m=POSITION[:, :2]),
            "must be [120, 3], not [120, 2]: give it a third column, the height",
        ),
        (changed(position_m=POSITION[:-1]), "not float32 [119, 3]"),
        (changed(position_m=not_a_number(POSITION, 7)), "not finite in 1 of 120 rows, first in row 7"),
        (changed(bs_position_m=np.zeros((3, 3))), "bs_position_m must be numbers [4, 3]"),
        (
            changed(bs_position_m=not_a_number(np.zeros((4, 3)), 1)),
            "first in row 1: give all of them, or no bs_position_m",
        ),
        (changed(trajectory_id=np.zeros(120)), "trajectory_id must be whole numbers or text [120]"),
        (changed(time_s=np.zeros(3)), "time_s must be numbers [120]"),
        (changed(trajectory_id=np.arange(120) % 5), "samples of 5 trajectories; at least 6 are needed"),
        (changed(position_m=np.round(POSITION * 0 + np.arange(120)[:, None] % 4)), "samples of 4 places"),
        (changed(position_m=POSITION * 0), "all samples are of one place"),
        (changed(position_m=POSITION * 0.0015), "vary by less than 1 cm; there is nothing to learn"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "set.h5", values)
    with pytest.raises(DatasetError) as error:
        split_of(read_dataset(path))
    assert said in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"carrier_hz": None}, "attribute carrier_hz is missing; found: subcarrier_spacing_hz"),
        ({"subcarrier_spacing_hz": -1.0}, "must be a positive number, not"),
        ({"noise_variance": "low"}, "attribute noise_variance must be a positive number"),
    ],
)
def test_wrong_attributes(tmp_path: Path, attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read_dataset(write(tmp_path / "set.h5", arrays(), **attributes))


def test_a_number_in_an_array_is_a_number(tmp_path: Path) -> None:
    assert read_dataset(write(tmp_path / "set.h5", arrays(), carrier_hz=np.array([5e9]))).carrier_hz == 5e9


@pytest.mark.parametrize("name", ["position_m", "trajectory_id", "time_s", "bs_position_m", "csi_magnitude"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (h5py.SoftLink("/nowhere"), "is a link to something that is not there"),
        (h5py.ExternalLink("none.h5", "/x"), "is a link to something that is not there"),
        (h5py.Empty("f4"), "is empty"),
    ],
)
def test_links_to_nowhere_and_nothing_at_all(tmp_path: Path, name: str, value: Any, said: str) -> None:
    path = write(tmp_path / "set.h5", arrays() | {name: value})
    with pytest.raises(DatasetError, match=f"{name} {said}"):
        read_dataset(path)


@pytest.mark.parametrize("kind", [h5py.ref_dtype, h5py.vlen_dtype(np.int32), np.dtype([("a", "i4")])])
def test_names_of_trajectories_that_are_no_text(tmp_path: Path, kind: Any) -> None:
    path = write(tmp_path / "set.h5", arrays())
    with h5py.File(path, "a") as file:
        file.create_dataset("trajectory_id", (120,), dtype=kind)
    with pytest.raises(DatasetError, match="trajectory_id must be whole numbers or text"):
        read_dataset(path)


def test_names_of_trajectories_are_utf_8(tmp_path: Path) -> None:
    names = np.array([f"Büro {number // 10}".encode() for number in range(120)])
    read = read_dataset(write(tmp_path / "set.h5", arrays() | {"trajectory_id": names}))
    assert read.trajectory is not None
    assert read.trajectory[119] == "Büro 11"
    latin = np.array(["Büro".encode("latin-1")] * 120)
    with pytest.raises(DatasetError, match="trajectory_id holds bytes that are no UTF-8 text"):
        read_dataset(write(tmp_path / "latin.h5", arrays() | {"trajectory_id": latin}))


def test_a_subcarrier_that_is_never_measured_is_named(tmp_path: Path) -> None:
    broken = np.array(MAGNITUDE)
    broken[..., [0, 5]] = np.nan
    with pytest.raises(DatasetError, match=r"subcarriers 0, 5 are not finite in every link; leave out"):
        read_dataset(write(tmp_path / "set.h5", arrays() | {"csi_magnitude": broken}))
    broken[3, 1] = 0  # a link that was not heard says nothing of subcarriers
    with pytest.raises(DatasetError, match=r"subcarriers 0, 5 are not finite in every link; leave out"):
        read_dataset(write(tmp_path / "some.h5", arrays() | {"csi_magnitude": broken}))


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(DatasetError, match="not an HDF5 file"):
        read_dataset(tmp_path / "text.h5")
    with pytest.raises(DatasetError, match="no such file"):
        read_dataset(tmp_path / "none.h5")
    with pytest.raises(DatasetError, match="not a file"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("phase", [False, True])
def test_links_that_were_not_heard(tmp_path: Path, phase: bool) -> None:
    values = arrays(phase=phase)
    csi = values["csi" if phase else "csi_magnitude"]
    csi[0, 1], csi[1, 2, 0, 0, 3], csi[2] = 0, np.nan, np.nan
    dataset = read_dataset(write(tmp_path / "set.h5", values))
    assert dataset.unheard == 1
    assert len(dataset) == len(csi) - 1
    assert np.argwhere(~dataset.heard).tolist() == [[0, 1], [1, 2]]
    assert not dataset.csi[~dataset.heard].any()
    assert np.isfinite(dataset.csi).all()


@pytest.mark.parametrize(
    ("given", "by"),
    [
        ({}, "by position"),
        ({"trajectory_id": np.repeat(np.arange(12), 10)}, "by trajectory_id"),
        ({"trajectory_id": np.repeat([f"walk {k}".encode() for k in range(12)], 10)}, "by trajectory_id"),
        ({"position_m": arrays(places=120, packets=1)["position_m"]}, "by squares of"),
    ],
)
def test_a_group_is_never_divided(tmp_path: Path, given: dict[str, Any], by: str) -> None:
    dataset = read_dataset(write(tmp_path / "set.h5", arrays() | given))
    split = split_of(dataset)
    assert str(split.grouping).startswith(by)
    labels = split.grouping.labels(dataset)
    rows = [split.rows(dataset, part) for part in ("training", "validation", "test")]
    assert sorted(np.concatenate(rows)) == list(range(len(dataset)))
    assert all(len(part) for part in rows)
    groups = [set(labels[part]) for part in rows]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    if by == "by position":
        places = [{tuple(place) for place in dataset.position_m[part]} for part in rows]
        assert not places[0] & (places[1] | places[2])


def test_a_split_depends_on_the_seed_and_on_nothing_else(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path / "set.h5", arrays()))
    again = read_dataset(write(tmp_path / "copy.h5", arrays()))
    assert dataset.digest == again.digest
    assert split_of(dataset) == split_of(again)
    assert split_of(dataset, 2).test != split_of(dataset).test
    other = read_dataset(write(tmp_path / "other.h5", arrays(seed=1)))
    assert other.digest != dataset.digest


def test_a_file_that_promises_more_than_fits_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "vast.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("csi", (10**8, 6, 4, 32, 1000), "c8", chunks=(1, 6, 4, 32, 100))
    assert path.stat().st_size < 10_000
    with pytest.raises(DatasetError, match=r"vast\.h5: takes more memory than there is \(.*\)$"):
        read_dataset(path)
