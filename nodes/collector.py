"""The collector: from frames, as they come, to snapshots that are closed."""

import heapq
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from broker.frame import Frame
from broker.least_recent import LeastRecent
from nodes.cu_policy import CuPolicy
from nodes.sequence import Gap, Place, SequenceMonitor

Kind = Literal["accepted", "completes", "revises", "late", "refused"]
Key = tuple[str, int]
"""UE and sample time: what tells a snapshot."""

MAX_STREAMS = 1 << 16
"""Most (bs, ue) whose sequence numbers are followed at once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a frame on arrival."""

    kind: Kind
    """``accepted`` into an open snapshot, ``completes`` it, ``revises`` one past its deadline."""
    cause: str | None = None
    """Why it was refused."""

    @property
    def taken(self) -> bool:
        """Whether the frame is part of a snapshot."""
        return self.kind in ("accepted", "completes", "revises")


ACCEPTED, COMPLETES = Verdict("accepted"), Verdict("completes")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame and when it came."""

    frame: Frame
    t_arrival_ns: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is known of one UE at one sample time when its snapshot closes."""

    ue: str
    t_sample_ns: int
    t_close_ns: int
    revision: int
    """0 for the first closing; each late frame that is let in makes one more."""
    arrivals: tuple[Arrival, ...]
    """At most one per BS, in the order of the expected BSs."""

    @property
    def seq(self) -> int:
        """Highest sequence number among the frames: BSs that missed a snapshot count behind."""
        return max(arrival.frame.seq for arrival in self.arrivals)

    @property
    def bs_used(self) -> tuple[str, ...]:
        """BSs that are in it."""
        return tuple(arrival.frame.bs for arrival in self.arrivals)


@dataclass(slots=True)
class _Gathering:
    """A snapshot that frames may still join."""

    arrivals: dict[str, Arrival] = field(default_factory=dict)
    closings: int = 0


class Collector:
    """Gathers the frames of each snapshot until all expected BSs have arrived or its deadline is over.

    A frame that arrives at the deadline is in time; closing happens when the driver asks for what is closed,
    after it has handed over all frames of that time. What it asks when does not change what closes when.
    Memory is bounded by the snapshots of one deadline (and horizon, where late frames retrodict), and by
    `MAX_STREAMS`.

    Args:
        expected: BSs that make a snapshot complete, in the order of the model.
        policy: deadline, what becomes of late frames, how long closed snapshots are remembered.
        on_gap: told of every gap in the sequence numbers of a BS about a UE.
    """

    def __init__(
        self, expected: Collection[str], policy: CuPolicy, on_gap: Callable[[Gap], None] | None = None
    ) -> None:
        self.expected = tuple(expected)
        self.policy = policy
        self.restarts = 0
        """Streams that counted from the start again."""
        self._on_gap = on_gap
        # Under `drop` the deadline alone tells a late frame; nothing needs to be remembered beyond it.
        self._memory_ns = policy.horizon_ns if policy.late == "retrodict" else 0
        self._streams: LeastRecent[tuple[str, str], SequenceMonitor] = LeastRecent(
            SequenceMonitor, MAX_STREAMS
        )
        self._gathering: dict[Key, _Gathering] = {}
        self._deadlines: list[tuple[int, str, int]] = []
        self._memories: list[tuple[int, str, int]] = []
        self._closed: dict[tuple[int, str, int], Snapshot] = {}
        self._open_at: Counter[int] = Counter()
        self._now_ns = 0

    def receive(self, frame: Frame, t_arrival_ns: int) -> Verdict:
        """Take in a frame.

        Args:
            frame: from any BS about any UE.
            t_arrival_ns: when it came; never falls from call to call.

        Raises:
            ValueError: when time goes backwards.
        """
        self._move_to(t_arrival_ns)
        # What was due before this frame closes without it, however seldom the driver asks.
        self._close_due(t_arrival_ns - 1)
        return self._judge(frame, t_arrival_ns)

    def next_deadline_ns(self) -> int | None:
        """When `closed` will next have something if no further frame comes; None if nothing is open."""
        if self._closed:
            return min(self._closed)[0]
        while self._deadlines and self._gathering[self._deadlines[0][1:]].closings:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def open_at(self, t_sample_ns: int) -> int:
        """Snapshots of a sample time that have begun and not closed yet."""
        return self._open_at[t_sample_ns]

    def closed(self, t_ns: int) -> list[Snapshot]:
        """Snapshots that closed up to and including a time, by closing time, UE and sample time; each once.

        Raises:
            ValueError: when time goes backwards.
        """
        self._move_to(t_ns)
        self._close_due(t_ns)
        snapshots = [self._closed[key] for key in sorted(self._closed)]
        self._closed.clear()
        self._forget(t_ns)
        return snapshots

    def _judge(self, frame: Frame, t_arrival_ns: int) -> Verdict:
        if frame.bs not in self.expected:
            return Verdict("refused", "unknown_bs")
        if frame.t_sample_ns >= t_arrival_ns + self.policy.lead_ns:
            return Verdict("refused", "future")
        place = self._place(frame, t_arrival_ns)
        deadline_ns = frame.t_sample_ns + self.policy.deadline_ns
        is_late = t_arrival_ns > deadline_ns
        is_too_late = is_late and t_arrival_ns > deadline_ns + self._memory_ns
        if place is Place.REPLAY or (place is Place.FORGOTTEN and not is_too_late):
            return Verdict("refused", "duplicate")
        key = (frame.ue, frame.t_sample_ns)
        gathering = self._gathering.get(key)
        if gathering is not None and frame.bs in gathering.arrivals:
            return Verdict("refused", "duplicate")
        if is_too_late:
            return Verdict("late")
        if gathering is None:
            gathering = self._open(key, deadline_ns, is_late)
        gathering.arrivals[frame.bs] = Arrival(frame, t_arrival_ns)
        if is_late:
            self._close(key, gathering, t_arrival_ns)
            return Verdict("revises")
        if len(gathering.arrivals) < len(self.expected):
            return ACCEPTED
        self._close(key, gathering, t_arrival_ns)
        return COMPLETES

    def _place(self, frame: Frame, t_arrival_ns: int) -> Place:
        place, gap = self._streams[frame.bs, frame.ue].see(frame.seq, frame.t_sample_ns)
        if place is Place.RESTART:
            self.restarts += 1
        if gap is not None and self._on_gap is not None:
            self._on_gap(Gap(frame.bs, frame.ue, *gap, t_arrival_ns))
        return place

    def _open(self, key: Key, deadline_ns: int, is_late: bool) -> _Gathering:
        gathering = self._gathering[key] = _Gathering()
        self._open_at[key[1]] += 1
        if not is_late:
            heapq.heappush(self._deadlines, (deadline_ns, *key))
        heapq.heappush(self._memories, (deadline_ns + self._memory_ns, *key))
        return gathering

    def _close(self, key: Key, gathering: _Gathering, t_close_ns: int) -> None:
        closing = (t_close_ns, *key)
        # Two late frames of the same time make one revision.
        revision = self._closed[closing].revision if closing in self._closed else gathering.closings
        self._closed[closing] = Snapshot(
            ue=key[0],
            t_sample_ns=key[1],
            t_close_ns=t_close_ns,
            revision=revision,
            arrivals=tuple(gathering.arrivals[bs] for bs in self.expected if bs in gathering.arrivals),
        )
        if gathering.closings == 0:
            self._open_at[key[1]] -= 1
            if not self._open_at[key[1]]:
                del self._open_at[key[1]]
        gathering.closings = revision + 1

    def _close_due(self, t_ns: int) -> None:
        while self._deadlines and self._deadlines[0][0] <= t_ns:
            deadline_ns, ue, t_sample_ns = heapq.heappop(self._deadlines)
            gathering = self._gathering[ue, t_sample_ns]
            if gathering.closings == 0:
                self._close((ue, t_sample_ns), gathering, deadline_ns)

    def _forget(self, t_ns: int) -> None:
        while self._memories and self._memories[0][0] < t_ns:
            _, ue, t_sample_ns = heapq.heappop(self._memories)
            del self._gathering[ue, t_sample_ns]

    def _move_to(self, t_ns: int) -> None:
        if t_ns < self._now_ns:
            raise ValueError(f"time goes backwards: {t_ns} ns after {self._now_ns} ns")
        self._now_ns = t_ns
