"""The figures of a run, from its tables; memory is one column of one table, whatever the run's length."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sim.clock import NANOSECONDS_PER_SECOND
from sim.run_folder import TableName

Floats = npt.NDArray[np.float64]

_TRUE = ("true_x_m", "true_y_m", "true_z_m")
_COVARIANCE = ("xx", "xy", "xz", "yy", "yz", "zz")
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


class Tables(Protocol):
    """The tables of a run: a `RunFolder`, or in memory."""

    def batches(self, name: TableName, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """A table in pieces."""
        ...


@dataclass(slots=True)
class FrameCounts:
    """What became of frames: `sent = delivered + dropped by cause + in flight`."""

    sent: int = 0
    delivered: int = 0
    in_flight: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def conserved(self) -> bool:
        """Whether every frame is accounted for, once."""
        return self.sent == self.delivered + self.in_flight + sum(self.dropped.values())

    def add(self, fate: str, cause: str | None, count: int = 1) -> None:
        """Count frames of known fate."""
        self.sent += count
        if fate == "delivered":
            self.delivered += count
        elif fate == "in_flight":
            self.in_flight += count
        else:
            assert cause is not None, "a dropped frame has a cause"
            self.dropped[cause] = self.dropped.get(cause, 0) + count

    def as_dict(self) -> dict[str, Any]:
        """As in `summary.json`."""
        return {
            "sent": self.sent,
            "delivered": self.delivered,
            "in_flight": self.in_flight,
            "dropped": dict(sorted(self.dropped.items())),
        }


def summarise(folder: Tables, *, end_ns: int, csi_bits: int) -> dict[str, Any]:
    """All figures that follow from the tables of a run.

    Args:
        folder: the run; its tables may still be in parts.
        end_ns: where the run ended, until when information ages.
        csi_bits: size of one snapshot's CSI at one BS as complex64, to which the ratios refer.
    """
    return summarise_fixes(folder, end_ns=end_ns) | summarise_frames(folder, csi_bits=csi_bits)


def summarise_fixes(folder: Tables, *, end_ns: int) -> dict[str, Any]:
    """Errors of fixes and tracks, latency and age of information, in the keys of `summary.json`."""
    summary: dict[str, Any] = {}
    for name, prefix, covariance in (("fix", "", "cov"), ("track", "track_", "track_cov")):
        estimate = tuple(f"{prefix}{axis}_m" for axis in "xyz")
        error = _rows(folder, (*estimate, *_TRUE), lambda row: row[:, :3] - row[:, 3:])
        summary |= error_figures(f"{name}_error", error)
        summary[f"{name}_anees"] = _anees(folder, estimate, covariance)
    missed = _column(folder, "fixes", "missed")
    summary["fixes"] = int(np.sum(missed == 0))
    summary["fixes_missed"] = int(np.sum(missed == 1))
    latency = _column(folder, "fixes", "latency_s")
    summary |= quantiles("latency", latency[np.isfinite(latency)])
    ages = age_of_information(folder, end_ns)
    summary["age_p50_s"] = ages.quantile(0.50)
    summary["age_p99_s"] = ages.quantile(0.99)
    return summary


def error_figures(prefix: str, error_m: Floats) -> dict[str, float | None]:
    """Mean and quantiles of position errors.

    Args:
        prefix: of the keys.
        error_m: [n, 3] estimate minus truth; rows with NaN (no estimate) do not count.
    """
    error_m = error_m[np.isfinite(error_m).all(axis=1)]
    spatial = np.linalg.norm(error_m, axis=1)
    horizontal = np.linalg.norm(error_m[:, :2], axis=1)
    vertical = np.abs(error_m[:, 2])
    return {
        f"{prefix}_3d_mean_m": _finite(spatial.mean()) if len(spatial) else None,
        f"{prefix}_3d_e50_m": _quantile(spatial, 0.5),
        f"{prefix}_3d_e90_m": _quantile(spatial, 0.9),
        f"{prefix}_h_e50_m": _quantile(horizontal, 0.5),
        f"{prefix}_h_e90_m": _quantile(horizontal, 0.9),
        f"{prefix}_v_e50_m": _quantile(vertical, 0.5),
        f"{prefix}_v_e90_m": _quantile(vertical, 0.9),
    }


def quantiles(prefix: str, seconds: Floats) -> dict[str, float | None]:
    """Median and 99 % quantile of times."""
    return {f"{prefix}_p50_s": _quantile(seconds, 0.5), f"{prefix}_p99_s": _quantile(seconds, 0.99)}


def summarise_frames(folder: Tables, *, csi_bits: int) -> dict[str, Any]:
    """Frames by fate, payload and wire ratio, in all and per BS, in the keys of `summary.json`."""
    total, per_bs = FrameCounts(), defaultdict[str, FrameCounts](FrameCounts)
    published: defaultdict[str, int] = defaultdict(int)
    payload_bits: defaultdict[str, int] = defaultdict(int)
    wire_bits: defaultdict[str, int] = defaultdict(int)
    used: defaultdict[str, int] = defaultdict(int)
    delays: defaultdict[str, list[Floats]] = defaultdict(list)
    for batch in folder.batches("frames"):
        table = pa.Table.from_batches([batch])
        groups = table.group_by(["bs", "fate", "cause"]).aggregate([([], "count_all")])
        for group in groups.to_pylist():
            total.add(group["fate"], group["cause"], group["count_all"])
            per_bs[group["bs"]].add(group["fate"], group["cause"], group["count_all"])
        sums = table.group_by("bs").aggregate(
            [("payload_bits", "sum"), ("wire_bits", "sum"), ("t_publish_ns", "count"), ("used", "sum")]
        )
        for group in sums.to_pylist():
            published[group["bs"]] += group["t_publish_ns_count"]
            payload_bits[group["bs"]] += group["payload_bits_sum"]
            wire_bits[group["bs"]] += group["wire_bits_sum"]
            used[group["bs"]] += group["used_sum"]
        delay_s = _delays_s(batch)
        names = np.asarray(batch.column("bs"))
        for bs in per_bs:
            delay = delay_s[names == bs]
            delays[bs].append(delay[np.isfinite(delay)])

    def ratio(bits: int, frames: int) -> float | None:
        return bits / (frames * csi_bits) if frames and csi_bits else None

    return {
        "payload_ratio": ratio(sum(payload_bits.values()), sum(published.values())),
        "wire_ratio": ratio(sum(wire_bits.values()), sum(published.values())),
        "payload_bits": sum(payload_bits.values()),
        "wire_bits": sum(wire_bits.values()),
        "frames": total.as_dict()
        | {
            "per_bs": {
                bs: per_bs[bs].as_dict()
                | {
                    "used": used[bs],
                    "payload_ratio": ratio(payload_bits[bs], published[bs]),
                    "wire_ratio": ratio(wire_bits[bs], published[bs]),
                }
                | quantiles("delay", np.concatenate(delays[bs]))
                for bs in sorted(per_bs)
            }
        },
    }


@dataclass(frozen=True, slots=True)
class Ages:
    """The age of information over a run: stretches in which it grows by one second per second.

    Attributes:
        start_s: [n] age at the beginning of each stretch: the freshest fix has just come.
        stop_s: [n] age at its end, just before a fresher one.
    """

    start_s: Floats
    stop_s: Floats

    def quantile(self, probability: float) -> float | None:
        """The age that is not exceeded for this share of the time; None without any fix."""
        length = self.stop_s - self.start_s
        if not len(length) or length.sum() <= 0:
            return None
        # The time spent below an age is piecewise linear: +1 from each start, -1 from each stop.
        age = np.concatenate([self.start_s, self.stop_s])
        slope = np.concatenate([np.ones(len(length)), -np.ones(len(length))])
        order = np.argsort(age, kind="stable")
        age, slope = age[order], np.cumsum(slope[order])
        time_below = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(age))])
        return float(np.interp(probability * length.sum(), time_below, age))


def age_of_information(folder: Tables, end_ns: int) -> Ages:
    """Age of the freshest fix of each UE, from its first fix to the end of the run."""
    freshest: dict[str, tuple[int, int]] = {}  # t_fix and t_sample of each UE's freshest fix so far
    starts: list[Floats] = []
    stops: list[Floats] = []
    for batch in folder.batches("fixes", ["ue", "t_sample_ns", "t_fix_ns", "missed"]):
        seen = ~np.asarray(batch.column("missed"))
        names = batch.column("ue").dictionary_encode()
        ues = np.asarray(names.indices)[seen]
        samples = np.asarray(batch.column("t_sample_ns"))[seen]
        fixes = np.minimum(np.asarray(batch.column("t_fix_ns"))[seen], end_ns)  # later ones are too late
        order = np.lexsort((samples, fixes, ues))
        ues, samples, fixes = ues[order], samples[order], fixes[order]
        bounds = np.flatnonzero(np.diff(ues, prepend=-1, append=-1)).tolist()
        for first, end in pairwise(bounds):
            ue = names.dictionary[int(ues[first])].as_py()
            sample, fix = samples[first:end], fixes[first:end]
            if ue in freshest:
                fix = np.concatenate([[freshest[ue][0]], fix])
                sample = np.concatenate([[freshest[ue][1]], sample])
            sample = np.maximum.accumulate(sample)
            starts.append((fix[:-1] - sample[:-1]) / NANOSECONDS_PER_SECOND)
            stops.append((fix[1:] - sample[:-1]) / NANOSECONDS_PER_SECOND)
            freshest[ue] = int(fix[-1]), int(sample[-1])
    for fix_ns, sample_ns in freshest.values():
        if end_ns > fix_ns:
            starts.append(np.array([(fix_ns - sample_ns) / NANOSECONDS_PER_SECOND]))
            stops.append(np.array([(end_ns - sample_ns) / NANOSECONDS_PER_SECOND]))
    empty = np.zeros(0)
    return Ages(np.concatenate([empty, *starts]), np.concatenate([empty, *stops]))


def nees(error_m: Floats, covariance_m2: Floats) -> Floats:
    """Normalised estimation error squared: about 3 on average when a 3D covariance is honest.

    Args:
        error_m: [n, 3].
        covariance_m2: [n, 3, 3], positive definite.
    """
    whitened = np.linalg.solve(covariance_m2, error_m[:, :, None])[:, :, 0]
    return np.asarray((error_m * whitened).sum(axis=1), dtype=np.float64)


def _anees(folder: Tables, estimate: tuple[str, ...], covariance: str) -> float | None:
    """Average NEES over the three dimensions: 1 when the covariance is honest."""
    columns = [*estimate, *_TRUE, *(f"{covariance}_{pair}" for pair in _COVARIANCE)]
    parts = [np.zeros(0)]
    for batch in folder.batches("fixes", columns):
        rows = _matrix(batch, columns)
        rows = rows[np.isfinite(rows).all(axis=1)]
        matrix = np.empty((len(rows), 3, 3))
        for column, (i, j) in enumerate(_PAIRS, start=6):
            matrix[:, i, j] = matrix[:, j, i] = rows[:, column]
        if len(rows):
            parts.append(nees(rows[:, :3] - rows[:, 3:6], matrix))
    squared = np.concatenate(parts)  # summed in one go: the result does not depend on how a table is cut
    return float(squared.sum()) / (3 * len(squared)) if len(squared) else None


def _rows(folder: Tables, columns: tuple[str, ...], function: Any) -> Floats:
    parts = [function(_matrix(batch, columns)) for batch in folder.batches("fixes", list(columns))]
    return np.concatenate([np.zeros((0, 3)), *parts])


def _matrix(batch: pa.RecordBatch, columns: Iterable[str]) -> Floats:
    """Columns side by side, null as NaN: [rows, columns]."""
    return np.stack(
        [batch.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in columns], axis=1
    )


def _column(folder: Tables, table: Any, name: str) -> Floats:
    parts = [_matrix(batch, [name])[:, 0] for batch in folder.batches(table, [name])]
    return np.concatenate([np.zeros(0), *parts])


def _delays_s(batch: pa.RecordBatch) -> Floats:
    arrival, sample = batch.column("t_arrival_ns"), batch.column("t_sample_ns")
    known = np.asarray(arrival.is_valid())
    delay = np.full(len(known), np.nan)
    delay[known] = (
        np.asarray(arrival.fill_null(0))[known] - np.asarray(sample)[known]
    ) / NANOSECONDS_PER_SECOND
    return delay


def _quantile(values: Floats, probability: float) -> float | None:
    return _finite(np.quantile(values, probability)) if len(values) else None


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
