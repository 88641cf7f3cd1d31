"""Arrays of files that somebody else may have made."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from models import arrays
from models.arrays import read_arrays
from models.reflections import ReflectionMap, ReflectionMapError


def test_arrays_by_name(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "some.npz", one=np.arange(3), two=np.eye(2))
    found = read_arrays(tmp_path / "some.npz", ["two"])
    assert list(found) == ["two"]
    assert (found["two"] == np.eye(2)).all()


def write_zeros(path: Path, name: str, said: int, there: int) -> None:
    """An array of so many bytes, as its header says and as there are, packed."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.npy", "w") as file,
    ):
        head = {"descr": "|u1", "fortran_order": False, "shape": (said,)}
        np.lib.format.write_array_header_1_0(file, head)
        for _ in range(there >> 20):
            file.write(bytes(1 << 20))


def test_what_unpacks_into_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MOST_BYTES", 1 << 20)
    write_zeros(tmp_path / "map.npz", "planes", 8 << 20, 8 << 20)
    assert (tmp_path / "map.npz").stat().st_size < 20_000
    with pytest.raises(
        ReflectionMapError, match=r"damaged \(planes is of 83887\d\d bytes, at most 1048576\)"
    ):
        ReflectionMap.load(tmp_path / "map.npz")


def test_a_header_that_promises_more_than_there_is_is_one_line(tmp_path: Path) -> None:
    write_zeros(tmp_path / "map.npz", "planes", 1 << 50, 1 << 20)
    with pytest.raises(ReflectionMapError, match=r"map\.npz: damaged"):
        ReflectionMap.load(tmp_path / "map.npz")


def test_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", one=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        read_arrays(tmp_path / "some.npz", ["one"])
