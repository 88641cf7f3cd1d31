"""A disk that is really full: one line, what was written stays, and --resume goes on when there is room."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sim.study.results import StudyFolder, StudyFolderError
from sim.study.spec import load_study
from sim.study.sweep import Listener, sweep

PAGE_BYTES = 4096
Resize = Callable[[int], object]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Resize]]:
    """A file system of its own, and what gives it another size."""
    place = tmp_path / "disk"
    place.mkdir()

    def mounted(*options: str) -> bool:
        if shutil.which("mount") is None:
            return False
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", *options, "tmpfs", place], capture_output=True)
        return made.returncode == 0

    if not mounted("size=16m"):
        pytest.skip("needs the right to mount a file system")
    yield place, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)
    subprocess.run(["umount", place], check=True)


def pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def test_a_full_disk(
    study_file: Path, tmp_path: Path, disk: tuple[Path, Resize], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.study.sweep.MOST_PER_CHUNK", 2)
    study, quiet = load_study(study_file), Listener(lambda line: None)
    whole = sweep(study, tmp_path / "whole", jobs=1, listener=quiet).folder
    sizes = sorted(pages(path.stat().st_size) for path in whole.chunks_path.iterdir())
    assert len(sizes) == 6
    manifest = pages((whole.path / "manifest.json").stat().st_size)

    place, resize = disk
    resize(2 * manifest + 2 * sizes[-1])
    with pytest.raises(StudyFolderError, match=r"cannot be written: .*No space left on device") as raised:
        sweep(study, place / "study", jobs=1, listener=quiet)
    assert "\n" not in str(raised.value)
    survived = len(StudyFolder(place / "study").table())
    assert 0 < survived < 12

    resize(16 << 20)
    done = sweep(study, place / "study", resume=True, jobs=1, listener=quiet)
    assert (done.found, done.computed) == (survived, 12 - survived)
    assert done.folder.table().equals(whole.table())
