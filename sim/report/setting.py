"""Where and under which conditions a run took place: what the figures show besides its results."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from broker.law import BernoulliLoss, Capacity, CapacityTrace
from sim.city import HeightMap
from sim.clock import s_from_ns
from sim.errors import UserError
from sim.faults import Spell, spells
from sim.run_folder import RunFolder
from sim.scenario import Scenario, load_scenario
from sim.summary_text import seconds


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """One fault: what failed, how, from when to when."""

    target: str
    how: str
    start_s: float
    stop_s: float

    def __str__(self) -> str:
        return f"{self.target}: {self.how}"


@dataclass(frozen=True, slots=True)
class LinkSetting:
    """A link to the CU: a BS's own, or a segment shared by several.

    Attributes:
        name: of the BS or the shared segment.
        members: the BSs whose frames it carries.
        capacity_bps: None if unlimited; of a capacity that varies, the greatest.
    """

    name: str
    members: tuple[str, ...]
    capacity_bps: float | None


@dataclass(frozen=True, slots=True)
class Setting:
    """What the scenario says about a run.

    Attributes:
        description: the scenario's own, or empty.
        duration_s: None if the scenario could not be read.
        sites_m: x and y of each BS.
        links: in the order of the BSs, shared segments last.
        faults: all that happened, in order.
        city: None if there is no height map of the scene.
        problem: why the scenario could not be read; empty if it could.
    """

    description: str = ""
    duration_s: float | None = None
    sites_m: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    links: tuple[LinkSetting, ...] = ()
    faults: tuple[FaultSpan, ...] = ()
    city: HeightMap | None = None
    problem: str = ""


def setting_of(folder: RunFolder, scenario: Scenario | None = None) -> Setting:
    """What a run's resolved scenario says, read if it is not at hand.

    A report without it is better than none, so problems are told in it.
    """
    try:
        scenario = load_scenario(folder.scenario_path) if scenario is None else scenario
    except UserError as error:
        return Setting(problem=str(error))
    return Setting(
        description=scenario.description,
        duration_s=scenario.duration,
        sites_m={
            site.bs: (site.position_in_world_m[0], site.position_in_world_m[1])
            for site in scenario.deployment.sites
        },
        links=_links(scenario),
        faults=_faults(scenario),
        city=HeightMap.load(scenario.deployment.scene),
    )


def _links(scenario: Scenario) -> tuple[LinkSetting, ...]:
    tree, attached = scenario.fronthaul.laws()

    def way(bs: str) -> Iterator[str]:
        segment: str | None = attached[bs]
        while segment is not None:
            yield segment
            segment = tree[segment][1]

    ways = {bs: tuple(way(bs)) for bs in attached}
    return tuple(
        LinkSetting(name, tuple(bs for bs, way in ways.items() if name in way), _greatest(law.capacity_bps))
        for name, (law, _) in tree.items()
    )


def _greatest(capacity: Capacity) -> float | None:
    return max(capacity.capacities_bps) if isinstance(capacity, CapacityTrace) else capacity


def _faults(scenario: Scenario) -> tuple[FaultSpan, ...]:
    """Faults drawn at random and scripted, and the outages that belong to a link's law."""
    end_ns = scenario.duration_ns
    faults = [
        FaultSpan(
            spell.target, _how(spell), s_from_ns(spell.start_ns), s_from_ns(int(min(spell.stop_ns, end_ns)))
        )
        for spell in spells(scenario)
    ]
    tree, _ = scenario.fronthaul.laws()
    faults += [
        FaultSpan(name, "link down", s_from_ns(start_ns), s_from_ns(min(stop_ns, end_ns)))
        for name, (law, _) in tree.items()
        for start_ns, stop_ns in law.outages
    ]
    return tuple(sorted(faults, key=lambda fault: (fault.start_s, fault.target)))


def _how(spell: Spell) -> str:
    match spell.aspect, spell.setting:
        case "bs", _:
            return "down"
        case "link", _:
            return "link down"
        case "capacity", int() | float() as capacity_bps:
            return f"capacity {bit_rate(capacity_bps)}"
        case "latency", int(latency_ns):
            return f"latency {seconds(s_from_ns(latency_ns))}"
        case "loss", BernoulliLoss(rate=rate):
            return f"loss {100 * rate:g} %"
    return spell.aspect


def bit_rate(bps: float) -> str:
    """A bit rate for the eye."""
    for factor, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bps >= factor:
            return f"{bps / factor:.3g} {unit}"
    return f"{bps:.3g} bit/s"
