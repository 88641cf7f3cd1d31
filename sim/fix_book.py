"""Snapshots and what the CU makes of them: one row each, a fix or missed, beside the truth."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nodes import Fix, Track
from sim.clock import NANOSECONDS_PER_SECOND

Floats = npt.NDArray[np.float64]
SnapshotKey = tuple[str, int]
"""UE and sample time."""

_NO_POSITION = (None,) * 3
_NO_COVARIANCE = (None,) * 6


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A UE at a sample time, as it really was."""

    ue: str
    seq: int
    t_sample_ns: int
    position_m: Floats
    """[3], in world."""


class FixBook:
    """Holds open snapshots until a fix comes or their deadline passes; memory is bounded by those.

    Args:
        write: takes a finished row of `fixes.parquet`.
    """

    def __init__(self, write: Callable[[tuple[Any, ...]], None]) -> None:
        self._write = write
        self._open: dict[SnapshotKey, Snapshot] = {}
        self._freshest_ns: dict[str, int] = {}
        self.fixes = 0
        self.missed = 0

    @property
    def still_open(self) -> int:
        """Snapshots that have neither a fix nor passed their deadline."""
        return len(self._open)

    def open(self, snapshot: Snapshot) -> None:
        """A UE has been sampled."""
        self._open[snapshot.ue, snapshot.t_sample_ns] = snapshot

    def snapshot(self, ue: str, t_sample_ns: int) -> Snapshot | None:
        """An open snapshot, or None if it has been closed."""
        return self._open.get((ue, t_sample_ns))

    def fix(self, fix: Fix) -> Snapshot | None:
        """A fix has come; gives its snapshot, or None if that is closed and the fix revises it."""
        snapshot = self._open.pop((fix.ue, fix.t_sample_ns), None)
        if snapshot is None:
            return None
        self.fixes += 1
        self._write(self._row(snapshot, fix.t_fix_ns, fix.track, fix))
        self._freshest_ns[fix.ue] = max(fix.t_sample_ns, self._freshest_ns.get(fix.ue, fix.t_sample_ns))
        return snapshot

    def miss(self, ue: str, t_sample_ns: int, t_ns: int, track: Track | None) -> Snapshot | None:
        """A deadline has passed; gives the snapshot if there was no fix until then."""
        snapshot = self._open.pop((ue, t_sample_ns), None)
        if snapshot is None:
            return None
        self.missed += 1
        self._write(self._row(snapshot, t_ns, track, None))
        return snapshot

    def _row(self, snapshot: Snapshot, t_ns: int, track: Track | None, fix: Fix | None) -> tuple[Any, ...]:
        """The values of a row, in the order of the columns."""
        true = snapshot.position_m
        freshest_ns = self._freshest_ns.get(snapshot.ue)
        return (
            snapshot.ue,
            snapshot.seq,
            snapshot.t_sample_ns,
            t_ns,
            *(_NO_POSITION if fix is None else fix.position_m.tolist()),
            *(_NO_COVARIANCE if fix is None else upper(fix.covariance_m2)),
            *(_NO_POSITION if track is None else track.position_m.tolist()),
            *(_NO_POSITION if track is None else track.velocity_mps.tolist()),
            *(_NO_COVARIANCE if track is None else upper(track.covariance)),
            *true.tolist(),
            None if fix is None else distance(fix.position_m, true),
            None if track is None else distance(track.position_m, true),
            "" if fix is None else ",".join(fix.bs_used),
            0 if fix is None else len(fix.bs_used),
            None if fix is None else (t_ns - snapshot.t_sample_ns) / NANOSECONDS_PER_SECOND,
            None if freshest_ns is None else (t_ns - freshest_ns) / NANOSECONDS_PER_SECOND,
            fix is None,
        )


def upper(covariance: Floats) -> list[float]:
    """The elements xx, xy, xz, yy, yz, zz of a covariance whose first three dimensions are a position."""
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = covariance[:3, :3].tolist()
    return [xx, xy, xz, yy, yz, zz]


def distance(one_m: Floats, other_m: Floats) -> float:
    """Distance of two points."""
    apart_m = one_m - other_m
    return math.sqrt(apart_m.dot(apart_m))
