"""What does not depend on the fronthaul: latents and gains of a scenario, computed once and kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nodes import PositioningModel
from sim.embeddings_ahead import EmbeddingsAhead
from sim.scenario import Scenario
from sim.world import Channel

DECIDES = ("seed", "duration", "deployment", "clock", "ues")
"""Keys of a scenario that decide what is heard; the model's name enters as the digest of its weights."""

CODE = (
    "broker/streams.py",
    "models/directions.py",
    "models/estimation.py",
    "models/music.py",
    "models/path_table.py",
    "models/preprocessing.py",
    "models/runtime.py",
    "models/synthesis.py",
    "sim/channel",
    "sim/trajectory",
    "sim/city.py",
    "sim/deployment.py",
)
"""Sources whose change makes other embeddings."""


class CacheWarning(UserWarning):
    """A cached file that cannot be used; its content is computed again."""


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Of each UE: ``latent`` float32 [n, num_bs, dims] and ``gain_db`` [n, num_bs]; size of the pilots."""

    latent: dict[str, npt.NDArray[np.float32]]
    gain_db: dict[str, npt.NDArray[np.float64]]
    csi_shape: tuple[int, int, int]


def cache_folder() -> Path:
    """Where embeddings are kept; it may be emptied at any time."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "fronthaul-sim" / "embeddings"


def embeddings_key(scenario: Scenario, weights: bytes) -> str:
    """Names all that decides embeddings: keys of the scenario, weights, code, libraries, processor."""
    mapping = scenario.to_mapping()
    parts = {key: mapping[key] for key in DECIDES}
    text = json.dumps([parts, weights.hex(), machinery()], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def machinery() -> list[str]:
    """Sources, libraries and processor: what may change the last digit of an embedding."""
    root = Path(__file__).resolve().parents[2]
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


def cached(scenario: Scenario, weights: bytes) -> bool:
    """Whether the embeddings of a scenario are in the cache, good or not."""
    return (cache_folder() / f"{embeddings_key(scenario, weights)}.npz").exists()


def embeddings_of(
    scenario: Scenario,
    model: PositioningModel,
    open_channel: Callable[[Scenario], Channel],
    folder: Path | None = None,
    *,
    processes: int = 0,
) -> tuple[Embeddings, bool]:
    """The embeddings of a scenario, from the cache or computed and cached now; and whether they were there.

    A cache that cannot be read or written is told in one `CacheWarning`; the result is the same. `processes`
    help to compute them, as of `embed`.
    """
    path = (cache_folder() if folder is None else folder) / f"{embeddings_key(scenario, model.digest)}.npz"
    found = read(path, scenario)
    if found is not None:
        return found, True
    embeddings = embed(scenario, model, open_channel(scenario), processes=processes)
    try:
        write(path, embeddings)
    except OSError as error:
        warnings.warn(f"{path}: not cached: {error.strerror}", CacheWarning, stacklevel=2)
    return embeddings, False


def embed(scenario: Scenario, model: PositioningModel, channel: Channel, *, processes: int = 0) -> Embeddings:
    """Encode every snapshot of every UE at every BS, many at a time: the numbers are those of a run.

    Args:
        scenario: whose snapshots.
        model: encodes.
        channel: what the BSs hear.
        processes: encode in so many processes beside this one, as of `sim.embeddings_ahead.EmbeddingsAhead`.
    """
    numbers = {ue: len(scenario.sample_times_ns(ue)) for ue in scenario.ue_ids}
    num_bs, shape = len(scenario.bs_ids), (0, 0, 0)
    latent = {ue: np.zeros((num, num_bs, model.dims), np.float32) for ue, num in numbers.items()}
    gain_db = {ue: np.zeros((num, num_bs)) for ue, num in numbers.items()}
    with EmbeddingsAhead(scenario, channel, model, processes) as ahead:
        for places, chunk in ahead.chunks():
            shape = chunk.csi_shape
            for row, (ue, index) in enumerate(places):
                latent[ue][index], gain_db[ue][index] = chunk.latent[row], chunk.gain_db[row]
    return Embeddings(latent, gain_db, shape)


def write(path: Path, embeddings: Embeddings) -> None:
    """Write embeddings whole or not at all; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, npt.NDArray[Any]] = {"csi_shape": np.array(embeddings.csi_shape)}
    for ue in embeddings.latent:
        arrays |= {f"latent/{ue}": embeddings.latent[ue], f"gain_db/{ue}": embeddings.gain_db[ue]}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.writing")
    try:
        with unfinished.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: Path, scenario: Scenario) -> Embeddings | None:
    """Embeddings from the cache; None where there are none, with a warning if what is there is damaged."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            latent = {ue: arrays[f"latent/{ue}"] for ue in scenario.ue_ids}
            gain_db = {ue: arrays[f"gain_db/{ue}"] for ue in scenario.ue_ids}
            slots, antennas, subcarriers = arrays["csi_shape"].tolist()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        warnings.warn(f"{path}: cannot be used, computing again: {reason}", CacheWarning, stacklevel=3)
        return None
    return Embeddings(latent, gain_db, (slots, antennas, subcarriers))
