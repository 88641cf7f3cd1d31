"""Shipped systems of the comparison at work: ONNX Runtime and NumPy, no training stack."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import read_arrays
from models.estimation import LmmseEstimator, pilot_symbols
from models.quantiser import check_bits, dequantise, quantise, rescale_step
from models.runtime import WEIGHTS, ModelError, file_hashes, open_session
from models.systems.front import EMBEDDING, FIX, MESSAGES, payload_bits, system_input
from models.systems.local_fix import sent_numbers

Floats = NDArray[np.float64]
COMPARED = WEIGHTS / "compare"
ESTIMATOR = "estimator.npz"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class SystemDescription:
    """What ``model.json`` of a compared system says that it runs by.

    Attributes:
        system: Its name.
        message: What base stations send, see :mod:`models.systems.front`.
        bits: Q of an embedding.
        steps: Quantiser step of each base station; empty without a quantiser.
        csi_shape: Slots, antennas, subcarriers.
        subcarriers: Those that it looks at; None: all.
        message_shape: Rows and columns of what goes from the encoder to the central unit's network.
        phase_reference: See :mod:`models.preprocessing`.
        slot_modes: Modes over the slots that the encoder sees; None: the slots themselves.
        gain_floor_db: Weaker links count as this weak.
        covariance_scale: What the network's covariances are multiplied with.
        samples_trained: Samples seen in training.
        short_bits: Other resolutions of its messages that it was trained for.
        files: SHA-256 of the other files.
    """

    system: str
    message: str
    bits: int
    steps: tuple[float, ...]
    csi_shape: tuple[int, int, int]
    subcarriers: tuple[int, ...] | None
    message_shape: tuple[int, int]
    phase_reference: str
    slot_modes: int | None
    gain_floor_db: float
    covariance_scale: float
    samples_trained: int
    short_bits: tuple[int, ...]
    files: dict[str, str]

    @property
    def csi_seen(self) -> tuple[int, int, int]:
        """Slots, antennas, and those of the subcarriers that it looks at."""
        slots, antennas, there = self.csi_shape
        return slots, antennas, there if self.subcarriers is None else len(self.subcarriers)

    def at(self, bits: int) -> SystemDescription:
        """The same with messages of another resolution."""
        steps = tuple(rescale_step(step, self.bits, bits) for step in self.steps)
        return replace(self, bits=bits, steps=steps)

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if self.message not in MESSAGES:
            raise ValueError(f"unknown message {self.message!r}")
        if not all(step > 0 and np.isfinite(step) for step in self.steps):
            raise ValueError("steps must be positive")
        if not (self.covariance_scale > 0 and np.isfinite(self.covariance_scale)):
            raise ValueError("covariance_scale must be positive")


class ComparedSystem:
    """One trained system, from the pilots that all base stations hear to a position.

    Args:
        folder: Holds ``model.json``, ``encoder.onnx`` (all base stations' at once) and ``centre.onnx``; the
            estimator is shared by all systems and lies beside the folder.
        bits: Q, for a system that was trained for several; None: the one it is named for.

    Raises:
        ModelError: A file is missing or damaged.
    """

    def __init__(self, folder: Path, bits: int | None = None) -> None:
        self.folder = folder
        self.description = read_system(folder)
        _check_files(folder, self.description.files)
        self.name = self.description.system
        if bits is not None:
            self.name = f"{self.name}-q{bits}"
            self.description = self.description.at(bits)
        self.csi_shape = self.description.csi_shape
        self.samples_trained = self.description.samples_trained
        rows, columns = self.description.message_shape
        self.payload_bits = payload_bits(
            self.description.message, self.description.csi_seen, rows * columns, self.description.bits
        )
        covariance = _read_covariance(folder.parent / ESTIMATOR, self.csi_shape)
        symbols = pilot_symbols(self.csi_shape[2])
        self._estimators = [LmmseEstimator(one, symbols) for one in covariance]
        self.num_bs = len(self._estimators)
        self._encoder, self._centre = (
            open_session(folder / "encoder.onnx"),
            open_session(folder / "centre.onnx"),
        )
        self._encoder_inputs = {node.name for node in self._encoder.get_inputs()}

        self._made_with = folder, bits

    def __reduce__(self) -> tuple[Any, ...]:
        """To other processes it travels as its folder."""
        return type(self), self._made_with

    def __repr__(self) -> str:
        return f"ComparedSystem({self.name!r}, {self.payload_bits} bits)"

    def estimate(
        self, pilots: NDArray[np.complex64], noise_variance: Floats, present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Positions and covariances of snapshots.

        Args:
            pilots: Received, ``[n, num_bs, num_slots, num_ant, num_sc]``.
            noise_variance: Of a resource element at each base station, ``[num_bs]``, in the units of
                ``|pilots|^2``.
            present: Whose messages arrive, ``[n, num_bs]``.

        Returns:
            Positions ``[n, 3]``, m, and covariances ``[n, 3, 3]``, m².
        """
        wanted = (self.num_bs, *self.csi_shape)
        if pilots.shape[1:] != wanted or present.shape != pilots.shape[:2]:
            raise ValueError(f"{self.name}: pilots must be [n, {str(list(wanted))[1:]} and present [n, bs]")
        fed, gain_db = self._fed(pilots, noise_variance)
        numbers = self._encoder.run(["latent"], {name: fed[name] for name in self._encoder_inputs})[0]
        about = self.description
        position, covariance = self._centre.run(
            ["position", "covariance"],
            {
                "latent": np.where(present[..., None, None], self._sent(numbers), 0).astype(np.float32),
                "gain_db": np.maximum(gain_db, about.gain_floor_db).astype(np.float32),
                "present": present.astype(np.float32),
            },
        )
        covariance = covariance.astype(np.float64) * about.covariance_scale
        return position.astype(np.float64), (covariance + np.swapaxes(covariance, -1, -2)) / 2

    def _fed(
        self, pilots: NDArray[np.complex64], noise_variance: Floats
    ) -> tuple[dict[str, NDArray[np.float32]], Floats]:
        """The encoder's input of all links, and their gains in dB ``[n, num_bs]``."""
        about, parts = self.description, []
        for bs, estimator in enumerate(self._estimators):
            noise = float(noise_variance[bs])
            slots = pilots[:, bs].reshape(-1, *self.csi_shape[1:])
            csi = estimator.estimate(slots, noise).reshape(len(pilots), *self.csi_shape)
            if about.subcarriers is not None:
                csi = csi[..., about.subcarriers]
            parts.append(system_input(csi, noise, about.message, about.phase_reference, about.slot_modes))
        features, side, gain_db = (np.stack(column, axis=1) for column in zip(*parts, strict=True))
        return {"features": features.astype(np.float32), "side": side.astype(np.float32)}, gain_db

    def _sent(self, numbers: NDArray[np.float32]) -> NDArray[Any]:
        """What the central unit's network gets of the encoder's numbers ``[n, num_bs, rows, columns]``."""
        about = self.description
        if about.message == FIX:
            arrived: NDArray[Any] = sent_numbers(numbers)
            return arrived
        if about.message != EMBEDDING:
            return numbers
        steps = np.asarray(about.steps)[:, None, None]
        levels: NDArray[np.float32] = dequantise(quantise(numbers, about.bits, steps), about.bits, steps)
        return levels


def compared_systems(names: Sequence[str] | None = None) -> list[ComparedSystem]:
    """The shipped systems of the comparison, or those named, in the order of the comparison.

    A system that was trained for several resolutions is there in each: ``NAME``, ``NAME-q8`` ….

    Raises:
        ModelError: There is none of a name, or it is damaged.
    """
    there = compared_names()
    for name in names or ():
        if name not in there:
            raise ModelError(f"no compared system '{name}' (there are: {', '.join(there) or 'none'})")
    return [ComparedSystem(*there[name]) for name in (there if names is None else names)]


def compared_names() -> dict[str, tuple[Path, int | None]]:
    """Names of the shipped systems in the order of the comparison, with the folder and the Q of each."""
    folders = {path.parent.name: path.parent for path in sorted(COMPARED.glob("*/model.json"))}
    found: dict[str, tuple[Path, int | None]] = {}
    for name in sorted(folders, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        found[name] = (folders[name], None)
        for bits in read_system(folders[name]).short_bits:
            found[f"{name}-q{bits}"] = (folders[name], bits)
    return found


ORDER = (
    "ecc-r-equal", "ecc-lossless", "ecc-q10", "ecc-q8", "ecc-q6", "ecc-q4", "ecc-q10-scratch",
    "ecc-q10-split", "res-segnet", "transformer", "adcpm", "mfcnet-style",
    "csi-16-bit", "csi-bfp9", "csi-mean-bfp9", "local-fixes",
)  # fmt: skip
"""Of the rows: the folders."""


def read_system(folder: Path) -> SystemDescription:
    """``model.json`` of a compared system; raises ModelError."""
    path = folder / "model.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["version"] != FORMAT_VERSION:
            raise ModelError(f"{path}: version {found['version']}, expected {FORMAT_VERSION}")
        slots, antennas, subcarriers = (int(size) for size in found["csi_shape"])
        rows, columns = (int(size) for size in found["message_shape"])
        return SystemDescription(
            system=str(found["system"]),
            message=str(found["message"]),
            bits=int(found["bits"]),
            steps=tuple(float(step) for step in found["steps"]),
            csi_shape=(slots, antennas, subcarriers),
            subcarriers=_some(found.get("subcarriers"), subcarriers),
            message_shape=(rows, columns),
            phase_reference=str(found["phase_reference"]),
            slot_modes=None if found["slot_modes"] is None else int(found["slot_modes"]),
            gain_floor_db=float(found["gain_floor_db"]),
            covariance_scale=float(found["covariance_scale"]),
            samples_trained=int(found["samples_trained"]),
            short_bits=_short_bits(found["config"], int(found["bits"])),
            files=dict(found["files"]),
        )
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise ModelError(f"{path}: damaged (no {error.args[0]})") from error
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: damaged ({error})") from error


def _some(kept: list[int] | None, subcarriers: int) -> tuple[int, ...] | None:
    if kept is None:
        return None
    if not kept or not all(0 <= int(one) < subcarriers for one in kept):
        raise ValueError(f"subcarriers must be from 0 to {subcarriers - 1}")
    return tuple(int(one) for one in kept)


def _short_bits(config: dict[str, Any], bits: int) -> tuple[int, ...]:
    if not config["short_share"]:
        return ()
    return tuple(sorted((int(short) for short in config["short_bits"] if short != bits), reverse=True))


def _check_files(folder: Path, wanted: dict[str, str]) -> None:
    there = file_hashes(folder)
    for name in ("encoder.onnx", "centre.onnx"):
        if name not in there:
            raise ModelError(f"{folder / name}: missing")
        if wanted.get(name) != there[name]:
            raise ModelError(f"{folder / name}: damaged (not the file that model.json was written with)")


def _read_covariance(path: Path, csi_shape: tuple[int, int, int]) -> NDArray[np.complex64]:
    try:
        covariance: NDArray[np.complex64] = read_arrays(path, ["covariance"])["covariance"]
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged ({str(error).splitlines()[0]})") from error
    _, antennas, subcarriers = csi_shape
    if covariance.ndim != 4 or covariance.shape[1:] != (subcarriers, antennas, antennas):
        raise ModelError(f"{path}: damaged (covariance {list(covariance.shape)})")
    return covariance
