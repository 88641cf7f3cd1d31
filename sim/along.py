"""Systems on the snapshots of one UE's way, each fix handed to the same tracker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.tracker import Tracker
from sim.centre import tracker_params
from sim.channel import open_channel
from sim.evaluate import BATCH, check_fit
from sim.scenario import Scenario
from sim.systems import System

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Way:
    """What one system made of a UE's way.

    Attributes:
        system: Its name.
        samples_trained: Samples that it has seen in training.
        payload_bits: What each base station sends about one snapshot.
        t_s: Times of the snapshots, ``[n]``.
        truth_m: Where the UE was, ``[n, 3]``.
        fix_m: What the system said, ``[n, 3]``.
        track_m: What the tracker made of it, ``[n, 3]``; not a number where a system claims no covariance.
    """

    system: str
    samples_trained: int | None
    payload_bits: int
    t_s: Floats
    truth_m: Floats
    fix_m: Floats
    track_m: Floats

    @property
    def fix_error_m(self) -> Floats:
        """3D errors of fixes, ``[n]``."""
        found: Floats = np.linalg.norm(self.fix_m - self.truth_m, axis=1)
        return found

    @property
    def track_error_m(self) -> Floats:
        """3D errors of the track, ``[n]``."""
        found: Floats = np.linalg.norm(self.track_m - self.truth_m, axis=1)
        return found

    def figures(self) -> dict[str, Any]:
        """Its row of a table."""
        return {
            "system": self.system,
            "samples_trained": self.samples_trained,
            "payload_bits": self.payload_bits,
            "snapshots": len(self.t_s),
        } | {
            f"{kind}_{name}_m": float(value)
            for kind, error_m in (("fix", self.fix_error_m), ("track", self.track_error_m))
            for name, value in (("mean", error_m.mean()), ("e90", np.quantile(error_m, 0.9)))
        }


def along(scenario: Scenario, systems: Sequence[System]) -> list[Way]:
    """Follow a scenario's first UE with each system: the pilots are those that a run of it hears.

    All messages arrive, at once: what is compared is what systems make of a snapshot, not the fronthaul.

    Args:
        scenario: Says the way, the clocks, the seed and how UEs are believed to move.
        systems: What to judge.

    Raises:
        ChannelError: The scenario's traces are missing.
        EvaluationError: A system is for other base stations or another radio.
    """
    ue = scenario.ue_ids[0]
    t_ns = scenario.sample_times_ns(ue)
    channel = open_channel(scenario, may_trace=False)
    truth_m = scenario.trajectory(ue).position_in_world_m(t_ns * 1e-9)
    pilots = np.stack([channel.pilots(ue, index) for index in range(len(t_ns))])
    found = []
    for system in systems:
        check_fit(system, pilots)
        fix_m, covariance_m2 = estimated(system, pilots, channel.noise_variance)
        track_m = np.full_like(fix_m, np.nan)
        if covariance_m2 is not None:
            track_m = tracked(scenario, t_ns, fix_m, covariance_m2)
        about = system.name, system.samples_trained, system.payload_bits
        t_s = t_ns.astype(np.float64) * 1e-9
        found.append(Way(*about, t_s, truth_m, fix_m, track_m))
    return found


def estimated(
    system: System, pilots: NDArray[np.complex64], noise_variance: Floats
) -> tuple[Floats, Floats | None]:
    """Positions and covariances of all snapshots, everybody heard."""
    parts = []
    for start in range(0, len(pilots), BATCH):
        some = pilots[start : start + BATCH]
        parts.append(system.estimate(some, noise_variance, np.ones(some.shape[:2], bool)))
    claimed: list[Floats] = [covariance_m2 for _, covariance_m2 in parts if covariance_m2 is not None]
    fix_m: Floats = np.concatenate([position_m for position_m, _ in parts])
    return fix_m, np.concatenate(claimed) if claimed else None


def tracked(scenario: Scenario, t_ns: NDArray[Any], fix_m: Floats, covariance_m2: Floats) -> Floats:
    """The track at each snapshot's time, from the fixes up to then."""
    tracker, ue = Tracker(tracker_params(scenario)), scenario.ue_ids[0]
    track_m = np.empty_like(fix_m)
    for row, t in enumerate(t_ns):
        tracker.update([ue], [t], fix_m[row : row + 1], covariance_m2[row : row + 1])
        track = tracker.track(ue, int(t))
        assert track is not None
        track_m[row] = track.position_m
    return track_m
