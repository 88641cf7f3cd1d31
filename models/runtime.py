"""A trained model at work: ONNX Runtime and NumPy, no training stack."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.estimation import LmmseEstimator, pilot_symbols
from models.preprocessing import encoder_input

WEIGHTS = Path(__file__).resolve().parent / "weights"
FORMAT_VERSION = 1


class ModelError(ValueError):
    """Weights that are missing, damaged or of another version: one line that names the file."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One snapshot at one base station: ``latent [dims]`` before quantisation, and SNR per resource element in dB."""

    latent: NDArray[np.float32]
    gain_db: float


def weights_digest(folder: Path) -> bytes:
    """8 bytes that name the weights: a hash over all files of a model, by name and content."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".onnx", ".npz") or path.name == "model.json":
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


class OnnxModel:
    """Encoders of all base stations and the fusion of the central unit.

    Args:
        folder: Holds ``model.json``, ``estimator.npz``, ``encoder-<bs>.onnx`` and ``fusion.onnx``.
        threads: Threads of one inference; more than one may change the last digit.

    Raises:
        ModelError: A file is missing, damaged or of another version.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.folder = folder
        description = _read_description(folder)
        self.description: dict[str, Any] = description
        self.bs_ids: tuple[str, ...] = tuple(description["bs_ids"])
        self.num_bs = len(self.bs_ids)
        self.dims = int(description["dims"])
        self.bits = int(description["bits"])
        self.steps: NDArray[np.float64] = np.asarray(description["steps"], dtype=np.float64)
        self.csi_shape: tuple[int, int, int] = tuple(description["csi_shape"])
        self._phase_reference = str(description["phase_reference"])
        self._modes = int(description["slot_modes"])
        self._noise_floor = float(description["gain_floor_db"])
        self._covariance_scale = float(description["covariance_scale"])
        self.digest = weights_digest(folder)
        self._threads = threads
        symbols = pilot_symbols(self.csi_shape[2])
        covariance = _read_covariance(
            folder / "estimator.npz", (self.num_bs, self.csi_shape[2], self.csi_shape[1])
        )
        self._estimator = {bs: LmmseEstimator(covariance[i], symbols) for i, bs in enumerate(self.bs_ids)}
        self._encoder = {bs: self._session(folder / f"encoder-{bs}.onnx") for bs in self.bs_ids}
        self._fusion = self._session(folder / "fusion.onnx")

    def _session(self, path: Path) -> Any:
        import onnxruntime as ort

        if not path.is_file():
            raise ModelError(f"{path}: missing")
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no common base class of its errors
            raise ModelError(f"{path}: damaged ({str(error).splitlines()[0][:120]})") from error

    def encode(self, bs: str, pilots: NDArray[Any], noise_variance: float) -> Embedding:
        """Estimate the channel from pilots ``[num_slots, num_ant, num_sc]`` and embed it.

        Args:
            bs: Which base station's encoder.
            pilots: What it heard, complex64.
            noise_variance: Noise power of one resource element, in the units of ``|pilots|^2``.
        """
        if pilots.shape != self.csi_shape:
            raise ValueError(f"pilots must be {list(self.csi_shape)}, not {list(pilots.shape)}")
        csi = self._estimator[bs].estimate(pilots, noise_variance)
        features, side, gain = encoder_input(csi, noise_variance, self._phase_reference, self._modes)
        fed = {"features": features[None].astype(np.float32), "side": side[None].astype(np.float32)}
        latent = self._encoder[bs].run(["latent"], fed)[0]
        return Embedding(latent.reshape(-1).astype(np.float32, copy=False), float(gain))

    def fuse(
        self, latents: NDArray[np.float32], gain_db: NDArray[Any], present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions and covariances from whatever base stations were heard.

        Args:
            latents: Dequantised, ``[n, num_bs, dims]``; what absent ones hold does not matter.
            gain_db: ``[n, num_bs]``, dB.
            present: ``[n, num_bs]``.

        Returns:
            Positions ``[n, 3]``, m, and covariances ``[n, 3, 3]``, m², in world axes.
        """
        count = len(latents)
        if (
            latents.shape != (count, self.num_bs, self.dims)
            or gain_db.shape != (count, self.num_bs) != present.shape[:0]
        ):
            raise ValueError(f"latents must be [n, {self.num_bs}, {self.dims}], not {list(latents.shape)}")
        heard = present & np.isfinite(gain_db)
        fed = {
            "latent": np.where(heard[..., None], latents, 0).astype(np.float32),
            "gain_db": np.where(heard, np.maximum(gain_db, self._noise_floor), self._noise_floor).astype(
                np.float32
            ),
            "present": heard.astype(np.float32),
        }
        position, covariance = self._fusion.run(["position", "covariance"], fed)
        covariance = covariance.astype(np.float64) * self._covariance_scale
        return position.astype(np.float64), (covariance + np.swapaxes(covariance, -1, -2)) / 2


def load_model(name: str | Path) -> OnnxModel:
    """A shipped model by name, or any by the path of its folder.

    Raises:
        ModelError: There is none of this name, or it is damaged.
    """
    folder = WEIGHTS / str(name)
    if not folder.is_dir():
        folder = Path(name)
    if not folder.is_dir():
        shipped = (
            ", ".join(sorted(p.name for p in WEIGHTS.iterdir() if p.is_dir())) if WEIGHTS.is_dir() else "none"
        )
        raise ModelError(f"no model '{name}' (shipped: {shipped})")
    return OnnxModel(folder)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    try:
        description: dict[str, Any] = json.loads(path.read_text())
        version = description["version"]
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: damaged ({error})") from error
    if version != FORMAT_VERSION:
        raise ModelError(f"{path}: version {version}, expected {FORMAT_VERSION}")
    wanted = {
        "bs_ids",
        "dims",
        "bits",
        "steps",
        "csi_shape",
        "phase_reference",
        "slot_modes",
        "gain_floor_db",
        "covariance_scale",
    }
    lacking = wanted - description.keys()
    if lacking:
        raise ModelError(f"{path}: damaged (no {', '.join(sorted(lacking))})")
    return description


def _read_covariance(path: Path, shape: tuple[int, int, int]) -> NDArray[np.complex64]:
    num_bs, num_sc, num_ant = shape
    try:
        with np.load(path) as file:
            covariance: NDArray[np.complex64] = file["covariance"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: damaged or missing ({str(error).splitlines()[0]})") from error
    if covariance.shape != (num_bs, num_sc, num_ant, num_ant) or not np.isfinite(covariance).all():
        raise ModelError(f"{path}: damaged (covariance {list(covariance.shape)})")
    return covariance
