"""The folder of an exported model: networks, and a page about them; replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder to write in, which takes the place of ``folder`` in the end, unless something fails."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def write_page(folder: Path, description: dict[str, Any]) -> None:
    """Write ``model.json``: a description, and the SHA-256 of each file that lies there already."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    (folder / "model.json").write_text(json.dumps({**description, "files": files}, indent=2) + "\n")
