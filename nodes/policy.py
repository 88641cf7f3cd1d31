"""Congestion control at a base station: what is sent of a snapshot, and whether.

Each policy decides from what its own BS knows: no word from the central unit, no clock, no socket. So it
works the same in virtual time, in real time and in a study.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from broker.least_recent import LeastRecent
from models.quantiser import packed_size_bytes
from nodes.base_station import Heard, Payload, Place
from nodes.tracker import Tracker, TrackerParams

NS_PER_S = 1_000_000_000
MAX_UES = 1 << 16


@dataclass(frozen=True, slots=True)
class Link:
    """What a BS knows of its way to the central unit."""

    capacity_bps: float
    """Its share of the narrowest segment; infinite if nothing is known to limit it."""
    latency_ns: int
    """One way, jitter included; not negative."""
    deadline_ns: int
    """Of the central unit, after the sample."""
    processing_ns: int
    """From the sample to the publication."""
    overhead_bytes: int
    """Of a frame on the wire beyond its payload: topic, header, transport."""


class FitPolicy:
    """Shortens messages to what the link can carry before the deadline, and keeps silent if nothing fits.

    It remembers when the link will be free of what it has sent itself. It does not see losses, other people's
    traffic or capacities that change in the middle of a run.

    Args:
        link: the way to the central unit.
        min_bits: shortest message, bits per coefficient.
    """

    def __init__(self, link: Link, min_bits: int = 2) -> None:
        self._link = link
        self._min_bits = min_bits
        self._free_ns = 0

    def __call__(self, heard: Heard) -> Payload | None:
        """The longest message that will be there in time."""
        link = self._link
        if math.isinf(link.capacity_bps):
            return heard.payload
        if link.capacity_bps == 0:
            return None
        start_ns = max(heard.t_sample_ns + link.processing_ns, self._free_ns)
        stop_ns = heard.t_sample_ns + link.deadline_ns - link.latency_ns
        for bits in range(heard.payload.bits, min(self._min_bits, heard.payload.bits) - 1, -1):
            size_bits = 8 * (packed_size_bytes(heard.payload.dims, bits) + link.overhead_bytes)
            end_ns = start_ns + math.ceil(size_bits * NS_PER_S / link.capacity_bps)
            if end_ns <= stop_ns:
                self._free_ns = end_ns
                return Payload(bits, heard.payload.dims)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """What the central unit last heard."""

    latent: npt.NDArray[np.float32] | None = None
    t_sample_ns: int = 0


class DeltaPolicy:
    """Sends when the embedding has moved away from the one last sent by more than a bound, or after a time.

    The embedding last sent stands for what the central unit can predict: while it holds, another tells little
    (send on delta; Miskowicz, "Send-on-delta concept: an event-based data reporting strategy", Sensors 2006).
    Each BS decides for itself, so few BSs share a snapshot: `CuPolicy.min_bs` should be 1.

    Args:
        bound: distance between the embeddings over the length of the one last sent, not negative.
        at_least_every_ns: silence is never longer, positive.
    """

    def __init__(self, bound: float, at_least_every_ns: int = NS_PER_S) -> None:
        self._bound = bound
        self._at_least_every_ns = at_least_every_ns
        self._sent: LeastRecent[str, list[_Sent]] = LeastRecent(lambda: [_Sent()], MAX_UES)

    def __call__(self, heard: Heard) -> Payload | None:
        """The message as suggested, or nothing."""
        assert heard.latent is not None
        last = self._sent[heard.ue]
        sent = last[0]
        if sent.latent is not None and heard.t_sample_ns - sent.t_sample_ns < self._at_least_every_ns:
            moved = float(np.linalg.norm(heard.latent - sent.latent))
            if moved <= self._bound * float(np.linalg.norm(sent.latent)):
                return None
        last[0] = _Sent(heard.latent, heard.t_sample_ns)
        return heard.payload


class InnovationPolicy:
    """Sends when what the central unit can predict of this BS's messages would be wrong by more than a bound.

    The BS runs the central unit's tracker twice, on what it makes of each snapshot alone: once on all its
    snapshots, once on those it has sent. The second predicts what the central unit can know from this BS;
    where the first has moved away from that, there is news (dual prediction: Jain, Chang and Wang, "Adaptive
    stream resource management using Kalman filters", SIGMOD 2004). Errors of the model that last are in both
    and cancel out. What other BSs have told the central unit is not known here, nor what was lost.

    Silence ends with each multiple of a time, the same for all BSs: then all of them share a snapshot. In
    between few do, so `CuPolicy.min_bs` should be 1.

    Args:
        bound_m: how wrong the prediction may be, not negative.
        at_least_every_ns: silence ends with each multiple of it, positive.
        tracker: how UEs move, as the central unit believes.
    """

    def __init__(
        self, bound_m: float, at_least_every_ns: int = NS_PER_S, tracker: TrackerParams | None = None
    ) -> None:
        self._bound_m = bound_m
        self._at_least_every_ns = at_least_every_ns
        params = replace(tracker or TrackerParams(), gate=1.0)
        self._heard = Tracker(params)
        self._told = Tracker(params)

    def __call__(self, heard: Heard) -> Payload | None:
        """The message as suggested, or nothing."""
        assert heard.locate is not None
        place = heard.locate()
        if place is None:
            return None
        now = self._take_in(self._heard, heard, place)
        told = self._told.track(heard.ue)
        if told is not None and not self._is_time(told.t_ns, heard.t_sample_ns):
            predicted = self._told.track(heard.ue, heard.t_sample_ns)
            if predicted is not None and distance(now, predicted.position_m) <= self._bound_m:
                return None
        self._take_in(self._told, heard, place)
        return heard.payload

    def _is_time(self, last_ns: int, t_ns: int) -> bool:
        return t_ns // self._at_least_every_ns > last_ns // self._at_least_every_ns

    def _take_in(self, tracker: Tracker, heard: Heard, place: Place) -> npt.NDArray[np.float64]:
        """Position after a fix."""
        tracker.update([heard.ue], [heard.t_sample_ns], place.position_m[None], place.covariance_m2[None])
        track = tracker.track(heard.ue, heard.t_sample_ns)
        return place.position_m if track is None else track.position_m


def distance(one_m: npt.NDArray[np.float64], other_m: npt.NDArray[np.float64]) -> float:
    """Distance of two points."""
    return float(np.linalg.norm(one_m - other_m))
