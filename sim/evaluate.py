"""How well models find UEs where they were never trained: `python -m sim evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.streams import stream
from sim.channel.held_out import SPLITS, HeldOut, Split, held_out
from sim.deployment import MUNICH6
from sim.engine import Failure, OpenEngine, SerialEngine, Task
from sim.errors import UserError
from sim.metrics import nees
from sim.missing import Missing
from sim.scenario.scenario import Clock
from sim.systems import EvaluationError, System

BATCH = 250
"""Snapshots that are synthesised and encoded together."""

RESAMPLES = 1_000
CONFIDENCE = 0.95
FEWEST_GROUPS = 6
"""Even the span of n groups misses the middle of where they come from with 2^(1-n): above 5 % for fewer."""
SUBSETS = ("served", "all")

AVAILABLE_H_M = 1.0
AVAILABLE_V_M = 3.0
"""A position is available if it is this good, horizontally and vertically (3GPP Rel-17, commercial)."""

CHI_SQUARED_95_PLANE = 5.991
NORMAL_95 = 1.960
"""Within these a Gaussian stays with 95 %: squared radius in a plane, and standard deviations on a line."""

COMPLEX64_BITS = 64

NONE = Missing()

Floats = NDArray[np.float64]
Part = tuple[Floats, "Floats | None"]
"""Positions and covariances of a batch."""
Progress = Callable[[int], object]
Seen = Callable[[System, HeldOut, Missing, "Estimates"], object]


@dataclass(frozen=True, eq=False)
class Estimates:
    """What a system made of the snapshots of a split.

    Attributes:
        error_m: Estimate minus truth, ``[n, 3]``.
        covariance_m2: What it claims about that, ``[n, 3, 3]``; None if it claims nothing.
    """

    error_m: Floats
    covariance_m2: Floats | None

    def take(self, rows: NDArray[Any]) -> Estimates:
        """Some of them."""
        return Estimates(self.error_m[rows], None if self.covariance_m2 is None else self.covariance_m2[rows])


def evaluate(
    systems: Sequence[System],
    splits: Sequence[Split] = SPLITS,
    *,
    missing: Sequence[Missing] = (NONE,),
    points: int | None = None,
    seed: int = 1,
    clock: Clock | None = None,
    progress: Progress = lambda done: None,
    seen: Seen = lambda system, snapshots, missing, estimates: None,
    open_engine: OpenEngine | None = None,
) -> list[dict[str, Any]]:
    """Judge systems on held-out snapshots: one row per system, split, case of missing ones, and subset.

    Args:
        systems: What to judge; all get the same pilots.
        splits: Where.
        missing: Base stations whose messages do not arrive: one case after the other.
        points: At most so many snapshots of each split.
        seed: Of velocities, clock errors, noise, missing base stations and bootstrap; the same gives the
            same rows.
        clock: How well clocks agree; default: the UE's is unknown.
        progress: Called with the share of the work that is done, in thousandths.
        seen: Called with what rows are made of, for pictures.
        open_engine: Makes what estimates batches side by side, perhaps elsewhere; None: this process does.

    Raises:
        ChannelError: Traces are missing or damaged.
        EvaluationError: A system is for other base stations or another radio, or gives no number.
    """
    clock = clock or Clock(kind="ue_unknown")
    rows = []
    for number, split in enumerate(splits):
        snapshots = held_out(split, clock=clock, seed=seed)
        snapshots = snapshots if points is None else snapshots.thinned(points)

        def done(share: float, number: int = number) -> None:
            progress(int(1_000 * (number + share) / len(splits)))

        about = {"clock": clock.kind, "seed": seed}
        found = estimate(systems, snapshots, missing, seed, done, open_engine)
        for system, cases in zip(systems, found, strict=True):
            for case, estimates in zip(missing, cases, strict=True):
                seen(system, snapshots, case, estimates)
                rows += [
                    judge(system, snapshots, subset, case, estimates, seed) | about for subset in SUBSETS
                ]
    return rows


def estimate(
    systems: Sequence[System],
    snapshots: HeldOut,
    missing: Sequence[Missing] = (NONE,),
    seed: int = 1,
    done: Callable[[float], object] = lambda share: None,
    open_engine: OpenEngine | None = None,
) -> list[list[Estimates]]:
    """What each system makes of the snapshots, for each case of missing base stations.

    Where a case has several choices, the estimates of all snapshots for one choice follow those for another.
    """
    present = [case.present(MUNICH6.bs_ids, len(snapshots), seed, snapshots.split) for case in missing]
    make_worker = partial(Estimator, systems, snapshots, present)
    batches = [
        Task("estimate", (start, min(start + BATCH, len(snapshots))))
        for start in range(0, len(snapshots), BATCH)
    ]
    results: dict[Task, list[Part]] = {}
    with closing(SerialEngine(make_worker) if open_engine is None else open_engine(make_worker)) as engine:
        for task, result in engine.map(batches):
            if isinstance(result, Failure):
                raise EvaluationError(result.reason)
            results[task] = result
            done(len(results) / len(batches))
    # Of each system, case and choice in turn: all batches in order.
    parts = iter(zip(*[results[task] for task in batches], strict=True))
    everything = [[[list(next(parts)) for _ in own] for own in present] for _ in systems]
    return [
        [_estimates(system, choices, snapshots) for choices in cases]
        for system, cases in zip(systems, everything, strict=True)
    ]


class Estimator:
    """Estimates batches of snapshots with every system, in every case of missing base stations.

    Args:
        systems: The systems.
        snapshots: All of a split.
        present: Of each case, whether each BS is heard, ``[choices, snapshots, num_bs]``.
    """

    def __init__(
        self, systems: Sequence[System], snapshots: HeldOut, present: Sequence[NDArray[np.bool_]]
    ) -> None:
        self._systems, self._snapshots, self._present = systems, snapshots, present

    def estimate(self, span: tuple[int, int]) -> list[Part]:
        """Of snapshots from one number up to another: of each system, case and choice in turn."""
        rows = np.arange(*span)
        pilots = self._snapshots.pilots(rows)
        noise_variance = self._snapshots.channel.noise_variance
        parts = []
        for system in self._systems:
            check_fit(system, pilots)
            parts += [
                system.estimate(pilots, noise_variance, choice[rows])
                for case in self._present
                for choice in case
            ]
        return parts


def check_fit(system: System, pilots: NDArray[np.complex64]) -> None:
    """Raise EvaluationError if a system takes no such pilots."""
    if (pilots.shape[1], *pilots.shape[2:]) != (system.num_bs, *system.csi_shape):
        raise EvaluationError(
            f"a model of {system.num_bs} base stations and CSI {list(system.csi_shape)} cannot be judged "
            f"by {pilots.shape[1]} and {list(pilots.shape[2:])}"
        )


def _estimates(
    system: System, choices: list[list[tuple[Floats, Floats | None]]], snapshots: HeldOut
) -> Estimates:
    errors_m, covariances_m2 = [], []
    for parts in choices:
        errors_m.append(np.concatenate([position_m for position_m, _ in parts]) - snapshots.position_m)
        covariances_m2 += [covariance_m2 for _, covariance_m2 in parts if covariance_m2 is not None]
    error_m = np.concatenate(errors_m)
    covariance_m2 = np.concatenate(covariances_m2) if covariances_m2 else None
    if not (np.isfinite(error_m).all() and (covariance_m2 is None or np.isfinite(covariance_m2).all())):
        raise EvaluationError(f"{system.name}: positions or covariances that are not numbers")
    return Estimates(error_m, covariance_m2)


def judge(
    system: System, snapshots: HeldOut, subset: str, missing: Missing, estimates: Estimates, seed: int
) -> dict[str, Any]:
    """One row: what a system costs and how well it does on a subset of a split."""
    served = np.flatnonzero(snapshots.served) if subset == "served" else np.arange(len(snapshots))
    names = missing.choices(MUNICH6.bs_ids)
    by_choice = served + len(snapshots) * np.arange(len(names))[:, None]
    chosen = estimates.take(by_choice.T.ravel())
    sites = snapshots.sites_in_sight[served].repeat(len(names))
    group = snapshots.group[served].repeat(len(names))
    csi_bits = int(np.prod(system.csi_shape)) * COMPLEX64_BITS
    return {
        "system": system.name,
        "split": snapshots.split,
        "subset": subset,
        "missing": str(missing),
        "points": len(served),
        "payload_bits": system.payload_bits,
        "wire_bits": system.wire_bits,
        "payload_ratio": system.payload_bits / csi_bits,
        "wire_ratio": system.wire_bits / csi_bits,
        "samples_trained": system.samples_trained,
        **figures(chosen),
        "intervals": intervals(chosen, group, stream(seed, "bootstrap", f"{snapshots.split}/{subset}")),
        "by_sites_in_sight": {
            str(number): {"points": int((sites == number).sum()) // len(names)}
            | {
                name: value
                for name, value in figures(chosen.take(np.flatnonzero(sites == number))).items()
                if name in ("mean_m", "e50_m", "e90_m")
            }
            for number in range(system.num_bs + 1)
        },
        "by_missing": {name: figures(estimates.take(own)) for name, own in zip(names, by_choice, strict=True)}
        if len(names) > 1
        else {},
    }


def figures(estimates: Estimates) -> dict[str, float | None]:
    """Errors, availability and honesty; None where there is no point at all, or no claim."""
    if not len(estimates.error_m):
        return dict.fromkeys((*_COLUMNS, *_HONESTY))
    return {**errors(lengths(estimates.error_m)), **honesty(estimates)}


def honesty(estimates: Estimates) -> dict[str, float | None]:
    """What the claims are worth; None where there are none."""
    error_m, covariance_m2 = estimates.error_m, estimates.covariance_m2
    if covariance_m2 is None:
        return dict.fromkeys(_HONESTY)
    planar = nees(error_m[:, :2], covariance_m2[:, :2, :2])
    upright = np.abs(error_m[:, 2]) / np.sqrt(covariance_m2[:, 2, 2])
    return {
        "anees": float(nees(error_m, covariance_m2).mean()) / 3,
        "coverage_h95": float((planar <= CHI_SQUARED_95_PLANE).mean()),
        "coverage_v95": float((upright <= NORMAL_95).mean()),
    }


def lengths(error_m: Floats) -> Floats:
    """3D, horizontal and vertical error, ``[n, 3]``, m."""
    return np.stack(
        [np.linalg.norm(error_m, axis=1), np.linalg.norm(error_m[:, :2], axis=1), np.abs(error_m[:, 2])],
        axis=1,
    )


_COLUMNS = ("mean_m", "e50_m", "e90_m", "h50_m", "h90_m", "v50_m", "v90_m", "availability")
_HONESTY = ("anees", "coverage_h95", "coverage_v95")


def errors(length_m: Floats) -> dict[str, float]:
    """Mean, quantiles and availability of errors as :func:`lengths` gives them."""
    (e50, h50, v50), (e90, h90, v90) = np.quantile(length_m, (0.5, 0.9), axis=0)
    available = (length_m[:, 1] < AVAILABLE_H_M) & (length_m[:, 2] < AVAILABLE_V_M)
    values = (length_m[:, 0].mean(), e50, e90, h50, h90, v50, v90, available.mean())
    return {name: float(value) for name, value in zip(_COLUMNS, values, strict=True)}


def intervals(
    estimates: Estimates, group: NDArray[np.int64], draws: np.random.Generator
) -> dict[str, list[float]]:
    """Confidence intervals of all figures of error, and of ``anees``: bootstrap over groups of snapshots.

    None where there are fewer than :data:`FEWEST_GROUPS` groups.
    """
    order = np.argsort(group, kind="stable")
    names, start, count = np.unique(group[order], return_index=True, return_counts=True)
    if len(names) < FEWEST_GROUPS:
        return {}
    estimates = estimates.take(order)
    length_m = lengths(estimates.error_m)
    claimed = estimates.covariance_m2
    squared = None if claimed is None else nees(estimates.error_m, claimed) / 3
    seen = []
    for _ in range(RESAMPLES):
        drawn = draws.integers(len(names), size=len(names))
        rows = stretches(start[drawn], count[drawn])
        anees = {} if squared is None else {"anees": float(squared[rows].mean())}
        seen.append(errors(length_m[rows]) | anees)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile([list(each.values()) for each in seen], (tail, 1 - tail), axis=0)
    return {name: [float(low[column]), float(high[column])] for column, name in enumerate(seen[0])}


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
