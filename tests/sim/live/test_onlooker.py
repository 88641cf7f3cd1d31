"""A run in real time, watched: what its page is told, and what viewers may do."""

import queue
from types import SimpleNamespace
from typing import Any, cast

from broker.counts import Counts
from sim.faults import FaultEvent
from sim.live import Hub
from sim.live.control import Command
from sim.live.feed import CountFeed
from sim.live.onlooker import Onlooker
from sim.live.setting import setting_of
from sim.metrics import FrameCounts
from sim.realtime import RealtimeWorld
from tests.sim.kit import scenario_of

SCENARIO = scenario_of({})


class Links:
    """A law far away that has sent for half of the time."""

    def link_counts(self) -> dict[str, Counts]:
        return {bs: Counts(10, 7, 2, {"loss": 1}, 80_000, 56_000) for bs in SCENARIO.bs_ids}

    def utilisation(self) -> dict[str, float]:
        return dict.fromkeys(SCENARIO.bs_ids, 0.5)


class FarWorld:
    """As much of a `RealtimeWorld` as an onlooker needs."""

    def __init__(self) -> None:
        self.links = Links()
        self.ledger = SimpleNamespace(counts=FrameCounts(sent=60, delivered=56, dropped={"stale": 4}))
        self.pace = SimpleNamespace(speed=1.0)
        self.clock = SimpleNamespace(now_ns=lambda: 250_000_000)
        self.requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.struck: list[FaultEvent] = []
        self.turned: list[float] = []
        self.lag = self.processing = SimpleNamespace(quantile=lambda q: 0.003)

    def turn(self, speed: float) -> None:
        self.turned.append(speed)

    def listen(self, listener: Any) -> None:
        self.listener = listener

    def intervene(self, fault: FaultEvent) -> None:
        self.struck.append(fault)


def test_commands_reach_the_world_in_its_own_thread() -> None:
    world, onlooker = FarWorld(), Onlooker(SCENARIO, Hub())
    assert not onlooker.submit(Command("bs_down", "bs1"))
    onlooker.begin(cast(RealtimeWorld, world))
    assert onlooker.submit(Command("bs_down", "bs1"))
    assert world.struck == []
    world.requests.get_nowait()(world)
    assert world.struck == [FaultEvent(250_000_000, "bs", "bs1", False)]
    assert [onlooker.submit(Command("bs_up", "bs1")) for _ in range(100)].count(True) == 64
    onlooker.end({})
    assert not onlooker.submit(Command("bs_up", "bs1"))


def test_viewers_set_the_pace() -> None:
    world, hub = FarWorld(), Hub()
    onlooker = Onlooker(SCENARIO, hub)
    onlooker.begin(cast(RealtimeWorld, world))
    said = []
    with hub.view() as view:
        for command in (
            Command("pause"),
            Command("speed", to=4.0),
            Command("resume"),
            Command("speed", to=0.5),
        ):
            assert onlooker.submit(command)
            world.requests.get_nowait()(world)
            run = view.take()["run"]
            said.append((run["state"], run["speed"]))
    assert world.turned == [0.0, 0.0, 4.0, 0.5], "paused it stays, whatever the speed"
    assert said == [("paused", 1.0), ("paused", 4.0), ("running", 4.0), ("running", 0.5)]


def test_the_page_is_told_which_parts_are_lost() -> None:
    world, hub = FarWorld(), Hub()
    onlooker = Onlooker(SCENARIO, hub)
    onlooker.begin(cast(RealtimeWorld, world))
    with hub.view() as view:
        for kind, lost in (("bs2_lost", ["bs2"]), ("cu_lost", ["bs2", "cu"]), ("bs2_back", ["cu"])):
            entry = {"t_s": 0.5, "kind": kind, "target": kind[:-5], "detail": "died"}
            world.listener(f"fault/{kind[:-5]}/", entry, t_sample_ns=5, t_ns=5, seq=0)
            assert view.take()["faults"]["lost"] == lost


def test_the_page_is_told_of_the_end() -> None:
    world, hub = FarWorld(), Hub()
    onlooker = Onlooker(SCENARIO, hub)
    onlooker.begin(cast(RealtimeWorld, world))
    onlooker.passes(200_000_000)
    onlooker.end({})
    with hub.view() as view:
        assert view.history["run"][-1]["state"] == "ended"
        assert view.history["frames"] == [{"t": 0.25, "sent": 60, "dropped": 4, "causes": {"stale": 4}}]


def test_links_far_away_are_known_by_their_counts_and_what_was_done_to_them() -> None:
    told: dict[str, Any] = {}
    feed = CountFeed(Links(), SCENARIO, told.__setitem__, 100_000_000)
    feed.look(50_000_000)
    assert told == {}
    feed.struck({"t_s": 0.05, "target": "bs2", "kind": "link_down", "detail": ""})
    feed.struck({"t_s": 0.05, "target": "bs3", "kind": "capacity", "detail": "50000"})
    feed.struck({"t_s": 0.05, "target": "cu", "kind": "cu_lost", "detail": "died"})
    feed.look(100_000_000)
    assert told["link/bs1"] == {
        "t": 0.1,
        "load": 0.5,
        "queue": 2000,
        "up": True,
        "capacity": 10_000_000,
        "sent": 10,
        "delivered": 7,
        "dropped": 1,
        "causes": {"loss": 1},
    }
    assert not told["link/bs2"]["up"]
    assert told["link/bs3"]["capacity"] == 50_000
    feed.struck({"t_s": 0.15, "target": "bs2", "kind": "link_up", "detail": ""})
    assert (told["link/bs2"]["t"], told["link/bs2"]["up"]) == (0.15, True), "at once: the clock may be held"
    assert told["link/bs1"]["t"] == 0.15
    feed.struck({"t_s": 0.15, "target": "bs3", "kind": "capacity", "detail": "trace"})
    feed.look(200_000_000)
    assert told["link/bs2"]["up"]
    assert told["link/bs3"]["capacity"] == 10_000_000


def test_a_capacity_that_varies_is_told_as_it_is() -> None:
    trace = [["0 s", "2 Mbit/s"], ["1 s", "300 kbit/s"]]
    told: dict[str, Any] = {}
    scenario = scenario_of({"fronthaul": {"default": {"capacity": trace}}})
    feed = CountFeed(Links(), scenario, told.__setitem__, 100_000_000)
    feed.look(100_000_000)
    assert told["link/bs1"]["capacity"] == 2_000_000
    feed.look(1_000_000_000)
    assert told["link/bs1"]["capacity"] == 300_000
    feed.struck({"t_s": 1.1, "target": "bs1", "kind": "capacity", "detail": "unlimited"})
    assert told["link/bs1"]["capacity"] is None
    assert setting_of(scenario, "live")["links"][0]["capacities"] == [2_000_000, 300_000]


def test_links_have_their_last_word_at_the_end() -> None:
    world, hub = FarWorld(), Hub()
    onlooker = Onlooker(SCENARIO, hub)
    onlooker.begin(cast(RealtimeWorld, world))
    onlooker.passes(500_000_000)
    link = {"sent": 13, "delivered": 11, "in_flight": 0, "dropped": {"loss": 2}, "utilisation": 0.5}
    onlooker.end({"links": {"bs1": link}})
    with hub.view() as view:
        before, last = view.history["link/bs1"]
    counts = {"sent": 13, "delivered": 11, "dropped": 2, "causes": {"loss": 2}}
    assert last == {**before, **counts}
