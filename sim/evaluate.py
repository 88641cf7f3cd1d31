"""How well models find UEs where they were never trained: `python -m sim evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from broker.frame import Frame, encode_frame, wire_bits
from broker.streams import stream
from models.quantiser import dequantise, pack, quantise, rescale_step
from sim.channel.held_out import SPLITS, HeldOut, Split, held_out
from sim.errors import UserError
from sim.metrics import nees
from sim.scenario.scenario import Clock

BATCH = 250
"""Snapshots that are synthesised and encoded together."""

RESAMPLES = 1_000
CONFIDENCE = 0.95
SUBSETS = ("served", "all")

AVAILABLE_H_M = 1.0
AVAILABLE_V_M = 3.0
"""A position is available if it is this good, horizontally and vertically (3GPP Rel-17, commercial)."""

CHI_SQUARED_95_PLANE = 5.991
NORMAL_95 = 1.960
"""Within these a Gaussian stays with 95 %: squared radius in a plane, and standard deviations on a line."""

COMPLEX64_BITS = 64

Floats = NDArray[np.float64]
Progress = Callable[[int], object]


class EvaluationError(UserError):
    """A model that cannot be judged here."""


class Encoding(Protocol):
    """What is asked of a model; see :class:`models.runtime.OnnxModel`."""

    bs_ids: tuple[str, ...]
    csi_shape: tuple[int, int, int]
    dims: int
    bits: int
    steps: NDArray[np.float64]
    digest: bytes

    def encode_many(
        self, bs: str, pilots: NDArray[Any], noise_variance: float
    ) -> tuple[NDArray[np.float32], Floats]:
        """Latents ``[n, dims]`` and gains in dB ``[n]`` of pilots ``[n, num_slots, num_ant, num_sc]``."""
        ...

    def fuse(
        self, latents: NDArray[np.float32], gain_db: NDArray[Any], present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Positions ``[n, 3]`` and covariances ``[n, 3, 3]``."""
        ...


@dataclass(frozen=True, eq=False)
class Estimates:
    """What a system made of the snapshots of a split.

    Attributes:
        error_m: Estimate minus truth, ``[n, 3]``.
        covariance_m2: What it claims about that, ``[n, 3, 3]``.
    """

    error_m: Floats
    covariance_m2: Floats

    def take(self, rows: NDArray[Any]) -> Estimates:
        """Some of them."""
        return Estimates(self.error_m[rows], self.covariance_m2[rows])


@dataclass(frozen=True, eq=False)
class System:
    """A model that sends so many bits per number.

    Attributes:
        name: Of the model, with the bits where they are not those it was trained for.
        model: Encodes and fuses.
        bits: Q.
        samples_trained: Samples that it has seen in training; None if nobody knows.
    """

    name: str
    model: Encoding
    bits: int
    samples_trained: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise EvaluationError(f"bits must be from 1 to 16, not {self.bits}")

    @property
    def steps(self) -> Floats:
        """Quantiser step of each base station, ``[num_bs]``."""
        return np.array([rescale_step(float(step), self.model.bits, self.bits) for step in self.model.steps])

    @property
    def payload_bits(self) -> int:
        """Bits of one embedding."""
        return self.model.dims * self.bits

    @property
    def wire_bits(self) -> int:
        """Bits on the wire of one frame with it."""
        indices = np.zeros(self.model.dims, np.uint16)
        frame = Frame(
            run="evaluate",
            bs=self.model.bs_ids[0],
            ue="ue1",
            seq=1_000,
            t_sample_ns=10**11,
            t_publish_ns=10**11,
            dims=self.model.dims,
            bits=self.bits,
            step=float(self.steps[0]),
            gain_db=20.0,
            model=self.model.digest,
            payload=pack(indices, self.bits),
        )
        return wire_bits(encode_frame(frame))

    def sent(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """What arrives of latents ``[n, num_bs, dims]``: (19) and back."""
        steps = self.steps[:, None]
        arrived: NDArray[np.float32] = dequantise(quantise(latents, self.bits, steps), self.bits, steps)
        return arrived


def systems_of(models: Sequence[str], bits: Sequence[int] = ()) -> list[System]:
    """Shipped models by name, or any by folder, each with its own bits or with those given.

    Raises:
        ModelError: There is no such model, or it is damaged.
        EvaluationError: Bits out of range.
    """
    from models.runtime import load_model

    systems = []
    for name in models:
        model = load_model(name)
        seen = json.loads((model.folder / "model.json").read_text(encoding="utf-8")).get("samples_trained")
        for number in bits or (model.bits,):
            label = name if number == model.bits else f"{name} at {number} bits"
            systems.append(System(label, model, number, seen))
    return systems


def shipped_models() -> list[str]:
    """Names of the models that come with the project."""
    from models.runtime import WEIGHTS

    return sorted(path.parent.name for path in WEIGHTS.glob("*/model.json"))


def evaluate(
    systems: Sequence[System],
    splits: Sequence[Split] = SPLITS,
    *,
    points: int | None = None,
    seed: int = 1,
    clock: Clock | None = None,
    progress: Progress = lambda done: None,
) -> list[dict[str, Any]]:
    """Judge systems on held-out snapshots: one row per system, split and subset.

    Args:
        systems: What to judge; all get the same pilots.
        splits: Where.
        points: At most so many snapshots of each split.
        seed: Of velocities, clock errors, noise and bootstrap; the same gives the same rows.
        clock: How well clocks agree; default: the UE's is unknown.
        progress: Called with the share of the work that is done, in thousandths.

    Raises:
        ChannelError: Traces are missing or damaged.
        EvaluationError: A model is for other base stations or another radio, or gives no number.
    """
    clock = clock or Clock(kind="ue_unknown")
    rows = []
    for number, split in enumerate(splits):
        snapshots = held_out(split, clock=clock, seed=seed)
        snapshots = snapshots if points is None else snapshots.thinned(points)

        def done(share: float, number: int = number) -> None:
            progress(int(1_000 * (number + share) / len(splits)))

        for system, estimates in zip(systems, estimate(systems, snapshots, done), strict=True):
            about = {"clock": clock.kind, "seed": seed}
            rows += [judge(system, snapshots, subset, estimates, seed) | about for subset in SUBSETS]
    return rows


def estimate(
    systems: Sequence[System], snapshots: HeldOut, done: Callable[[float], object] = lambda share: None
) -> list[Estimates]:
    """What each system makes of the snapshots."""
    models = list({id(system.model): system.model for system in systems}.values())
    noise_variance = snapshots.channel.noise_variance
    found: list[list[tuple[Floats, Floats]]] = [[] for _ in systems]
    for start in range(0, len(snapshots), BATCH):
        pilots = snapshots.pilots(np.arange(start, min(start + BATCH, len(snapshots))))
        for model in models:
            latents, gain_db = encoded(model, pilots, noise_variance)
            present = np.ones(gain_db.shape, dtype=bool)
            for system, parts in zip(systems, found, strict=True):
                if system.model is model:
                    parts.append(model.fuse(system.sent(latents), gain_db, present))
        done(min(start + BATCH, len(snapshots)) / len(snapshots))
    return [
        _estimates(system, parts, snapshots.position_m) for system, parts in zip(systems, found, strict=True)
    ]


def encoded(
    model: Encoding, pilots: NDArray[np.complex64], noise_variance: Floats
) -> tuple[NDArray[np.float32], Floats]:
    """Latents ``[n, num_bs, dims]`` and gains in dB ``[n, num_bs]``, as they would be on the wire."""
    if pilots.shape[1] != len(model.bs_ids) or pilots.shape[2:] != model.csi_shape:
        raise EvaluationError(
            f"a model of {len(model.bs_ids)} base stations and CSI {list(model.csi_shape)} cannot be judged "
            f"by {pilots.shape[1]} and {list(pilots.shape[2:])}"
        )
    parts = [
        model.encode_many(bs, pilots[:, number], float(noise_variance[number]))
        for number, bs in enumerate(model.bs_ids)
    ]
    gain_db = np.stack([gain for _, gain in parts], axis=1)
    return np.stack([latent for latent, _ in parts], axis=1), gain_db.astype(np.float32).astype(np.float64)


def _estimates(system: System, parts: list[tuple[Floats, Floats]], truth_m: Floats) -> Estimates:
    position_m = np.concatenate([position for position, _ in parts])
    covariance_m2 = np.concatenate([covariance for _, covariance in parts])
    if not (np.isfinite(position_m).all() and np.isfinite(covariance_m2).all()):
        raise EvaluationError(f"{system.name}: positions or covariances that are not numbers")
    return Estimates(position_m - truth_m, covariance_m2)


def judge(system: System, snapshots: HeldOut, subset: str, estimates: Estimates, seed: int) -> dict[str, Any]:
    """One row: what a system costs and how well it does on a subset of a split."""
    rows = np.flatnonzero(snapshots.served) if subset == "served" else np.arange(len(snapshots))
    chosen, group = estimates.take(rows), snapshots.group[rows]
    sites = snapshots.sites_in_sight[rows]
    slots, antennas, subcarriers = system.model.csi_shape
    csi_bits = slots * antennas * subcarriers * COMPLEX64_BITS
    return {
        "system": system.name,
        "split": snapshots.split,
        "subset": subset,
        "points": len(rows),
        "payload_bits": system.payload_bits,
        "wire_bits": system.wire_bits,
        "payload_ratio": system.payload_bits / csi_bits,
        "wire_ratio": system.wire_bits / csi_bits,
        "samples_trained": system.samples_trained,
        **figures(chosen),
        "intervals": intervals(chosen, group, stream(seed, "bootstrap", f"{snapshots.split}/{subset}")),
        "by_sites_in_sight": {
            str(number): {"points": int((sites == number).sum())}
            | {
                name: value
                for name, value in figures(chosen.take(np.flatnonzero(sites == number))).items()
                if name in ("mean_m", "e50_m", "e90_m")
            }
            for number in range(len(system.model.bs_ids) + 1)
        },
    }


def figures(estimates: Estimates) -> dict[str, float | None]:
    """Errors, availability and honesty; None where there is no point at all."""
    if not len(estimates.error_m):
        return dict.fromkeys((*_COLUMNS, "anees", "coverage_h95", "coverage_v95"))
    squared = nees(estimates.error_m, estimates.covariance_m2)
    planar = nees_in_the_plane(estimates)
    upright = np.abs(estimates.error_m[:, 2]) / np.sqrt(estimates.covariance_m2[:, 2, 2])
    return {
        **errors(lengths(estimates.error_m)),
        "anees": float(squared.mean()) / 3,
        "coverage_h95": float((planar <= CHI_SQUARED_95_PLANE).mean()),
        "coverage_v95": float((upright <= NORMAL_95).mean()),
    }


def nees_in_the_plane(estimates: Estimates) -> Floats:
    """Squared horizontal error over what is claimed about it, ``[n]``."""
    error_m = estimates.error_m[:, :2]
    whitened = np.linalg.solve(estimates.covariance_m2[:, :2, :2], error_m[:, :, None])[:, :, 0]
    result: Floats = (error_m * whitened).sum(axis=1)
    return result


def lengths(error_m: Floats) -> Floats:
    """3D, horizontal and vertical error, ``[n, 3]``, m."""
    return np.stack(
        [np.linalg.norm(error_m, axis=1), np.linalg.norm(error_m[:, :2], axis=1), np.abs(error_m[:, 2])],
        axis=1,
    )


_COLUMNS = ("mean_m", "e50_m", "e90_m", "h50_m", "h90_m", "v50_m", "v90_m", "availability")


def errors(length_m: Floats) -> dict[str, float]:
    """Mean, quantiles and availability of errors as :func:`lengths` gives them."""
    (e50, h50, v50), (e90, h90, v90) = np.quantile(length_m, (0.5, 0.9), axis=0)
    available = (length_m[:, 1] < AVAILABLE_H_M) & (length_m[:, 2] < AVAILABLE_V_M)
    values = (length_m[:, 0].mean(), e50, e90, h50, h90, v50, v90, available.mean())
    return {name: float(value) for name, value in zip(_COLUMNS, values, strict=True)}


def intervals(
    estimates: Estimates, group: NDArray[np.int64], draws: np.random.Generator
) -> dict[str, list[float]]:
    """Confidence intervals of all figures of error, and of ``anees``: bootstrap over groups of snapshots."""
    names, start, count = np.unique(group, return_index=True, return_counts=True)
    if len(names) < 2:
        return {}
    length_m = lengths(estimates.error_m)
    squared = nees(estimates.error_m, estimates.covariance_m2) / 3
    seen = []
    for _ in range(RESAMPLES):
        drawn = draws.integers(len(names), size=len(names))
        rows = stretches(start[drawn], count[drawn])
        seen.append((*errors(length_m[rows]).values(), float(squared[rows].mean())))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.array(seen), (tail, 1 - tail), axis=0)
    return {
        name: [float(low[column]), float(high[column])] for column, name in enumerate((*_COLUMNS, "anees"))
    }


def stretches(start: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """All of ``start[i] … start[i] + count[i] - 1``, one after the other."""
    end = np.cumsum(count)
    result: NDArray[np.int64] = np.repeat(start - (end - count), count) + np.arange(end[-1])
    return result


def write_json(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows; the file appears whole or not at all. Raises UserError if it cannot be written."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(list(rows), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
