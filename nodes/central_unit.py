"""The law of the central unit: collect what arrives, fuse what closed, track what was fused."""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from broker.frame import Frame
from broker.least_recent import LeastRecent
from models.quantiser import check_payload
from nodes.collector import MAX_STREAMS, Collector, Snapshot, Verdict
from nodes.cu_policy import CuPolicy
from nodes.fuser import Fused, Fuser
from nodes.positioning_model import PositioningModel
from nodes.sequence import Gap
from nodes.tracker import Outcome, Track, Tracker, TrackerParams

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fix:
    """Where a UE was at a sample time, as fused from one snapshot."""

    ue: str
    seq: int
    """Highest sequence number among the frames of the snapshot."""
    t_sample_ns: int
    t_fix_ns: int
    """When it was known: closing of the snapshot plus processing."""
    position_m: Float64
    """``[3]``, in world."""
    covariance_m2: Float64
    """``[3, 3]``"""
    bs_used: tuple[str, ...]
    ages_ns: Mapping[str, int]
    """At ``t_fix_ns``, of the newest sample that each BS ever heard of this UE contributed."""
    revision: int
    """0 at the first closing of the snapshot; late frames that were let in make more."""
    outcome: Outcome
    """What the tracker made of it."""
    track: Track | None
    """At ``t_sample_ns``, this fix included; None where the tracker's memory does not reach back."""


@dataclass(frozen=True, slots=True, eq=False)
class Miss:
    """A snapshot that closed without a fix."""

    ue: str
    seq: int
    """Highest sequence number among the frames of the snapshot."""
    t_sample_ns: int
    t_fix_ns: int
    """When this was known: closing of the snapshot plus processing."""
    cause: Literal["min_bs", "not_finite"]
    """Too few BSs, or a model that gave no number."""
    bs_heard: tuple[str, ...]
    track: Track | None
    """At ``t_sample_ns``, coasted there from earlier fixes; None without any."""


@dataclass(frozen=True, slots=True)
class CuCounts:
    """What the CU received and made, so far: ``received = taken + late + all refused``."""

    received: int
    taken: int
    late: int
    refused: Mapping[str, int]
    """By cause: unknown_bs, unknown_model, other_run, malformed, future, duplicate."""
    fixes: int
    """Revisions not included."""
    revisions: int
    misses: int
    restarts: int
    """Streams of frames that counted from the start again."""


class Update(NamedTuple):
    """What `Tracker.update` takes."""

    ues: list[str]
    t_ns: list[int]
    positions_m: Float64
    covariances_m2: Float64


Conclusions = Generator[Update, list[Outcome], list[Fix | Miss]]


class CentralUnit:
    """Collects frames into snapshots, fuses those that closed and tracks the UEs; owns no clock, no socket.

    The driver hands over each frame at its arrival time, in order of time, and then advances to that time;
    it advances also at `next_deadline_ns`. Snapshots that close at the same time are fused together, in the
    order of UE and sample time: results do not depend on how often the driver advances.

    Args:
        model: knows the BSs and fuses.
        policy: deadline, least number of BSs, late frames.
        tracker: how UEs move.
        expected: BSs that make a snapshot complete; all of the model's by default.
        run: identity of the run whose frames to take; None takes any.
        on_gap: told of every gap in sequence numbers, to be compared with what the fronthaul law dropped.

    Raises:
        ValueError: for an expected BS that the model does not know, or when time goes backwards.
    """

    def __init__(
        self,
        model: PositioningModel,
        policy: CuPolicy | None = None,
        tracker: TrackerParams | None = None,
        *,
        expected: Collection[str] | None = None,
        run: str | None = None,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> None:
        expected = model.bs_ids if expected is None else expected
        for bs in expected:
            if bs not in model.bs_ids:
                raise ValueError(f"{bs} is not a BS of the model: {', '.join(model.bs_ids)}")
        self.policy = policy or CuPolicy()
        self._model = model
        self._run = run
        self._collector = Collector([bs for bs in model.bs_ids if bs in expected], self.policy, on_gap)
        self._fuser = Fuser(model)
        self._tracker = Tracker(tracker)
        self._newest: LeastRecent[str, dict[str, int]] = LeastRecent(dict, MAX_STREAMS)
        self._verdicts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._made: Counter[str] = Counter()

    @property
    def counts(self) -> CuCounts:
        """What was received and made so far."""
        late, refused = self._verdicts["late"], self._verdicts["refused"]
        received = self._verdicts.total()
        return CuCounts(
            received=received,
            taken=received - late - refused,
            late=late,
            refused=MappingProxyType(dict(sorted(self._refused.items()))),
            fixes=self._made["fixes"],
            revisions=self._made["revisions"],
            misses=self._made["misses"],
            restarts=self._collector.restarts,
        )

    def receive(self, frame: Frame, t_arrival_ns: int) -> Verdict:
        """Take in a frame at its arrival; fixes come from `advance`."""
        cause = self._refusal(frame)
        verdict = Verdict("refused", cause) if cause else self._collector.receive(frame, t_arrival_ns)
        self._verdicts[verdict.kind] += 1
        if verdict.cause is not None:
            self._refused[verdict.cause] += 1
        return verdict

    def fuse_with(self, fuser: Fuser) -> None:
        """Fuse with this from now on, instead of a fuser of the model's own."""
        self._fuser = fuser

    def next_deadline_ns(self) -> int | None:
        """When `advance` will next have something if no further frame comes; None if nothing is open."""
        return self._collector.next_deadline_ns()

    def advance(self, t_ns: int) -> list[Fix | Miss]:
        """Fixes and misses of all that closed up to and including a time, in the order of closing."""
        closed = self._collector.closed(t_ns)
        enough = [snapshot for snapshot in closed if len(snapshot.arrivals) >= self.policy.min_bs]
        fused = self._fuser.fuse(enough)  # all in one go, which changes nothing but the time it takes
        results: list[Fix | Miss] = []
        for together in in_groups(closed):
            num = sum(len(snapshot.arrivals) >= self.policy.min_bs for snapshot in together)
            results += self._track(together, fused[:num])
            fused = fused[num:]
        return results

    def others_open(self, t_sample_ns: int) -> bool:
        """Whether there are snapshots of this sample time that have begun and not closed."""
        return self._collector.open_at(t_sample_ns) > 0

    def track(self, ue: str, t_ns: int | None = None) -> Track | None:
        """What is known of a UE at a time (None: at its last fix); see `Tracker.track`."""
        return self._tracker.track(ue, t_ns)

    def resume(self, tracks: Sequence[Track]) -> None:
        """Go on from tracks as they were last known, after this part was away; see `Tracker.resume`."""
        self._tracker.resume(tracks)

    @property
    def ues(self) -> tuple[str, ...]:
        """UEs with a track, in the order of their names."""
        return self._tracker.ues

    def _refusal(self, frame: Frame) -> str | None:
        if self._run is not None and frame.run != self._run:
            return "other_run"
        if frame.model != self._model.digest:
            return "unknown_model"
        if frame.dims > self._model.dims:
            return "malformed"
        try:
            check_payload(frame.payload, frame.dims, frame.bits)
        except ValueError:
            return "malformed"
        return None

    def conclude(self, snapshots: Sequence[Snapshot], fused: Fused | None = None) -> Conclusions:
        """Results of snapshots that closed at the same time, in their order, as a generator.

        It yields what the tracker shall take in and is sent what became of it, so that a driver may hand
        the updates of many central units to one tracker.

        Args:
            snapshots: that closed.
            fused: what the fuser made of those with enough BSs, if it was asked already.
        """
        enough = [at for at, snapshot in enumerate(snapshots) if len(snapshot.arrivals) >= self.policy.min_bs]
        if fused is None:
            fused = self._fuser.fuse([snapshots[at] for at in enough])
        good = [at for at, is_finite in zip(enough, fused.finite, strict=True) if is_finite]
        positions_m, covariances_m2 = fused.position_m[fused.finite], fused.covariance_m2[fused.finite]
        outcomes = yield Update(
            [snapshots[at].ue for at in good],
            [snapshots[at].t_sample_ns for at in good],
            positions_m,
            covariances_m2,
        )
        fixes = dict(zip(good, zip(positions_m, covariances_m2, outcomes, strict=True), strict=True))
        results: list[Fix | Miss] = []
        for at, snapshot in enumerate(snapshots):
            if at in fixes:
                self._made["revisions" if snapshot.revision else "fixes"] += 1
                results.append(self._fix(snapshot, *fixes[at]))
            elif snapshot.revision == 0:
                self._made["misses"] += 1
                results.append(self._miss(snapshot, "not_finite" if at in enough else "min_bs"))
        return results

    def _track(self, snapshots: Sequence[Snapshot], fused: Fused) -> list[Fix | Miss]:
        conclusions = self.conclude(snapshots, fused)
        try:
            conclusions.send(self._tracker.update(*next(conclusions)))
        except StopIteration as done:
            results: list[Fix | Miss] = done.value
            return results
        raise AssertionError("one update for all that closed together")

    def _fix(self, snapshot: Snapshot, position_m: Float64, covariance_m2: Float64, outcome: Outcome) -> Fix:
        t_fix_ns = snapshot.t_close_ns + self.policy.processing_ns
        newest = self._newest[snapshot.ue]
        for bs in snapshot.bs_used:
            newest[bs] = max(newest.get(bs, 0), snapshot.t_sample_ns)
        ages_ns = {bs: t_fix_ns - newest[bs] for bs in self._collector.expected if bs in newest}
        return Fix(
            ue=snapshot.ue,
            seq=snapshot.seq,
            t_sample_ns=snapshot.t_sample_ns,
            t_fix_ns=t_fix_ns,
            position_m=position_m,
            covariance_m2=covariance_m2,
            bs_used=snapshot.bs_used,
            ages_ns=MappingProxyType(ages_ns),
            revision=snapshot.revision,
            outcome=outcome,
            track=self._tracker.track(snapshot.ue, snapshot.t_sample_ns),
        )

    def _miss(self, snapshot: Snapshot, cause: Literal["min_bs", "not_finite"]) -> Miss:
        return Miss(
            ue=snapshot.ue,
            seq=snapshot.seq,
            t_sample_ns=snapshot.t_sample_ns,
            t_fix_ns=snapshot.t_close_ns + self.policy.processing_ns,
            cause=cause,
            bs_heard=snapshot.bs_used,
            track=self._tracker.track(snapshot.ue, snapshot.t_sample_ns),
        )


def in_groups(closed: Sequence[Snapshot]) -> list[list[Snapshot]]:
    """Snapshots whose fixes the tracker may take in at once: of one time, and on as long as no UE recurs.

    What a UE's fixes make of its track does not depend on what else is taken in, so many UEs cost little more
    than one.

    Args:
        closed: in the order of their closing.
    """
    groups: list[list[Snapshot]] = []
    ues: set[str] | None = None
    for _, of_one_time in groupby(closed, key=lambda snapshot: snapshot.t_close_ns):
        some = list(of_one_time)
        own = {snapshot.ue for snapshot in some}
        if len(own) < len(some):
            groups.append(some)
            ues = None
        elif ues is None or ues & own:
            groups.append(some)
            ues = own
        else:
            groups[-1] += some
            ues |= own
    return groups
