"""A model that was trained on a data set, at work: ONNX Runtime and NumPy, no training stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dataset import Dataset, Grouping, Split
from models.dataset_features import LinkShape, link_features
from models.quantiser import dequantise, quantise
from models.runtime import ModelError, file_hashes, open_session

KIND = "dataset"
VERSION = 1
FLOOR_M = 0.01
"""No axis is claimed to be known better than this."""
BATCH = 1_000

Floats = NDArray[np.float64]


class DatasetModel:
    """Encoders of all base stations and the central unit.

    Args:
        folder: Holds ``model.json``, ``encoder-<bs>.onnx`` and ``fusion.onnx``.

    Raises:
        ModelError: A file is missing, damaged, of another version, or of a model of another kind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "model.json"
        found = _read_json(path)
        if found.get("kind") != KIND:
            raise ModelError(f"{folder}: a model that was not trained with --dataset")
        if found["version"] != VERSION:
            raise ModelError(f"{path}: version {found['version']}, expected {VERSION}")
        try:
            self.bs_ids = tuple(str(bs) for bs in found["bs_ids"])
            self.dims, self.bits = int(found["dims"]), int(found["bits"])
            self.steps: Floats = np.array(found["steps"], dtype=np.float64)
            self.link_shape = LinkShape(**found["link_shape"])
            self.axis_scale: Floats = np.array(found["axis_scale"], dtype=np.float64)
            self.free_axes = int(found["free_axes"])
            self.noise_variance: float | None = found["noise_variance"]
            self.trained_on: dict[str, Any] = found["trained_on"]
            self.radio = (float(found["carrier_hz"]), float(found["subcarrier_spacing_hz"]))
            split = found["split"]
            parts = (tuple(split[part]) for part in ("training", "validation", "test"))
            self.split = Split(Grouping(**split["grouping"]), int(split["seed"]), *parts)
            known = found.get("heard_in_training", [True] * len(self.bs_ids))
            self.known: NDArray[np.bool_] = np.array(known, dtype=bool)
            self.origin_m: Floats = np.array(found.get("origin_m", [0.0, 0.0, 0.0]), dtype=np.float64)
            files = dict(found["files"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: damaged ({error})") from error
        hashes = file_hashes(folder)
        for name, expected in files.items():
            if hashes.get(name) != expected:
                raise ModelError(f"{folder / name}: missing or damaged")
        self._encoder = [open_session(folder / f"encoder-{bs}.onnx") for bs in self.bs_ids]
        self._fusion = open_session(folder / "fusion.onnx")

    @property
    def payload_bits(self) -> int:
        """Bits of one base station's message."""
        return self.dims * self.bits

    def check(self, dataset: Dataset) -> None:
        """Raise a ModelError if snapshots of the set are not of the shape and radio of the training's."""
        wanted = (len(self.bs_ids), *self._sizes(), self.link_shape.phase, *self.radio)
        _, *shape = dataset.csi.shape
        given = (*shape, dataset.has_phase, dataset.carrier_hz, dataset.subcarrier_spacing_hz)
        names = (
            "base stations", "slots", "antennas", "subcarriers", "phase", "carrier_hz",
            "subcarrier_spacing_hz",
        )  # fmt: skip
        for name, ours, theirs in zip(names, wanted, given, strict=True):
            if ours != theirs:
                raise ModelError(f"{dataset.name}: {name} {theirs}, but {self.folder} was trained on {ours}")

    def _sizes(self) -> tuple[int, int, int]:
        return self.link_shape.slots, self.link_shape.antennas, self.link_shape.subcarriers

    def encode_many(
        self, bs: int, csi: NDArray[Any], noise_variance: float | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Latents ``[n, dims]`` and gains in dB ``[n]`` of CSI ``[n, slot, antenna, subcarrier]``.

        Gains are over the noise of the training, or over that of this CSI if both are known.
        """
        known = self.noise_variance is not None and noise_variance is not None
        features, gain_db = link_features(csi, noise_variance if known else self.noise_variance)
        latent = self._encoder[bs].run(["latent"], {"features": features})[0]
        return latent.astype(np.float32), gain_db

    def fuse(
        self, latents: NDArray[np.float32], gain_db: NDArray[Any], present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Positions ``[n, 3]``, m, and covariances ``[n, 3, 3]``, m², from whatever base stations were heard.

        Those that were never heard in training count as absent.

        Args:
            latents: Dequantised, ``[n, num_bs, dims]``; what absent ones hold does not matter.
            gain_db: ``[n, num_bs]``, dB.
            present: ``[n, num_bs]``.
        """
        present = present & self.known
        fed = {
            "latent": np.where(present[..., None], latents, 0).astype(np.float32),
            "gain_db": np.where(present, gain_db, 0).astype(np.float32),
            "present": present.astype(np.float32),
        }
        position, covariance = self._fusion.run(["position", "covariance"], fed)
        position = position.astype(np.float64) + self.origin_m
        return position, calibrated(covariance.astype(np.float64), self.axis_scale)

    def locate(
        self, csi: NDArray[Any], heard: NDArray[np.bool_], noise_variance: float | None = None
    ) -> tuple[Floats, Floats]:
        """Positions and covariances of snapshots, over quantised messages.

        Args:
            csi: ``[n, bs, slot, antenna, subcarrier]``.
            heard: ``[n, bs]``.
            noise_variance: In the units of ``|csi|^2``; None: that of the training.
        """
        found = [
            self._locate(csi[start : start + BATCH], heard[start : start + BATCH], noise_variance)
            for start in range(0, len(csi), BATCH)
        ]
        return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])

    def _locate(
        self, csi: NDArray[Any], heard: NDArray[np.bool_], noise_variance: float | None
    ) -> tuple[Floats, Floats]:
        parts = [self.encode_many(bs, csi[:, bs], noise_variance) for bs in range(len(self.bs_ids))]
        latents = np.stack([latent for latent, _ in parts], axis=1)
        gain_db = np.stack([gain for _, gain in parts], axis=1)
        steps = self.steps[:, None]
        arrived = dequantise(quantise(latents, self.bits, steps), self.bits, steps)
        return self.fuse(arrived, gain_db, heard)


def calibrated(covariance: Floats, axis_scale: Floats) -> Floats:
    """Covariances ``[n, 3, 3]`` with their axes stretched, symmetric, and no axis below the floor."""
    stretched = covariance * axis_scale[:, None] * axis_scale
    result: Floats = (stretched + np.swapaxes(stretched, -1, -2)) / 2 + np.eye(3) * FLOOR_M**2
    return result


def load_dataset_model(folder: Path) -> DatasetModel:
    """The model in a folder; raises ModelError."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder")
    return DatasetModel(folder)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: damaged ({error})") from error
    if not isinstance(found, dict) or "version" not in found:
        raise ModelError(f"{path}: damaged (no version)")
    return found
