"""What fails when: a scenario's faults, scripted and random, as one list of timed events."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from broker.law import BernoulliLoss, Capacity, CapacityTrace, FronthaulLaw, Loss
from broker.streams import stream
from sim.clock import ns_from_s
from sim.scenario import Scenario
from sim.scenario.fault import (
    ANY,
    BsDown,
    CapacityChange,
    Fault,
    LatencyChange,
    LinkOutage,
    LossBurst,
    OfBs,
    RandomFault,
    RandomFaults,
)

Aspect = Literal["bs", "link", "capacity", "latency", "loss"]
Setting = bool | Capacity | int | Loss


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """One aspect of a base station or link takes a new setting.

    Attributes:
        t_ns: When, since the start of the run, ns.
        aspect: ``bs`` (a base station), else of a link: ``link``, ``capacity``, ``latency`` or ``loss``.
        target: Id of the base station or of the fronthaul's segment.
        setting: What holds from now on: up or not for ``bs`` and ``link``, bit/s (or a trace, or None for
            unlimited) for ``capacity``, ns for ``latency``, a law for ``loss``.
    """

    t_ns: int
    aspect: Aspect
    target: str
    setting: Setting

    @property
    def kind(self) -> str:
        """What happens, in one word: ``bs_down``, ``bs_up``, ``link_down``, ``capacity`` and so on."""
        if self.aspect in ("bs", "link"):
            return f"{self.aspect}_{'up' if self.setting else 'down'}"
        return self.aspect

    @property
    def detail(self) -> str:
        """The setting as text, the same on every machine; empty where the kind says it all."""
        if self.aspect in ("bs", "link"):
            return ""
        return text_of(self.setting)

    @property
    def change(self) -> dict[str, Any]:
        """Keywords for ``Fronthaul.change``; empty for a base station."""
        names = {"link": "up", "capacity": "capacity_bps", "latency": "latency_ns", "loss": "loss"}
        return {names[self.aspect]: self.setting} if self.aspect in names else {}


@dataclass(frozen=True, slots=True)
class Spell:
    """One fault from its beginning to its end."""

    start_ns: int
    stop_ns: float
    aspect: Aspect
    target: str
    setting: Setting


def schedule(scenario: Scenario) -> tuple[FaultEvent, ...]:
    """All events of a scenario's faults within the run, in order of time.

    Where faults of one aspect of one target overlap, the one that began last holds; when the last of them
    ends, the setting is again what the scenario says without faults. Events change something, always.
    """
    tree, _ = scenario.fronthaul.laws()
    together: defaultdict[tuple[Aspect, str], list[Spell]] = defaultdict(list)
    for spell in spells(scenario):
        together[spell.aspect, spell.target].append(spell)
    events = [
        event
        for (aspect, target), overlapping in together.items()
        for event in changes(overlapping, normal(aspect, target, tree))
        if event.t_ns < scenario.duration_ns
    ]
    return tuple(sorted(events, key=lambda event: (event.t_ns, event.aspect, event.target)))


def spells(scenario: Scenario) -> Iterator[Spell]:
    """Every fault from beginning to end, the random ones drawn."""
    seen: Counter[str] = Counter()
    for entry in scenario.faults:
        if not isinstance(entry, RandomFaults):
            stop_s = math.inf if entry.lasts is None else entry.at + entry.lasts
            yield spell(entry, entry.target, entry.at, stop_s)
            continue
        fault = entry.random
        name = f"{fault.kind}:{fault.target}"
        yield from drawn(scenario, fault, name, seen[name])
        seen[name] += 1


def drawn(scenario: Scenario, fault: RandomFault, name: str, number: int) -> Iterator[Spell]:
    """The spells of one random fault: a Poisson process, each spell at a target drawn for it."""
    random = stream(scenario.seed, "fault", name, number)
    targets = scenario.bs_ids if isinstance(fault, OfBs) else (*scenario.bs_ids, *scenario.fronthaul.shared)
    t_s = random.exponential(fault.every)
    while t_s < scenario.duration:
        drawn_target = targets[int(random.integers(len(targets)))]
        yield spell(fault, drawn_target if fault.target == ANY else fault.target, t_s, t_s + fault.lasts)
        t_s += random.exponential(fault.every)


def spell(fault: Fault, target: str, start_s: float, stop_s: float) -> Spell:
    """One fault of one target between two times."""
    aspect, setting = effect(fault)
    stop_ns = math.inf if math.isinf(stop_s) else ns_from_s(stop_s)
    return Spell(ns_from_s(start_s), stop_ns, aspect, target, setting)


def effect(fault: Fault) -> tuple[Aspect, Setting]:
    """Which aspect a fault changes, and to what."""
    match fault:
        case BsDown():
            return "bs", False
        case LinkOutage():
            return "link", False
        case CapacityChange():
            return "capacity", fault.to
        case LatencyChange():
            return "latency", ns_from_s(fault.to)
        case LossBurst():
            return "loss", BernoulliLoss(fault.rate)
    assert_never(fault)


def normal(aspect: Aspect, target: str, tree: dict[str, tuple[FronthaulLaw, str | None]]) -> Setting:
    """The setting without faults."""
    match aspect:
        case "bs" | "link":
            return True
        case "capacity":
            return tree[target][0].capacity_bps
        case "latency":
            return tree[target][0].latency_ns
        case "loss":
            return tree[target][0].loss
    assert_never(aspect)


def changes(overlapping: list[Spell], without: Setting) -> Iterator[FaultEvent]:
    """The events of all spells of one aspect of one target."""
    now = without
    to_begin = deque(sorted(overlapping, key=lambda one: one.start_ns))
    active: list[Spell] = []
    for t_ns in sorted({edge for one in overlapping for edge in (one.start_ns, one.stop_ns)}):
        if math.isinf(t_ns):
            return
        while to_begin and to_begin[0].start_ns <= t_ns:
            active.append(to_begin.popleft())
        active = [one for one in active if one.stop_ns > t_ns]
        setting = active[-1].setting if active else without
        if setting != now:
            yield FaultEvent(int(t_ns), overlapping[0].aspect, overlapping[0].target, setting)
            now = setting


def text_of(setting: Setting) -> str:
    """A setting as text, the same on every machine."""
    if setting is None:
        return "unlimited"
    if isinstance(setting, CapacityTrace):
        return "trace"
    if isinstance(setting, int | float):
        return f"{setting:.0f}"
    return f"{setting.kind} {setting.rate:.6g}"
