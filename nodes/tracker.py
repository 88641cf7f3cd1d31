"""The tracker: from fixes with covariances to a position and a velocity at any time, per UE."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

import numpy as np
import numpy.typing as npt

from nodes import kalman
from nodes.gate import chi_square_3_quantile

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TrackerParams:
    """How a UE is believed to move, and what is believed of its fixes.

    Raises:
        ValueError: for a value out of the range given here.
    """

    acceleration_mps2: float = 1.0
    """Root mean square change of velocity per axis within one second, positive."""
    gate: float = 0.999
    """Probability that a good fix passes the gate, in (0, 1]; 1 opens it."""
    restart_after: int = 3
    """So many rejected fixes in a row, at least 1, and the track starts afresh from the last of them."""
    velocity_prior_mps: float = 5.0
    """Standard deviation per axis of the velocity at the first fix, positive."""
    correlation_time_s: float = 0.0
    """Time over which errors of fixes stay alike, 0 for white errors; see docs/tracking.md."""
    history: int = 64
    """Fixes remembered per UE: how far back an out-of-sequence fix can be taken in, at least 1."""
    coast_after_ns: int = 300_000_000
    """A track without an accepted fix for longer is coasting."""
    forget_after_ns: int = 60 * NS_PER_S
    """A track without any fix for longer is no more; the next fix starts a new one."""

    def __post_init__(self) -> None:
        for name, low in (("acceleration_mps2", 0.0), ("velocity_prior_mps", 0.0)):
            if not low < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.correlation_time_s < np.inf:
            raise ValueError(f"correlation_time_s must not be negative, but is {self.correlation_time_s}")
        for name in ("restart_after", "history", "coast_after_ns", "forget_after_ns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        chi_square_3_quantile(self.gate)

    @property
    def density(self) -> float:
        """Power spectral density of the white-noise acceleration per axis, m²/s³."""
        return self.acceleration_mps2**2 * 1.0  # times one second


class Outcome(IntEnum):
    """What became of a fix."""

    STARTED = 0
    ACCEPTED = 1
    REJECTED = 2
    """Outside the gate; the track coasts through it."""
    RESTARTED = 3
    """Outside the gate once too often; the track starts afresh from it."""
    TOO_OLD = 4
    """From before all remembered fixes; the track is as if it had never come."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """What is known of a UE at a time."""

    ue: str
    t_ns: int
    position_m: Float64
    """``[3]``, in world."""
    velocity_mps: Float64
    """``[3]``, in world."""
    covariance: Float64
    """``[6, 6]`` of position and velocity; m², m²/s, m²/s²."""
    t_fix_ns: int
    """Sample time of the last accepted fix."""
    coasting: bool
    """No accepted fix for longer than `TrackerParams.coast_after_ns`."""


@dataclass(slots=True)
class _Columns:
    """States of n tracks, the track last."""

    state: Float64
    covariance: Float64
    t_ns: Int64
    t_accepted_ns: Int64
    rejections: Int64
    alive: Bool

    @classmethod
    def empty(cls, num: int) -> Self:
        return cls(
            state=np.zeros((6, num)),
            covariance=np.repeat(np.eye(6)[:, :, None], num, axis=2),
            t_ns=np.zeros(num, np.int64),
            t_accepted_ns=np.zeros(num, np.int64),
            rejections=np.zeros(num, np.int64),
            alive=np.zeros(num, np.bool_),
        )

    def take(self, at: Int64) -> "_Columns":
        return _Columns(
            state=self.state.take(at, axis=1),
            covariance=self.covariance.take(at, axis=2),
            t_ns=self.t_ns[at],
            t_accepted_ns=self.t_accepted_ns[at],
            rejections=self.rejections[at],
            alive=self.alive[at],
        )

    def put(self, at: Int64, columns: "_Columns") -> None:
        self.state[:, at] = columns.state
        self.covariance[:, :, at] = columns.covariance
        self.t_ns[at] = columns.t_ns
        self.t_accepted_ns[at] = columns.t_accepted_ns
        self.rejections[at] = columns.rejections
        self.alive[at] = columns.alive


@dataclass(frozen=True, slots=True)
class _Batch:
    """Fixes taken in together, with the tracks as they were right after."""

    fixes_m: Float64
    covariances_m2: Float64
    after: _Columns
    outcomes: Int64


@dataclass(frozen=True, slots=True)
class _Remembered:
    """One fix of one UE: a column of a batch."""

    t_ns: int
    batch: _Batch
    column: int


@dataclass(slots=True)
class _History:
    fixes: deque[_Remembered] = field(default_factory=deque)
    """In order of time."""
    forgotten: bool = False
    """There were fixes before the oldest remembered."""


class Tracker:
    """Constant-velocity Kalman filters, one per UE, updated together.

    White-noise acceleration; innovations gated by chi-square; a track starts at its first fix and restarts
    after repeated gate failures. A fix that is older than ones already taken in is taken in at its place and
    the later ones again after it: the result is exactly that of all fixes in order. A fix of the same time as
    an earlier one replaces it.

    A UE's result is the same to the last bit whatever other UEs are updated in the same call.
    """

    def __init__(self, params: TrackerParams | None = None) -> None:
        self.params = params or TrackerParams()
        self._gate = chi_square_3_quantile(self.params.gate)
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._now = _Columns.empty(0)
        self._histories: list[_History] = []
        self._pruned_ns = 0

    @property
    def ues(self) -> tuple[str, ...]:
        """UEs with a track, in the order of their names."""
        return tuple(sorted(self._slots))

    def update(
        self,
        ues: Sequence[str],
        t_ns: npt.ArrayLike,
        positions_m: npt.ArrayLike,
        covariances_m2: npt.ArrayLike,
    ) -> list[Outcome]:
        """Take in fixes, in any order, and tell what became of each.

        Args:
            ues: whose fix each is, ``[n]``; of several with the same UE and time the last counts.
            t_ns: sample times, ``[n]``.
            positions_m: ``[n, 3]``, finite.
            covariances_m2: ``[n, 3, 3]``, symmetric positive definite.

        Raises:
            ValueError: for a position that is not finite or a covariance that is not positive definite.
        """
        times = np.asarray(t_ns, dtype=np.int64)
        fixes = np.asarray(positions_m, dtype=np.float64)
        covariances = np.asarray(covariances_m2, dtype=np.float64)
        num = len(ues)
        assert times.shape == (num,), f"t_ns is [{num}], not {times.shape}"
        assert fixes.shape == (num, 3), f"positions_m is [{num}, 3], not {fixes.shape}"
        assert covariances.shape == (num, 3, 3), f"covariances_m2 is [{num}, 3, 3], not {covariances.shape}"
        if num == 0:
            return []
        fixes = np.ascontiguousarray(fixes.T)
        covariances = np.ascontiguousarray(covariances.transpose(1, 2, 0))
        covariances = 0.5 * (covariances + covariances.transpose(1, 0, 2))
        self._refuse_bad(ues, fixes, covariances)
        slots = np.array([self._slot(ue) for ue in ues])
        known = self._now.take(slots)
        if len(set(ues)) == num and (~known.alive | (times > known.t_ns)).all():
            outcomes = self._advance(slots, times, fixes, covariances).tolist()
        else:
            outcomes = self._insert(slots, times, fixes, covariances)
        self._prune(int(times.min()))
        return [Outcome(outcome) for outcome in outcomes]

    def resume(self, tracks: Sequence[Track]) -> None:
        """Go on from tracks as they were last known, of UEs that have none here yet.

        Nothing from before them is remembered: older fixes are too old.
        """
        fresh = [track for track in tracks if track.ue not in self._slots]
        if not fresh:
            return
        after = _Columns.empty(len(fresh))
        for column, track in enumerate(fresh):
            after.state[:3, column] = track.position_m
            after.state[3:, column] = track.velocity_mps
            after.covariance[:, :, column] = track.covariance
            after.t_ns[column] = track.t_ns
            after.t_accepted_ns[column] = track.t_fix_ns
            after.alive[column] = True
        fixes = after.state[:3].copy()
        covariances = after.covariance[:3, :3].copy()
        batch = _Batch(fixes, covariances, after, np.full(len(fresh), int(Outcome.ACCEPTED)))
        for column, track in enumerate(fresh):
            slot = self._slot(track.ue)
            self._now.put(np.array([slot]), after.take(np.array([column])))
            history = self._histories[slot]
            history.fixes.append(_Remembered(track.t_ns, batch, column))
            history.forgotten = True

    def track(self, ue: str, t_ns: int | None = None) -> Track | None:
        """What the fixes up to a time say of a UE at that time.

        Args:
            ue: which.
            t_ns: when; None for the time of the last fix.

        Returns:
            None before the oldest remembered fix and long (`TrackerParams.forget_after_ns`) after the last.
        """
        slot = self._slots.get(ue)
        if slot is None:
            return None
        for remembered in reversed(self._histories[slot].fixes):
            if t_ns is None or remembered.t_ns <= t_ns:
                return self._at(ue, remembered, remembered.t_ns if t_ns is None else t_ns)
        return None

    def _at(self, ue: str, remembered: _Remembered, t_ns: int) -> Track | None:
        after, column = remembered.batch.after, remembered.column
        ahead_ns = t_ns - remembered.t_ns
        if ahead_ns > self.params.forget_after_ns:
            return None
        state, covariance = after.state[:, column], after.covariance[:, :, column]
        if ahead_ns:
            dt_s = np.array([ahead_ns / NS_PER_S])
            ahead = kalman.predict(state[:, None], covariance[:, :, None], dt_s, self.params.density)
            state, covariance = ahead[0][:, 0], ahead[1][:, :, 0]
        t_fix_ns = int(after.t_accepted_ns[column])
        return Track(
            ue=ue,
            t_ns=t_ns,
            position_m=state[:3].copy(),
            velocity_mps=state[3:].copy(),
            covariance=covariance.copy(),
            t_fix_ns=t_fix_ns,
            coasting=t_ns - t_fix_ns > self.params.coast_after_ns,
        )

    def _insert(self, slots: Int64, times: Int64, fixes: Float64, covariances: Float64) -> list[int]:
        """Take in fixes of which some are older than ones already taken in, or share their UE."""
        # Per track: the new fixes and those remembered that come after the first new one, by time.
        waiting: dict[int, dict[int, tuple[Float64, Float64]]] = {}
        too_old = set()
        for index, (slot, t_ns) in enumerate(zip(slots.tolist(), times.tolist(), strict=True)):
            history = self._histories[slot]
            if history.forgotten and t_ns <= history.fixes[0].t_ns:
                too_old.add(index)
                continue
            waiting.setdefault(slot, {})[t_ns] = (fixes[:, index], covariances[:, :, index])
        for slot, queue in waiting.items():
            for remembered in self._rewind(slot, min(queue)):
                batch, column = remembered.batch, remembered.column
                again = (batch.fixes_m[:, column], batch.covariances_m2[:, :, column])
                queue.setdefault(remembered.t_ns, again)
        rounds = {slot: sorted(queue.items()) for slot, queue in waiting.items()}
        outcomes: dict[tuple[int, int], int] = {}
        for turn in range(max(map(len, rounds.values()), default=0)):
            now = {slot: queue[turn] for slot, queue in rounds.items() if turn < len(queue)}
            at = np.array(list(now))
            when = np.array([t_ns for t_ns, _ in now.values()])
            what = np.stack([fix for _, (fix, _) in now.values()], axis=-1)
            spread = np.stack([covariance for _, (_, covariance) in now.values()], axis=-1)
            became = self._advance(at, when, what, spread)
            outcomes.update(zip(zip(at.tolist(), when.tolist(), strict=True), became.tolist(), strict=True))
        return [
            Outcome.TOO_OLD if index in too_old else outcomes[slot, t_ns]
            for index, (slot, t_ns) in enumerate(zip(slots.tolist(), times.tolist(), strict=True))
        ]

    def _rewind(self, slot: int, t_ns: int) -> list[_Remembered]:
        """Put a track back to what it was before a time; gives the fixes taken away."""
        history = self._histories[slot]
        taken = []
        while history.fixes and history.fixes[-1].t_ns >= t_ns:
            taken.append(history.fixes.pop())
        if not taken:
            return []
        before = _Columns.empty(1)
        if history.fixes:
            last = history.fixes[-1]
            before = last.batch.after.take(np.array([last.column]))
        self._now.put(np.array([slot]), before)
        return taken

    def _advance(self, slots: Int64, times: Int64, fixes: Float64, covariances: Float64) -> Int64:
        """Take in one fix of each of several tracks, each later than what its track has seen."""
        after, outcomes = self._step(self._now.take(slots), times, fixes, covariances)
        self._now.put(slots, after)
        batch = _Batch(fixes, covariances, after, outcomes)
        for column, (slot, t_ns) in enumerate(zip(slots.tolist(), times.tolist(), strict=True)):
            history = self._histories[slot]
            history.fixes.append(_Remembered(t_ns, batch, column))
            if len(history.fixes) > self.params.history:
                history.fixes.popleft()
                history.forgotten = True
        return outcomes

    def _step(
        self, before: _Columns, times: Int64, fixes: Float64, covariances: Float64
    ) -> tuple[_Columns, Int64]:
        """Tracks after one fix each: predict, gate, update, and start where there is nothing to update."""
        params = self.params
        alive = before.alive & (times - before.t_ns <= params.forget_after_ns)
        dt_s = np.where(alive, times - before.t_ns, 0) / NS_PER_S
        predicted, predicted_covariance = kalman.predict(
            before.state, before.covariance, dt_s, params.density
        )
        distance = kalman.distance_squared(predicted, predicted_covariance, fixes, covariances)
        outside = alive & (distance > self._gate)
        rejections = np.where(outside, before.rejections + 1, 0)
        restarted = rejections >= params.restart_after
        fresh = ~alive | restarted
        rejected = outside & ~restarted

        inflated = covariances * self._inflation((times - before.t_accepted_ns) / NS_PER_S, fresh)
        state, covariance = kalman.update(predicted, predicted_covariance, fixes, inflated)
        start, start_covariance = self._start(fixes, covariances)
        state = np.where(fresh, start, np.where(rejected, predicted, state))
        covariance = np.where(fresh, start_covariance, np.where(rejected, predicted_covariance, covariance))
        after = _Columns(
            state=state,
            covariance=covariance,
            t_ns=times.copy(),
            t_accepted_ns=np.where(rejected, before.t_accepted_ns, times),
            rejections=np.where(restarted, 0, rejections),
            alive=np.ones(len(times), np.bool_),
        )
        outcomes = np.full(len(times), int(Outcome.ACCEPTED))
        outcomes[~alive] = Outcome.STARTED
        outcomes[rejected] = Outcome.REJECTED
        outcomes[restarted] = Outcome.RESTARTED
        return after, outcomes

    def _start(self, fixes: Float64, covariances: Float64) -> tuple[Float64, Float64]:
        num = fixes.shape[1]
        state = np.zeros((6, num))
        state[:3] = fixes
        covariance = np.zeros((6, 6, num))
        covariance[:3, :3] = covariances
        velocity = np.arange(3, 6)
        covariance[velocity, velocity] = self.params.velocity_prior_mps**2
        return state, covariance

    def _inflation(self, since_s: Float64, fresh: Bool) -> Float64:
        """Factor on the covariance of a fix that stands for the correlation with the one before it.

        Errors with correlation ρ = exp(-dt/τ) from fix to fix average out as slowly as white ones with
        (1 + ρ)/(1 - ρ) = coth(dt/2τ) times the variance.
        """
        if self.params.correlation_time_s == 0:
            return np.ones_like(since_s)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = 1 / np.tanh(np.abs(since_s) / (2 * self.params.correlation_time_s))
        return np.where(fresh, 1.0, factor)

    def _refuse_bad(self, ues: Sequence[str], fixes: Float64, covariances: Float64) -> None:
        if not np.isfinite(fixes).all():
            ue = ues[int(np.argmax(~np.isfinite(fixes).all(axis=0)))]
            raise ValueError(f"position of {ue} is not finite")
        good = np.isfinite(kalman.cholesky(covariances)).all(axis=(0, 1))
        if not good.all():
            raise ValueError(f"covariance of {ues[int(np.argmin(good))]} is not positive definite")

    def _slot(self, ue: str) -> int:
        slot = self._slots.get(ue)
        if slot is not None:
            return slot
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._slots[ue] = slot
        return slot

    def _grow(self) -> None:
        old = self._now
        size = len(old.t_ns)
        self._now = _Columns.empty(max(2 * size, 16))
        self._now.put(np.arange(size), old)
        self._histories += [_History() for _ in range(len(self._now.t_ns) - size)]
        self._free = list(range(len(self._now.t_ns) - 1, size - 1, -1))

    def _prune(self, t_ns: int) -> None:
        """Free the memory of tracks that are no more, now and then."""
        if t_ns - self._pruned_ns < self.params.forget_after_ns:
            return
        self._pruned_ns = t_ns
        for ue, slot in list(self._slots.items()):
            if t_ns - int(self._now.t_ns[slot]) > self.params.forget_after_ns:
                del self._slots[ue]
                self._histories[slot] = _History()
                self._now.put(np.array([slot]), _Columns.empty(1))
                self._free.append(slot)
