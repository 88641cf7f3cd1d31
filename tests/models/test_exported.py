"""The folder of an exported model."""

import hashlib
import json
from pathlib import Path

import pytest

from models.exported import replaced, write_page


def test_what_fails_leaves_the_old_folder_and_its_remains_do_not_matter(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()

    def replace(error: Exception | None) -> None:
        with replaced(folder) as new:
            assert not list(new.iterdir())
            (new / "new").touch()
            if error is not None:
                raise error

    with pytest.raises(ZeroDivisionError):
        replace(ZeroDivisionError())
    assert [path.name for path in folder.iterdir()] == ["old"]
    replace(None)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_the_page_has_the_hash_of_each_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1, 2, 3")
    write_page(tmp_path, {"name": "mine"})
    page = json.loads((tmp_path / "model.json").read_text())
    assert page == {"name": "mine", "files": {"weights": hashlib.sha256(b"1, 2, 3").hexdigest()}}
