"""Follows a run in real time, whose pace its own clock sets, and lets viewers intervene."""

import time
from collections.abc import Mapping
from typing import Any

from sim.clock import NANOSECONDS_PER_SECOND
from sim.live.conductor import MAX_WAITING, TICK_S
from sim.live.control import Command
from sim.live.fates import FateFeed
from sim.live.feed import CountFeed, Feed, conclude_links
from sim.live.hub import Hub
from sim.realtime import RealtimeWorld
from sim.scenario import Scenario

LINKS_EVERY_NS = 500_000_000
"""The broker's heartbeat says no more often how its links are."""
REPORT_NS = 500_000_000
"""So late reports may reach the world before a snapshot counts as missed; later ones take that back."""


class Onlooker:
    """The feed and the controls of a run in real time.

    Args:
        scenario: what runs.
        hub: for the viewers.
    """

    def __init__(self, scenario: Scenario, hub: Hub) -> None:
        self._scenario = scenario
        self._hub = hub
        self._feed = Feed(scenario, self._publish, REPORT_NS)
        self._links: CountFeed | None = None
        self._fates: FateFeed | None = None
        self._world: RealtimeWorld | None = None
        self._told_s = 0.0
        self._speed = 1.0
        self._paused = False

    def submit(self, command: Command) -> bool:
        """Ask for something, from any thread; False if too much waits or the run is over."""
        world = self._world
        if world is None or world.requests.qsize() >= MAX_WAITING:
            return False
        world.requests.put(lambda there: self._obey(there, command))
        return True

    def begin(self, world: RealtimeWorld) -> None:
        """The run is about to start."""
        self._links = CountFeed(world.links, self._scenario, self._publish, LINKS_EVERY_NS)
        self._fates = FateFeed(world.ledger, self._publish, LINKS_EVERY_NS)
        world.listen(self._takes)
        self._world = world
        self._speed = world.pace.speed
        self._tell("running", 0)

    def passes(self, t_ns: int) -> None:
        """The run has come to a time."""
        now_s = time.monotonic()
        if now_s - self._told_s < TICK_S:
            return
        self._told_s = now_s
        assert self._links is not None
        assert self._fates is not None
        self._fates.look(t_ns)
        if self._links.look(t_ns):
            self._tell_health(t_ns)
        self._tell("running", t_ns)

    def end(self, summary: Mapping[str, Any]) -> None:
        """The run is over, one way or the other; the second time nothing happens."""
        world, self._world = self._world, None
        if world is not None:
            end_ns = min(max(0, world.clock.now_ns()), self._scenario.duration_ns)
            self._feed.conclude(summary, end_ns)
            if self._links is not None:
                conclude_links(self._links.said, summary, end_ns, self._publish)
            if self._fates is not None:
                self._fates.tell(end_ns)
            self._tell("ended", end_ns)

    def _takes(
        self, topic: str, content: Mapping[str, Any], *, t_sample_ns: int, t_ns: int, seq: int
    ) -> None:
        if topic.startswith("fault/") and self._links is not None:
            self._links.struck(content)
        self._feed.take(topic, content, t_sample_ns=t_sample_ns, t_ns=t_ns, seq=seq)

    def _obey(self, world: RealtimeWorld, command: Command) -> None:
        now_ns = max(0, world.clock.now_ns())
        fault = command.fault(self._scenario, now_ns)
        if fault is not None:
            world.intervene(fault)
            return
        if command.action == "speed":
            assert command.to is not None
            self._speed = command.to
        else:
            self._paused = command.action == "pause"
        world.turn(0.0 if self._paused else self._speed)
        self._tell("running", now_ns)

    def _tell_health(self, t_ns: int) -> None:
        world = self._world
        assert world is not None
        lag_s, processing_s = world.lag.quantile(0.99), world.processing.quantile(0.99)
        self._publish(
            "health", {"t": t_ns / NANOSECONDS_PER_SECOND, "lag": lag_s, "processing": processing_s}
        )

    def _tell(self, state: str, t_ns: int) -> None:
        if self._paused and state == "running":
            state = "paused"
        self._publish("run", {"t": t_ns / NANOSECONDS_PER_SECOND, "state": state, "speed": self._speed})

    def _publish(self, key: str, value: Mapping[str, Any]) -> None:
        self._hub.publish(key, value, latest_only=key in ("run", "faults", "totals", "health"))
