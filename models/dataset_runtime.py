"""A model that was trained on a data set, at work: ONNX Runtime and NumPy, no training stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dataset import PARTS, Dataset
from models.dataset_features import link_features
from models.dataset_page import read_dataset_page
from models.quantiser import dequantise, quantise
from models.runtime import ModelError, file_hashes, open_session, unlike

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
        page = read_dataset_page(folder)
        self.bs_ids, self.dims, self.bits = page.bs_ids, page.dims, page.bits
        self.steps: Floats = np.array(page.steps)
        self.link_shape, self.split, self.trained_on = page.link_shape, page.split, page.trained_on
        self.axis_scale: Floats = np.array(page.axis_scale)
        self.free_axes, self.noise_variance = page.free_axes, page.noise_variance
        self.radio = (page.carrier_hz, page.subcarrier_spacing_hz)
        self.known: NDArray[np.bool_] = np.array(page.heard_in_training or [True] * len(self.bs_ids))
        self.origin_m: Floats = np.array(page.origin_m)
        hashes = file_hashes(folder)
        for name, expected in page.files.items():
            if hashes.get(name) != expected:
                raise ModelError(f"{folder / name}: missing or damaged")
        links = (len(self.bs_ids),)
        features = {"features": (self.link_shape.features,)}
        self._encoder = [self._session(f"encoder-{bs}.onnx", features) for bs in self.bs_ids]
        fed = {"latent": (*links, self.dims), "gain_db": links, "present": links}
        self._fusion = self._session("fusion.onnx", fed)

    def _session(self, name: str, fed: Mapping[str, tuple[int, ...]]) -> Any:
        """The network in a file, which takes arrays of the sizes that ``model.json`` says."""
        session = open_session(self.folder / name)
        if (node := unlike(session, fed)) is not None:
            wanted, said = list(node.shape[1:]), list(fed.get(node.name, ()))
            raise ModelError(
                f"{self.folder / 'model.json'}: damaged ({name} takes {node.name} {wanted}, not {said})"
            )
        return session

    @property
    def payload_bits(self) -> int:
        """Bits of one base station's message."""
        return self.dims * self.bits

    def check(self, dataset: Dataset) -> None:
        """Raise a ModelError if snapshots of the set are not of the shape and radio of the training's.

        Or if it is the set of the training, and there are none in a part of the split.
        """
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
        if dataset.digest == self.trained_on.digest:
            for part in PARTS:
                if not len(self.split.rows(dataset, part)):
                    page = self.folder / "model.json"
                    raise ModelError(f"{page}: damaged ({dataset.name} has no group of split.{part})")

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
