"""Sets the pace of a run that is watched, tells the hub what happens, and lets viewers intervene.

The run's own thread calls `begin`, `takes`, `passes` and `end`; `submit` may be called from any other.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from threading import Condition
from typing import Any, cast

from broker.fronthaul import Fronthaul
from sim.clock import NANOSECONDS_PER_SECOND
from sim.interruption import Interruption, interruption_in_charge
from sim.live.control import Command
from sim.live.fates import FateFeed, Ledger
from sim.live.feed import LINK_EVERY_NS, CountFeed, Feed, LinkFeed, RemoteLinks, conclude_links
from sim.live.hub import Hub
from sim.live.recording import RecordedLinks
from sim.scenario import Scenario
from sim.world import World

TICK_S = 0.1
"""How often viewers are told the time while nothing happens."""
MAX_BEHIND_S = 0.25
"""A run that falls behind by more than this does not try to catch up."""
MAX_WAITING = 64


class Conductor:
    """A run's pace, its feed and its controls.

    Args:
        scenario: what runs.
        hub: for the viewers.
        speed: simulated seconds per second; `math.inf` lets the run go as fast as it can.
        clock: gives seconds that never go back.
    """

    def __init__(
        self,
        scenario: Scenario,
        hub: Hub,
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scenario = scenario
        self._hub = hub
        self._feed = Feed(scenario, self.publish)
        self._links: LinkFeed | CountFeed | RecordedLinks | None = None
        self._fates: FateFeed | None = None
        self._world: World | None = None
        self._clock = clock
        self._interruption: Interruption | None = None
        self._changed = Condition()
        self._waiting: deque[Command] = deque()
        self._speed = speed
        self._paused = False
        self._now_ns = 0
        self._from_ns, self._from_s = 0, clock()
        self._told_s = -math.inf
        self._state = "running"

    def submit(self, command: Command) -> bool:
        """Ask for something, from any thread; False if too much is waiting or the run is over."""
        with self._changed:
            if self._state == "ended" or len(self._waiting) >= MAX_WAITING:
                return False
            self._waiting.append(command)
            self._changed.notify()
        return True

    # On the run's thread.

    def begin(self, world: World) -> None:
        """The run starts."""
        self._world = world
        law: object = world.fronthaul
        if isinstance(law, Fronthaul):
            self._start(LinkFeed(law, self.publish), world.ledger)
        else:
            links = CountFeed(cast(RemoteLinks, law), self._scenario, self.publish, LINK_EVERY_NS)
            self._start(links, world.ledger)

    def begin_again(self, links: RecordedLinks, ledger: Ledger) -> None:
        """A recorded run starts again: its pace can be set, but not what happens."""
        self._start(links, ledger)

    def _start(self, links: LinkFeed | CountFeed | RecordedLinks, ledger: Ledger) -> None:
        self._interruption = interruption_in_charge()
        self._links, self._fates = links, FateFeed(ledger, self.publish)
        self._anchor(0)
        self._tell()

    def takes(self, topic: str, content: Mapping[str, Any], *, t_sample_ns: int, t_ns: int, seq: int) -> None:
        """Something is recorded: a truth, fix, track or fault."""
        if topic.startswith("fault/") and isinstance(self._links, LinkFeed | CountFeed):
            self._links.struck(content)
        self._feed.take(topic, content, t_sample_ns=t_sample_ns, t_ns=t_ns, seq=seq)

    def passes(self, t_ns: int) -> None:
        """Return when it is time for the events of `t_ns`; until then, carry out what viewers ask for."""
        before_ns = max(t_ns - 1, self._now_ns)
        with self._changed:
            while True:
                if self._interruption is not None:
                    self._interruption.look()
                here_ns = self._here_ns(before_ns)
                while self._waiting:
                    self._obey(self._waiting.popleft(), here_ns)
                if not self._paused and here_ns >= before_ns:
                    break
                self._now_ns = here_ns
                self._tell(now_and_then=True)
                self._changed.wait(self._patience_s(before_ns))
        self._now_ns = before_ns
        self._feed.expire(before_ns)
        if self._links is not None:
            self._links.glance(before_ns)
            self._links.look(before_ns)
        if self._fates is not None:
            self._fates.look(before_ns)
        self._tell(now_and_then=True)

    def end(self, summary: Mapping[str, Any]) -> None:
        """The run is over."""
        with self._changed:
            self._state = "ended"
            self._waiting.clear()
        self._now_ns = max(self._now_ns, round(summary.get("sim_time_s", 0) * NANOSECONDS_PER_SECOND))
        self._feed.conclude(summary, self._now_ns)
        if self._links is not None:
            conclude_links(self._links.said, summary, self._now_ns, self.publish)
        if self._fates is not None:
            self._fates.tell(self._now_ns)
        self._tell()

    def _here_ns(self, before_ns: int) -> int:
        """The time on the run's clock now, between the last event and the next."""
        if self._paused:
            return self._now_ns
        if math.isinf(self._speed):
            return before_ns
        passed_s = (self._clock() - self._from_s) * self._speed
        here_ns = self._from_ns + int(passed_s * NANOSECONDS_PER_SECOND)
        if here_ns - before_ns > MAX_BEHIND_S * self._speed * NANOSECONDS_PER_SECOND:
            self._anchor(before_ns)
        return min(max(here_ns, self._now_ns), before_ns)

    def _patience_s(self, before_ns: int) -> float:
        if self._paused:
            return TICK_S
        return min((before_ns - self._now_ns) / NANOSECONDS_PER_SECOND / self._speed + 1e-4, TICK_S)

    def _obey(self, command: Command, t_ns: int) -> None:
        fault = command.fault(self._scenario, t_ns)
        if fault is not None:
            if self._world is not None:
                self._world.intervene(fault)
            return
        if command.action == "speed":
            assert command.to is not None
            self._speed = command.to
        else:
            self._paused = command.action == "pause"
        self._anchor(t_ns)
        self._now_ns = t_ns
        self._tell()

    def _anchor(self, t_ns: int) -> None:
        """From here on, time passes at the present speed."""
        self._from_ns, self._from_s = t_ns, self._clock()

    def _tell(self, *, now_and_then: bool = False) -> None:
        now_s = self._clock()
        if now_and_then and now_s - self._told_s < TICK_S:
            return
        self._told_s = now_s
        state = "paused" if self._paused and self._state == "running" else self._state
        speed = None if math.isinf(self._speed) else self._speed
        self.publish("run", {"t": self._now_ns / NANOSECONDS_PER_SECOND, "state": state, "speed": speed})

    def publish(self, key: str, value: Mapping[str, Any]) -> None:
        """Tell viewers of a value."""
        self._hub.publish(key, value, latest_only=key in ("run", "faults", "totals"))
