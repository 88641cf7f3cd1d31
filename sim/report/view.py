"""What a report shows of a run: read from its folder in one pass over each table, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sim.clock import ns_from_s
from sim.metrics import Ages, age_of_information
from sim.report.histogram import LogHistogram
from sim.run_folder import RunFolder

Floats = NDArray[np.float64]

MAX_POINTS = 24_000
MAX_POINTS_PER_UE = 1_500
MIN_POINTS_PER_UE = 300
MAX_UES = 24
LINK_BINS = 960
NS_PER_S = 1e9
STANDARD_NORMAL_90 = 1.2815515655446004  # one-sided 90 %
STANDARD_NORMAL_90_TWO_SIDED = 1.6448536269514722

# The rows of UeView.points.
T_S = 0
TRUE_M = slice(1, 4)
FIX_M = slice(4, 7)
TRACK_M = slice(7, 10)
FIX_ERROR_M, TRACK_ERROR_M, RADIUS_90_M, HEIGHT_90_M, NUM_BS = range(10, 15)
PLANE_M2 = slice(15, 18)
"""Horizontal covariance of the track: xx, xy, yy."""
NUM_ROWS = 18
ERRORS_M = [FIX_ERROR_M, TRACK_ERROR_M]

_COVARIANCE = ("xx", "xy", "xz", "yy", "yz", "zz")
_FIX_COLUMNS = [
    "ue",
    "t_sample_ns",
    *(f"{prefix}{axis}_m" for prefix in ("true_", "", "track_") for axis in "xyz"),
    "error_3d_m",
    "track_error_3d_m",
    *(f"track_cov_{pair}" for pair in _COVARIANCE),
    "num_bs",
    "latency_s",
    "missed",
]
_FRAME_COLUMNS = ["bs", "t_sample_ns", "t_publish_ns", "t_arrival_ns", "fate", "cause", "wire_bits"]


@dataclass(slots=True)
class UeView:
    """One UE over time: of every time bin, the snapshot with the largest error.

    Attributes:
        ue: its id.
        points: [18, num_bins]; the rows are named by the constants of this module; not a number where
            nothing is known.
        missed: snapshots without a fix, [num_bins].
        snapshots: how many snapshots in all.
    """

    ue: str
    points: Floats
    missed: NDArray[np.int64]
    snapshots: int = 0

    def compact(self) -> "UeView":
        """The same without empty bins."""
        used = np.isfinite(self.points[T_S])
        return UeView(self.ue, self.points[:, used], self.missed[used], self.snapshots)


@dataclass(slots=True)
class LinkView:
    """What one BS sent and what became of it.

    Attributes:
        bs: the BS.
        delivered_bits: bits on the wire that arrived, by time of arrival, [LINK_BINS].
        lost_bits: bits on the wire that never arrived, by time of publication, [LINK_BINS].
        dropped: frames lost, by cause, each [LINK_BINS] by time of publication.
        counts: frames by fate, and dropped ones by cause.
    """

    bs: str
    delivered_bits: Floats = field(default_factory=lambda: np.zeros(LINK_BINS))
    lost_bits: Floats = field(default_factory=lambda: np.zeros(LINK_BINS))
    dropped: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    delivered: int = 0
    in_flight: int = 0

    @property
    def dropped_by_cause(self) -> dict[str, int]:
        """How many frames each cause took."""
        return {cause: int(bins.sum()) for cause, bins in sorted(self.dropped.items())}

    @property
    def sent(self) -> int:
        """Delivered, dropped and in flight."""
        return self.delivered + self.in_flight + sum(self.dropped_by_cause.values())


@dataclass(slots=True)
class RunView:
    """Everything the figures are made of.

    Attributes:
        summary: `summary.json`.
        versions: `versions.json`.
        duration_s: length of the time axis.
        num_ues: UEs in the run; `ues` has at most `MAX_UES` of them, those with the largest errors.
        bin_s: length of a time bin of a UE.
        fix_error, track_error: 3D errors in m; `_h` and `_v` horizontal and vertical ones.
        latency: from snapshot to fix, in s.
        age: increasing ages of information in s, and the share of time that each is not exceeded.
        inside_90: share of track errors inside the 90 % radius of the track's own covariance.
    """

    summary: dict[str, Any]
    versions: dict[str, Any]
    duration_s: float
    num_ues: int
    bin_s: float
    ues: list[UeView]
    links: list[LinkView]
    fix_error: LogHistogram
    track_error: LogHistogram
    track_error_h: LogHistogram
    track_error_v: LogHistogram
    latency: LogHistogram
    age: tuple[Floats, Floats]
    inside_90: float


def view_run(folder: RunFolder, duration_s: float | None = None) -> RunView:
    """Read what the report needs of a run, finished or not.

    Args:
        folder: the run.
        duration_s: length of the time axis; found in the tables if None.

    Raises:
        RunFolderError: a file of the run is missing or damaged.
    """
    last_ns, ues = _extent(folder)
    if duration_s is None:
        duration_s = max(last_ns / NS_PER_S, 1e-3)
    errors = [LogHistogram(1e-3, 1e4) for _ in range(4)]
    latency = LogHistogram(1e-6, 1e4)
    points_per_ue = int(np.clip(MAX_POINTS // max(len(ues), 1), MIN_POINTS_PER_UE, MAX_POINTS_PER_UE))
    shown = {
        ue: UeView(ue, np.full((NUM_ROWS, points_per_ue), np.nan), np.zeros(points_per_ue, dtype=np.int64))
        for ue in _worst(ues)
    }
    inside = counted = 0
    for batch in folder.batches("fixes", _FIX_COLUMNS):
        points, missed = _points(batch)
        offset = points[TRACK_M] - points[TRUE_M]
        for histogram, values in zip(
            errors,
            (points[FIX_ERROR_M], points[TRACK_ERROR_M], np.hypot(offset[0], offset[1]), np.abs(offset[2])),
            strict=True,
        ):
            histogram.add(values)
        latency.add(_column(batch, "latency_s"))
        both = np.isfinite(points[TRACK_ERROR_M]) & np.isfinite(points[RADIUS_90_M])
        counted += int(both.sum())
        inside += int((points[TRACK_ERROR_M] <= points[RADIUS_90_M])[both].sum())
        for ue, of_ue in _groups(batch, "ue"):
            if ue in shown:
                _keep_worst(shown[ue], points[:, of_ue], missed[of_ue], duration_s)
    return RunView(
        summary=folder.summary(),
        versions=folder.versions(),
        duration_s=duration_s,
        num_ues=len(ues),
        bin_s=duration_s / points_per_ue,
        ues=[view.compact() for view in shown.values()],
        links=_links(folder, duration_s),
        fix_error=errors[0],
        track_error=errors[1],
        track_error_h=errors[2],
        track_error_v=errors[3],
        latency=latency,
        age=age_distribution(age_of_information(folder, ns_from_s(duration_s))),
        inside_90=inside / counted if counted else float("nan"),
    )


def radius_90(covariance: Floats) -> Floats:
    """Radius around the mean that a Gaussian error in space stays within nine times in ten.

    The squared error is a weighted sum of chi-squares; a scaled chi-square with its mean and variance
    (Patnaik 1949) and the cube-root normal approximation (Wilson and Hilferty 1931) give its quantile.

    Args:
        covariance: the elements xx, xy, xz, yy, yz, zz in m², [6, n].

    Returns:
        Radii in m, [n].
    """
    xx, xy, xz, yy, yz, zz = covariance
    trace = xx + yy + zz
    squares = xx**2 + yy**2 + zz**2 + 2.0 * (xy**2 + xz**2 + yz**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = trace**2 / squares
        spread = 2.0 / (9.0 * freedom)
        quantile = freedom * (1.0 - spread + STANDARD_NORMAL_90 * np.sqrt(spread)) ** 3
        radius: Floats = np.sqrt(squares / trace * quantile)
    return radius


def age_distribution(ages: Ages) -> tuple[Floats, Floats]:
    """How much of the time information is at most how old.

    Returns:
        Increasing ages in s, and for each the share of time (0 to 1); both empty if no time passed.
    """
    total_s = float((ages.stop_s - ages.start_s).sum())
    if total_s <= 0.0:
        return np.zeros(0), np.zeros(0)
    age_s = np.geomspace(max(float(ages.start_s.min()), 1e-6), float(ages.stop_s.max()), 1000)

    def time_since(moments_s: Floats) -> Floats:
        ordered = np.sort(moments_s)
        before = np.searchsorted(ordered, age_s)
        time_s: Floats = before * age_s - np.concatenate(([0.0], np.cumsum(ordered)))[before]
        return time_s

    return age_s, (time_since(ages.start_s) - time_since(ages.stop_s)) / total_s


def _extent(folder: RunFolder) -> tuple[int, dict[str, float]]:
    """The last time in the tables and the largest error of every UE."""
    last_ns = 0
    worst: dict[str, float] = {}
    for batch in folder.batches("fixes", ["ue", "t_sample_ns", "error_3d_m", "track_error_3d_m"]):
        if batch.num_rows == 0:
            continue
        last_ns = max(last_ns, int(_column(batch, "t_sample_ns").max()))
        error = np.fmax(_column(batch, "track_error_3d_m"), _column(batch, "error_3d_m"))
        for ue, of_ue in _groups(batch, "ue"):
            largest = float(np.nan_to_num(error[of_ue], nan=0.0).max())
            worst[ue] = max(largest, worst.get(ue, 0.0))
    return last_ns, worst


def _worst(largest_error: dict[str, float]) -> list[str]:
    by_error = sorted(largest_error, key=lambda ue: -largest_error[ue])[:MAX_UES]
    return sorted(by_error, key=lambda ue: (len(ue), ue))


def _column(batch: pa.RecordBatch, name: str) -> Floats:
    values: Floats = batch.column(name).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _groups(batch: pa.RecordBatch, name: str) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each text of a column with the rows that have it; rows without any are in no group."""
    coded = batch.column(name).dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    for code, value in enumerate(coded.dictionary.to_pylist()):
        yield value, codes == code


def _points(batch: pa.RecordBatch) -> tuple[Floats, NDArray[np.bool_]]:
    points = np.full((NUM_ROWS, batch.num_rows), np.nan)
    points[T_S] = _column(batch, "t_sample_ns") / NS_PER_S
    for rows, prefix in ((TRUE_M, "true_"), (FIX_M, ""), (TRACK_M, "track_")):
        points[rows] = [_column(batch, f"{prefix}{axis}_m") for axis in "xyz"]
    points[FIX_ERROR_M] = _column(batch, "error_3d_m")
    points[TRACK_ERROR_M] = _column(batch, "track_error_3d_m")
    covariance = np.stack([_column(batch, f"track_cov_{pair}") for pair in _COVARIANCE])
    points[RADIUS_90_M] = radius_90(covariance)
    points[HEIGHT_90_M] = STANDARD_NORMAL_90_TWO_SIDED * np.sqrt(covariance[5])
    points[NUM_BS] = _column(batch, "num_bs")
    points[PLANE_M2] = covariance[[0, 1, 3]]
    missed: NDArray[np.bool_] = batch.column("missed").to_numpy(zero_copy_only=False).astype(np.bool_)
    return points, missed


def _keep_worst(view: UeView, points: Floats, missed: NDArray[np.bool_], duration_s: float) -> None:
    """Take snapshots into the view; in each time bin the one with the largest error stays.

    Of both errors the largest in the bin is kept, also when they are of different snapshots.
    """
    num_bins = view.points.shape[1]
    bins = np.clip((points[T_S] * (num_bins / duration_s)).astype(np.int64), 0, num_bins - 1)
    view.missed += np.bincount(bins[missed], minlength=num_bins)
    view.snapshots += points.shape[1]
    order = np.lexsort((_severity(points), bins))
    last_of_bin = order[np.flatnonzero(np.diff(bins[order], append=-1))]
    chosen = bins[last_of_bin]
    worse = _severity(points[:, last_of_bin]) > _severity(view.points[:, chosen])
    largest = view.points[ERRORS_M].copy()
    view.points[:, chosen[worse]] = points[:, last_of_bin[worse]]
    for row, errors, before in zip(ERRORS_M, points[ERRORS_M], largest, strict=True):
        np.fmax.at(before, bins, errors)
        view.points[row] = before


def _severity(points: Floats) -> Floats:
    """How much a snapshot deserves to be seen; less than 0 where there is none."""
    error = np.fmax(points[TRACK_ERROR_M], points[FIX_ERROR_M])
    severity: Floats = np.where(np.isfinite(points[T_S]), np.nan_to_num(error, nan=0.0), -1.0)
    return severity


def _links(folder: RunFolder, duration_s: float) -> list[LinkView]:
    links: dict[str, LinkView] = {}
    for batch in folder.batches("frames", _FRAME_COLUMNS):
        published = _column(batch, "t_publish_ns")
        published = np.where(np.isfinite(published), published, _column(batch, "t_sample_ns"))
        publish_bin = _link_bins(published, duration_s)
        arrival_bin = _link_bins(_column(batch, "t_arrival_ns"), duration_s)
        wire_bits = _column(batch, "wire_bits")
        fates = dict(_groups(batch, "fate"))
        nowhere = np.zeros(batch.num_rows, dtype=np.bool_)
        for bs, own in _groups(batch, "bs"):
            link = links.setdefault(bs, LinkView(bs))
            arrived = own & (arrival_bin >= 0)
            link.delivered_bits += np.bincount(arrival_bin[arrived], wire_bits[arrived], minlength=LINK_BINS)
            lost = own & fates.get("dropped", nowhere) & (arrival_bin < 0)
            link.lost_bits += np.bincount(publish_bin[lost], wire_bits[lost], minlength=LINK_BINS)
            link.delivered += int((own & fates.get("delivered", nowhere)).sum())
            link.in_flight += int((own & fates.get("in_flight", nowhere)).sum())
            for cause, of_cause in _groups(batch, "cause"):
                when = publish_bin[own & of_cause & fates.get("dropped", nowhere)]
                if len(when):
                    before = link.dropped.get(cause, np.zeros(LINK_BINS, dtype=np.int64))
                    link.dropped[cause] = before + np.bincount(when, minlength=LINK_BINS)
    return sorted(links.values(), key=lambda link: (len(link.bs), link.bs))


def _link_bins(t_ns: Floats, duration_s: float) -> NDArray[np.int64]:
    """Bin of each time; the last bin takes what comes after the end, -1 stands for no time."""
    share = np.nan_to_num(t_ns / NS_PER_S / duration_s, nan=-1.0)
    bins: NDArray[np.int64] = np.where(share < 0, -1, np.clip((share * LINK_BINS), 0, LINK_BINS - 1)).astype(
        np.int64
    )
    return bins
