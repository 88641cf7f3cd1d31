"""Where embeddings are kept from run to run: in the user's cache, named by all that decides them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

from sim.errors import CacheWarning
from sim.scenario import Scenario

DECIDES = ("seed", "duration", "deployment", "clock", "ues")
"""Keys of a scenario that decide what is heard; the model's name enters as the digest of its weights."""

CODE = (
    "broker/streams.py",
    "models",
    "nodes/encoding.py",
    "sim/channel",
    "sim/trajectory",
    "sim/city.py",
    "sim/deployment.py",
    "sim/embeddings_ahead.py",
    "sim/embeddings_file.py",
)
"""Sources whose change may make other embeddings."""

WORTH_KEEPING = 1_000
"""Snapshots from which a run uses the cache: fewer are encoded in a second."""
MOST_BYTES = 4 << 30
"""That runs leave in the cache; what was used longest ago goes first."""


def cache_folder() -> Path:
    """Where embeddings are kept; it may be emptied at any time."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "fronthaul-sim" / "embeddings"


def embeddings_path(scenario: Scenario, weights: bytes, folder: Path | None = None) -> Path:
    """Where the embeddings of a scenario are, or will be."""
    return (cache_folder() if folder is None else folder) / f"{embeddings_key(scenario, weights)}.npz"


def embeddings_key(scenario: Scenario, weights: bytes) -> str:
    """Names all that decides embeddings: keys of the scenario, weights, code, libraries, processor."""
    mapping = scenario.to_mapping()
    parts = {key: mapping[key] for key in DECIDES}
    text = json.dumps([parts, weights.hex(), machinery()], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def machinery() -> list[str]:
    """Sources, libraries and processor: what may change the last digit of an embedding."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.blake2b(digest_size=16)
    for name in CODE:
        place = root / name
        for path in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    libraries = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "onnxruntime")]
    return [digest.hexdigest(), *libraries, processor()]


def processor() -> str:
    """The processor's model, as far as it can be found out."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def worth_keeping(scenario: Scenario, dims: int) -> bool:
    """Whether a run should look in the cache for its embeddings, and leave them there."""
    num_bytes = scenario.num_snapshots * len(scenario.bs_ids) * dims * np.dtype(np.float32).itemsize
    return scenario.num_snapshots >= WORTH_KEEPING and num_bytes <= MOST_BYTES


def unusable(path: Path, error: Exception) -> str:
    """What there is to say of a file that cannot be read."""
    return f"{path}: cannot be used, computing again: {error}"


def discard(path: Path, trouble: str) -> None:
    """Tell what is wrong with a file, and remove it, so that a good one can take its place."""
    warnings.warn(trouble, CacheWarning, stacklevel=3)
    with suppress(OSError):
        path.unlink(missing_ok=True)


def not_cached(path: Path, error: OSError) -> None:
    """Tell why a file could not be written."""
    warnings.warn(f"{path}: not cached: {error.strerror}", CacheWarning, stacklevel=3)


def used(path: Path) -> None:
    """Note that a file was of use."""
    with suppress(OSError):
        os.utime(path)


def make_room(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Remove what was used longest ago until no more than so much is left. What cannot be removed stays."""
    found = []
    for path in folder.glob("*.npz*"):  # also what a run that was killed left unfinished
        with suppress(OSError):
            about = path.stat()
            found.append((about.st_mtime_ns, about.st_size, path))
    excess = sum(size for _, size, _ in found) - most_bytes
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        with suppress(OSError):
            path.unlink()
            excess -= size
