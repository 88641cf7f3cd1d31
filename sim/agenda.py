"""The clock of a run in virtual time: SimPy, counting integer nanoseconds."""

from collections.abc import Callable, Generator
from enum import IntEnum
from typing import Any

import simpy
from simpy.events import EventPriority


class Moment(IntEnum):
    """The order of what happens within one nanosecond.

    Faults strike first; what arrives at a deadline is in time.
    """

    FAULT = 1
    SAMPLE = 2
    PUBLISH = 3
    ARRIVE = 4
    DEADLINE = 5
    CLOSE = 6


class At(simpy.Event):
    """Happens at a time, among the other events of that nanosecond in the order of `Moment`."""

    def __init__(self, env: simpy.Environment, t_ns: int, moment: Moment) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        env.schedule(self, priority=EventPriority(moment), delay=t_ns - env.now)


class Agenda:
    """What will happen, and the time it is.

    SimPy's time is whatever numbers one gives it; with integers there is nothing to round, and two events of
    the same nanosecond are never a float's last digit apart.
    """

    def __init__(self) -> None:
        self._env = simpy.Environment(initial_time=0)
        self._failure: BaseException | None = None

    @property
    def now_ns(self) -> int:
        """The time since the start of the run."""
        return int(self._env.now)

    def at(self, t_ns: int, moment: Moment) -> At:
        """An event to yield in a process; `t_ns` must not have passed."""
        return At(self._env, t_ns, moment)

    def call(self, t_ns: int, moment: Moment, action: Callable[[], None]) -> None:
        """Do something at a time."""
        event = self.at(t_ns, moment)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: action())

    def process(self, steps: Generator[simpy.Event, Any, None]) -> None:
        """Start a SimPy process. What it raises, `run` raises, unchanged."""
        self._env.process(self._guarded(steps))

    def run(self, end_ns: int, each: Callable[[int], None] | None = None) -> None:
        """Let everything before `end_ns` happen.

        Args:
            end_ns: the run covers times from 0 up to but not including this.
            each: called with the time of each event before it happens.
        """
        while self._env.peek() < end_ns:
            if each is not None:
                each(int(self._env.peek()))
            self._env.step()
            if self._failure is not None:
                raise self._failure

    def _guarded(self, steps: Generator[simpy.Event, Any, None]) -> Generator[simpy.Event, Any, None]:
        # SimPy raises a copy of what a process raised, made from its arguments alone.
        try:
            yield from steps
        except BaseException as error:
            self._failure = error


class Alarm:
    """Rings at the next due time of something that says itself when that is.

    A due time that moves into the future leaves the alarm where it was: it then rings in vain, once.
    """

    def __init__(self, agenda: Agenda, moment: Moment, ring: Callable[[], None]) -> None:
        self._agenda = agenda
        self._moment = moment
        self._ring = ring
        self._due_ns: int | None = None

    def set(self, t_ns: int | None) -> None:
        """Ring at `t_ns`, or earlier if already set to; None changes nothing."""
        if t_ns is None or (self._due_ns is not None and self._due_ns <= t_ns):
            return
        self._due_ns = t_ns
        self._agenda.call(t_ns, self._moment, lambda: self._rings(t_ns))

    def _rings(self, t_ns: int) -> None:
        if self._due_ns == t_ns:
            self._due_ns = None
            self._ring()
