"""The clock of a run by the wall: nanoseconds since its start, the same in all its processes."""

import time
from collections.abc import Sequence
from typing import NamedTuple, Self

NEVER_S = 1e9
"""For a time that does not come as long as nobody turns the clock on."""


class Leg(NamedTuple):
    """From a time of day on, run time passes at one speed: 0 while it stands still."""

    from_unix_ns: int
    t_ns: int
    speed: float


Plan = Sequence[Sequence[float]]
"""Legs as they travel: each three numbers, the oldest first."""


class WallClock:
    """Run time, from the time of day once and from the monotonic clock ever after.

    A step of the time of day after this clock was made does not move it. Hosts apart must agree on the time
    of day (NTP, PTP): what they differ by shows up as delay. The speed may change while it goes: whoever
    holds the same legs sees the same time.

    Args:
        epoch_unix_ns: time of day at which the run time is 0.
        speed: run seconds per second, positive.
    """

    def __init__(self, epoch_unix_ns: int, speed: float = 1.0) -> None:
        if not 0.0 < speed < float("inf"):
            raise ValueError(f"speed is {speed}, must be positive")
        self._legs = [Leg(epoch_unix_ns, 0, speed)]
        self._ahead_ns = ahead_ns()

    @classmethod
    def from_plan(cls, plan: Plan, before: "WallClock | None" = None) -> Self:
        """The clock with the legs of a plan.

        Args:
            plan: at least one leg.
            before: keeps what this clock knows of the time of day.
        """
        clock = cls(0)
        clock._legs = [Leg(int(leg[0]), int(leg[1]), float(leg[2])) for leg in plan]
        if before is not None:
            clock._ahead_ns = before._ahead_ns
        return clock

    def plan(self) -> list[list[float]]:
        """The last legs, for others to go by: that which holds, and all that are to come; two at least."""
        unix_ns = self._unix_ns()
        to_come = sum(leg.from_unix_ns > unix_ns for leg in self._legs)
        return [list(leg) for leg in self._legs[-max(2, to_come + 1) :]]

    def turn(self, speed: float, after_s: float = 0.0) -> None:
        """Let run time pass at another speed.

        Args:
            speed: run seconds per second; 0 stops the clock.
            after_s: seconds of the wall from now, so that others can be told before.
        """
        if not 0.0 <= speed < float("inf"):
            raise ValueError(f"speed is {speed}, must not be negative")
        unix_ns = max(self._unix_ns() + round(after_s * 1e9), self._legs[-1].from_unix_ns)
        self._legs.append(Leg(unix_ns, _at(self._legs[-1], unix_ns), speed))

    @property
    def speed(self) -> float:
        """Run seconds per second, by the last turn."""
        return self._legs[-1].speed

    def now_ns(self) -> int:
        """Nanoseconds of the run; negative before its start."""
        unix_ns = self._unix_ns()
        for leg in reversed(self._legs):
            if leg.from_unix_ns <= unix_ns:
                return _at(leg, unix_ns)
        return _at(self._legs[0], unix_ns)

    def seconds_until(self, t_ns: int) -> float:
        """How long to wait for a run time, in seconds of the wall; 0 if it has passed."""
        unix_ns = self._unix_ns()
        for leg, end_unix_ns in self._with_ends():
            if end_unix_ns is not None and (end_unix_ns <= unix_ns or _at(leg, end_unix_ns) < t_ns):
                continue
            if _at(leg, max(unix_ns, leg.from_unix_ns)) >= t_ns:
                return max(0.0, (leg.from_unix_ns - unix_ns) / 1e9)
            if leg.speed > 0.0:
                return max(0.0, (leg.from_unix_ns - unix_ns + (t_ns - leg.t_ns) / leg.speed) / 1e9)
        return NEVER_S

    def seconds_between(self, t_ns: int, later_ns: int) -> float:
        """How long run time took from one time to another in seconds of the wall, without standstill."""
        if later_ns < t_ns:
            return -self.seconds_between(later_ns, t_ns)
        seconds = 0.0
        for leg, end_unix_ns in self._with_ends():
            first_ns = t_ns if leg is self._legs[0] else max(t_ns, leg.t_ns)
            last_ns = later_ns if end_unix_ns is None else min(later_ns, _at(leg, end_unix_ns))
            if last_ns > first_ns and leg.speed > 0.0:
                seconds += (last_ns - first_ns) / leg.speed / 1e9
        return seconds

    def _with_ends(self) -> list[tuple[Leg, int | None]]:
        ends: list[int | None] = [leg.from_unix_ns for leg in self._legs[1:]]
        return list(zip(self._legs, [*ends, None], strict=True))

    def _unix_ns(self) -> int:
        return time.monotonic_ns() + self._ahead_ns


def ahead_ns(reads: int = 16) -> int:
    """How far the time of day is ahead of the monotonic clock.

    The two cannot be read at once, and a process that has to wait between them would be wrong by as much ever
    after: the reads that lie closest together count.
    """
    narrowest, found = -1, 0
    for _ in range(reads):
        before = time.monotonic_ns()
        unix_ns = time.time_ns()
        after = time.monotonic_ns()
        if narrowest < 0 or after - before < narrowest:
            narrowest, found = after - before, unix_ns - (before + after) // 2
    return found


def _at(leg: Leg, unix_ns: int) -> int:
    return leg.t_ns + int((unix_ns - leg.from_unix_ns) * leg.speed)
