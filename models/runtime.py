"""A trained model at work: ONNX Runtime and NumPy, no training stack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import read_arrays
from models.directions import LEADING, Directions
from models.estimation import LmmseEstimator, pilot_symbols
from models.length_scales import LengthScales, read_scales, scale_of_length
from models.preprocessing import PHASE_REFERENCES, encoder_input
from models.quantiser import check_bits

Floats = NDArray[np.float64]

WEIGHTS = Path(__file__).resolve().parent / "weights"
FORMAT_VERSION = 1
ENCODER_INPUTS = ("modes", "slots")

ROWS_AT_A_TIME = 4
"""Batches are filled up to a multiple of this. ONNX Runtime multiplies matrices of fewer rows, or of what is
left over, by another kernel with another order of summation; whole multiples give each row the same bits
whatever else is in the batch (measured from 4 to 192 rows; a test holds it)."""


class ModelError(ValueError):
    """Weights that are missing, damaged or of another version: one line that names the file."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One snapshot at one base station.

    Attributes:
        latent: ``[dims]``, before quantisation.
        gain_db: SNR per resource element, dB.
    """

    latent: NDArray[np.float32]
    gain_db: float


@dataclass(frozen=True, slots=True)
class Description:
    """What ``model.json`` says that the runtime goes by; see ``docs/models.md`` for the rest.

    Attributes:
        bs_ids: Base stations, in the order of all arrays.
        dims: D, numbers in one message.
        bits: Q that the model was trained for.
        steps: Quantiser step of each base station.
        csi_shape: Slots, antennas, subcarriers.
        phase_reference: See :mod:`models.preprocessing`.
        encoder_input: ``slots`` (13)–(15) or ``modes`` over the slots.
        slot_modes: How many modes.
        gain_floor_db: Weaker links count as this weak.
        covariance_scales: What the network's covariances are multiplied with where one, two, … all base
            stations are heard; one number for all in models of earlier versions.
        short_scales: What they are multiplied with besides, where messages are shorter than ``dims``: numbers
            in a message, ascending, and the factor there; in between it goes with the number's logarithm.
        world: Digest of scene, sites and carrier of the training; None where that is not told.
        files: SHA-256 of every other file; empty in models of earlier versions.
        directions: What stands at the head of messages beside the D numbers of the latent, if anything does.
    """

    bs_ids: tuple[str, ...]
    dims: int
    bits: int
    steps: tuple[float, ...]
    csi_shape: tuple[int, int, int]
    phase_reference: str
    encoder_input: str
    slot_modes: int
    gain_floor_db: float
    covariance_scales: tuple[float, ...]
    files: dict[str, str]
    directions: Directions | None = None
    short_scales: LengthScales = ()
    world: str | None = None

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if not self.bs_ids or len(self.steps) != len(self.bs_ids):
            raise ValueError(f"{len(self.steps)} steps for {len(self.bs_ids)} base stations")
        if not all(step > 0 and np.isfinite(step) for step in self.steps):
            raise ValueError("steps must be positive")
        if self.dims < 1 or min(self.csi_shape) < 1 or not 1 <= self.slot_modes <= self.csi_shape[0]:
            raise ValueError("sizes must be positive")
        if len(self.covariance_scales) != len(self.bs_ids):
            raise ValueError(
                f"{len(self.covariance_scales)} covariance_scales for {len(self.bs_ids)} base stations"
            )
        if not all(scale > 0 and np.isfinite(scale) for scale in self.covariance_scales):
            raise ValueError("covariance_scales must be positive")
        read_scales(self.short_scales)
        if self.phase_reference not in PHASE_REFERENCES or self.encoder_input not in ENCODER_INPUTS:
            raise ValueError(f"unknown input {self.encoder_input!r} by {self.phase_reference!r}")


class OnnxModel:
    """Encoders of all base stations and the fusion of the central unit.

    Messages of a model that knows of directions begin with ``leading`` numbers that say one; ``dims`` counts
    them.

    Args:
        folder: Holds ``model.json``, ``estimator.npz``, ``encoder-<bs>.onnx`` and ``fusion.onnx``.
        threads: Threads of one inference; more than one may change the last digit.
        directions: Whether to send and use directions if the model knows of them; without, the digest is that
            of other weights.

    Raises:
        ModelError: A file is missing, damaged or of another version.
    """

    def __init__(self, folder: Path, threads: int = 1, *, directions: bool = True) -> None:
        self.folder = folder
        description = read_description(folder)
        hashes = file_hashes(folder)
        _compare(folder, description, hashes)
        self.description = description
        self._directions = description.directions if directions else None
        left_out = description.directions is not None and not directions
        self.digest = digest_of(hashes | {"without directions": ""} if left_out else hashes)
        self.bs_ids = description.bs_ids
        self.num_bs = len(self.bs_ids)
        self.leading = 0 if self._directions is None else LEADING
        self.dims, self.bits = self.leading + description.dims, description.bits
        self.steps: NDArray[np.float64] = np.asarray(description.steps, dtype=np.float64)
        self.csi_shape = description.csi_shape
        self._scale_of_heard = np.array([np.nan, *description.covariance_scales])
        self._modes = description.slot_modes if description.encoder_input == "modes" else None
        self._threads = threads
        _, num_ant, num_sc = self.csi_shape
        covariance = _read_covariance(folder / "estimator.npz", (self.num_bs, num_sc, num_ant))
        symbols = pilot_symbols(num_sc)
        self._estimator = {bs: LmmseEstimator(covariance[i], symbols) for i, bs in enumerate(self.bs_ids)}
        self._encoder = {bs: self._encoder_session(folder / f"encoder-{bs}.onnx") for bs in self.bs_ids}
        self._encoder_inputs = {
            bs: {node.name for node in session.get_inputs()} for bs, session in self._encoder.items()
        }
        links = (self.num_bs,)
        self._fusion = self._session(
            folder / "fusion.onnx", {"latent": (*links, description.dims), "gain_db": links, "present": links}
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """To other processes it travels as its folder."""
        left_out = self.description.directions is not None and self._directions is None
        return partial(type(self), self.folder, self._threads, directions=not left_out), ()

    def _encoder_session(self, path: Path) -> Any:
        silence = np.zeros(self.csi_shape, np.complex64)
        features, side, _ = encoder_input(silence, 1.0, self.description.phase_reference, self._modes)
        return self._session(path, {"features": features.shape, "side": side.shape})

    def _session(self, path: Path, inputs: dict[str, tuple[int, ...]]) -> Any:
        """The network in a file, which must take these inputs, or some of them: ``{name: shape}``."""
        session = open_session(path, self._threads)
        if (node := unlike(session, inputs)) is not None:
            raise ModelError(f"{path}: damaged (input {node.name} {node.shape} is of another model)")
        return session

    def encode(self, bs: str, pilots: NDArray[Any], noise_variance: float) -> Embedding:
        """Estimate the channel from pilots ``[num_slots, num_ant, num_sc]`` and embed it.

        Args:
            bs: Which base station's encoder.
            pilots: What it heard, complex64.
            noise_variance: Noise power of one resource element, in the units of ``|pilots|^2``.
        """
        if pilots.shape != self.csi_shape:
            raise ValueError(f"pilots must be {list(self.csi_shape)}, not {list(pilots.shape)}")
        latents, gain_db = self.encode_many(bs, pilots[None], noise_variance)
        return Embedding(latents[0], float(gain_db[0]))

    def encode_many(
        self, bs: str, pilots: NDArray[Any], noise_variance: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """As `encode`, for many snapshots of one base station at a time; far quicker than one by one.

        Args:
            bs: Which base station's encoder.
            pilots: What it heard, complex64 ``[n, num_slots, num_ant, num_sc]``.
            noise_variance: Noise power of one resource element, in the units of ``|pilots|^2``.

        Returns:
            Latents ``[n, dims]`` before quantisation and SNR per resource element in dB ``[n]``: the same to
            the last bit, alone or among others.
        """
        if pilots.ndim != 4 or pilots.shape[1:] != self.csi_shape:
            raise ValueError(f"pilots must be [n, {str(list(self.csi_shape))[1:]}, not {list(pilots.shape)}")
        csi = self._estimator[bs].estimate(pilots, noise_variance)
        features, side, gain_db = encoder_input(
            csi, noise_variance, self.description.phase_reference, self._modes
        )
        rows = filled_up(len(pilots))
        fed = {"features": features.astype(np.float32)[rows], "side": side.astype(np.float32)[rows]}
        wanted = self._encoder_inputs[bs]  # an encoder may look at the features alone
        found = self._encoder[bs].run(["latent"], {name: fed[name] for name in wanted})[0][: len(pilots)]
        latents = found.reshape(len(pilots), -1).astype(np.float32, copy=False)
        if self._directions is not None:
            leading = self._directions.of_pilots(self.bs_ids.index(bs), pilots, noise_variance)
            latents = np.concatenate([leading, latents], axis=1)
        return latents, gain_db.astype(np.float64)

    def fuse(
        self, latents: NDArray[np.float32], gain_db: NDArray[Any], present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions and covariances from whatever base stations were heard.

        Args:
            latents: Dequantised, ``[n, num_bs, dims]``; what absent ones hold does not matter.
            gain_db: ``[n, num_bs]``, dB; a base station whose gain is not finite counts as absent.
            present: ``[n, num_bs]``.

        Returns:
            Positions ``[n, 3]``, m, and covariances ``[n, 3, 3]``, m², in world axes.
        """
        count = len(latents)
        wanted = {
            "latents": (latents, (count, self.num_bs, self.dims)),
            "gain_db": (gain_db, (count, self.num_bs)),
            "present": (present, (count, self.num_bs)),
        }
        for name, (given, shape) in wanted.items():
            if given.shape != shape:
                raise ValueError(f"{name} must be {list(shape)}, not {list(given.shape)}")
        if not count:
            return np.zeros((0, 3)), np.zeros((0, 3, 3))
        return self.fuse_networks(latents, gain_db, present)

    def fuse_networks(
        self, latents: NDArray[np.float32], gain_db: NDArray[Any], present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the networks, and directions, make of messages: as `fuse`, of at least one and unchecked."""
        heard = present & np.isfinite(gain_db)
        floor = self.description.gain_floor_db
        fed = {
            "latent": np.where(heard[..., None], latents[..., self.leading :], 0).astype(np.float32),
            "gain_db": np.where(heard, np.maximum(gain_db, floor), floor).astype(np.float32),
            "present": heard.astype(np.float32),
        }
        position, covariance = self._fusion.run(["position", "covariance"], fed)
        number = np.maximum(heard.sum(axis=1), 1)
        # What did not arrive is zero, and no level of the quantiser is.
        lengths = np.count_nonzero(fed["latent"], axis=(1, 2)) / number
        scale = self._scale_of_heard[number]
        if self.description.short_scales:
            scale = scale * scale_of_length(self.description.short_scales, lengths)
        position, covariance = position.astype(np.float64), covariance.astype(np.float64)
        covariance = (covariance + np.swapaxes(covariance, -1, -2)) / 2
        if self._directions is None:
            return position, covariance * scale[:, None, None]
        return self._directions.fix(position, covariance, latents[..., : self.leading], heard, scale, lengths)


def open_session(path: Path, threads: int = 1) -> Any:
    """The network in a file, ready to run on the CPU; raises ModelError if it cannot be had."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # ONNX Runtime has no common base class of its errors
        raise ModelError(f"{path}: damaged ({str(error).splitlines()[0][:120]})") from error


def unlike(session: Any, inputs: Mapping[str, tuple[int, ...]]) -> Any:
    """The first input of a network that is none of these ``{name: shape of a row}``; None if all are."""
    return next(
        (node for node in session.get_inputs() if inputs.get(node.name) != tuple(node.shape[1:])), None
    )


def filled_up(count: int) -> NDArray[np.intp]:
    """Rows of a batch, the last one again and again until there are whole multiples of `ROWS_AT_A_TIME`."""
    return np.minimum(np.arange(-(-count // ROWS_AT_A_TIME) * ROWS_AT_A_TIME), count - 1)


def folder_of(name: str | Path) -> Path:
    """Where a shipped model lies, or any that is named by its folder; raises ModelError if there is none."""
    for folder in (WEIGHTS / str(name), Path(name)):
        if folder.is_dir():
            return folder
    shipped = ", ".join(sorted(page.parent.name for page in WEIGHTS.glob("*/model.json")))
    raise ModelError(f"no model '{name}' (shipped: {shipped or 'none'})")


def load_model(name: str | Path, *, directions: bool = True) -> OnnxModel:
    """A shipped model by name, or any by the path of its folder; `directions` as for :class:`OnnxModel`.

    Raises:
        ModelError: There is none of this name, or it is damaged.
    """
    folder = folder_of(name)
    if kind_of(folder) == "mapped":
        from models.mapped_model import MappedModel  # it stands on what is here

        return MappedModel(folder, directions=directions)
    return OnnxModel(folder, directions=directions)


def kind_of(folder: Path) -> str:
    """What ``model.json`` says the model is; empty for networks alone, and where it cannot be read."""
    try:
        return str(json.loads((folder / "model.json").read_text(encoding="utf-8")).get("kind", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def read_description(folder: Path) -> Description:
    """``model.json`` of a folder; raises ModelError."""
    path = folder / "model.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version = found["version"]
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: damaged ({error})") from error
    if found.get("kind") == "dataset":
        raise ModelError(f"{folder}: trained on a data set; models.dataset_runtime loads it")
    if version != FORMAT_VERSION:
        raise ModelError(f"{path}: version {version}, expected {FORMAT_VERSION}")
    try:
        slots, antennas, subcarriers = (int(size) for size in found["csi_shape"])
        return Description(
            bs_ids=tuple(str(bs) for bs in found["bs_ids"]),
            dims=int(found["dims"]),
            bits=int(found["bits"]),
            steps=tuple(float(step) for step in found["steps"]),
            csi_shape=(slots, antennas, subcarriers),
            phase_reference=str(found["phase_reference"]),
            encoder_input=str(found.get("encoder_input", "modes")),
            slot_modes=int(found["slot_modes"]),
            gain_floor_db=float(found["gain_floor_db"]),
            covariance_scales=_scales(found),
            files=dict(found.get("files", {})),
            directions=_directions(found),
            short_scales=read_scales(found.get("short_scales", ())),
            world=None if (world := found.get("world")) is None else str(world),
        )
    except KeyError as error:
        raise ModelError(f"{path}: damaged (no {error.args[0]})") from error
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: damaged ({error})") from error


def _scales(found: dict[str, Any]) -> tuple[float, ...]:
    """Of covariances, by the number of base stations heard."""
    if "covariance_scales" in found:
        return tuple(float(scale) for scale in found["covariance_scales"])
    return (float(found["covariance_scale"]),) * len(found["bs_ids"])


def _directions(found: dict[str, Any]) -> Directions | None:
    """What a model knows of them."""
    if "directions" not in found:
        return None
    return Directions.from_json(found["directions"], found["steps"], int(found["bits"]))


def weights_digest(folder: Path) -> bytes:
    """8 bytes that name the weights: a hash over all files of a model, by name and content."""
    return digest_of(file_hashes(folder))


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a model, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.suffix in (".onnx", ".npz") or path.name == "model.json"
    }


def digest_of(hashes: dict[str, str]) -> bytes:
    """8 bytes that name weights, from hexadecimal hashes of their parts by name."""
    digest = hashlib.blake2b(digest_size=8)
    for name, content in sorted(hashes.items()):
        digest.update(name.encode() + b"\0" + bytes.fromhex(content))
    return digest.digest()


def _compare(folder: Path, description: Description, hashes: dict[str, str]) -> None:
    """Refuse files that are missing or not those that ``model.json`` was written with."""
    encoders = [f"encoder-{bs}.onnx" for bs in description.bs_ids]
    for name in ("estimator.npz", *encoders, "fusion.onnx"):
        if name not in hashes:
            raise ModelError(f"{folder / name}: missing")
        if description.files.get(name, hashes[name]) != hashes[name]:
            raise ModelError(f"{folder / name}: damaged (not the file that model.json was written with)")


def _read_covariance(path: Path, shape: tuple[int, int, int]) -> NDArray[np.complex64]:
    num_bs, num_sc, num_ant = shape
    try:
        covariance: NDArray[np.complex64] = read_arrays(path, ["covariance"])["covariance"]
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged ({str(error).splitlines()[0]})") from error
    if covariance.shape != (num_bs, num_sc, num_ant, num_ant) or not np.isfinite(covariance).all():
        raise ModelError(f"{path}: damaged (covariance {list(covariance.shape)})")
    return covariance
