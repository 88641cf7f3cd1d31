"""Fixes, misses, tracks and verdicts as plain values, exact to the last bit, to travel between processes."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from nodes.central_unit import CuCounts, Fix, Miss
from nodes.collector import Verdict
from nodes.tracker import Outcome, Track

Float64 = npt.NDArray[np.float64]


def plain_from_track(track: Track | None) -> Any:
    """A track: [ue, t_ns, position, velocity, covariance, t_fix_ns, coasting]."""
    if track is None:
        return None
    return [
        track.ue,
        track.t_ns,
        track.position_m.tolist(),
        track.velocity_mps.tolist(),
        track.covariance.ravel().tolist(),
        track.t_fix_ns,
        track.coasting,
    ]


def track_from_plain(plain: Any) -> Track | None:
    """What `plain_from_track` has taken apart."""
    if plain is None:
        return None
    ue, t_ns, position_m, velocity_mps, covariance, t_fix_ns, coasting = plain
    return Track(
        ue=ue,
        t_ns=t_ns,
        position_m=_array(position_m, 3),
        velocity_mps=_array(velocity_mps, 3),
        covariance=_array(covariance, 6, 6),
        t_fix_ns=t_fix_ns,
        coasting=coasting,
    )


def plain_from_result(result: Fix | Miss) -> Any:
    """A fix or a miss, told apart by its first entry."""
    if isinstance(result, Miss):
        return [
            "miss",
            result.ue,
            result.seq,
            result.t_sample_ns,
            result.t_fix_ns,
            result.cause,
            list(result.bs_heard),
            plain_from_track(result.track),
        ]
    return [
        "fix",
        result.ue,
        result.seq,
        result.t_sample_ns,
        result.t_fix_ns,
        result.position_m.tolist(),
        result.covariance_m2.ravel().tolist(),
        list(result.bs_used),
        dict(result.ages_ns),
        result.revision,
        int(result.outcome),
        plain_from_track(result.track),
    ]


def result_from_plain(plain: Sequence[Any]) -> Fix | Miss:
    """What `plain_from_result` has taken apart."""
    kind, *rest = plain
    if kind == "miss":
        ue, seq, t_sample_ns, t_fix_ns, cause, bs_heard, track = rest
        return Miss(ue, seq, t_sample_ns, t_fix_ns, cause, tuple(bs_heard), track_from_plain(track))
    ue, seq, t_sample_ns, t_fix_ns, position_m, covariance_m2, bs_used, ages_ns, revision, outcome, track = (
        rest
    )
    return Fix(
        ue=ue,
        seq=seq,
        t_sample_ns=t_sample_ns,
        t_fix_ns=t_fix_ns,
        position_m=_array(position_m, 3),
        covariance_m2=_array(covariance_m2, 3, 3),
        bs_used=tuple(bs_used),
        ages_ns=MappingProxyType(dict(ages_ns)),
        revision=revision,
        outcome=Outcome(outcome),
        track=track_from_plain(track),
    )


def plain_from_verdict(verdict: Verdict) -> Any:
    """[kind, cause]."""
    return [verdict.kind, verdict.cause]


def verdict_from_plain(plain: Sequence[Any]) -> Verdict:
    """What `plain_from_verdict` has taken apart."""
    kind, cause = plain
    return Verdict(kind, cause)


def plain_from_cu_counts(counts: CuCounts) -> Any:
    """The counts of the central unit, by name."""
    return {
        "received": counts.received,
        "taken": counts.taken,
        "late": counts.late,
        "refused": dict(counts.refused),
        "fixes": counts.fixes,
        "revisions": counts.revisions,
        "misses": counts.misses,
        "restarts": counts.restarts,
    }


def _array(values: Sequence[float], *shape: int) -> Float64:
    return np.array(values, dtype=np.float64).reshape(shape)
