"""Where and under which conditions a run took place: what the figures show besides its results."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sim.city import HeightMap
from sim.errors import UserError
from sim.run_folder import RunFolder
from sim.scenario import Scenario, load_scenario
from sim.scenario.fault import RandomFaults


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """One fault: what failed, from when to when, and in words how."""

    target: str
    kind: str
    start_s: float
    stop_s: float

    @property
    def is_outage(self) -> bool:
        """Whether nothing at all came through."""
        return self.kind in ("bs_down", "link_outage")

    def __str__(self) -> str:
        return f"{self.target}: {self.kind.replace('_', ' ')}"


@dataclass(frozen=True, slots=True)
class LinkSetting:
    """A link to the CU: a BS's own, or a segment shared by several.

    Attributes:
        name: of the BS or the shared segment.
        members: the BSs whose frames it carries.
        capacity_bps: None if unlimited.
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


def setting_of(folder: RunFolder) -> Setting:
    """Read a run's resolved scenario; a report without it is better than none, so problems are told in it."""
    try:
        scenario = load_scenario(folder.scenario_path)
    except UserError as error:
        return Setting(problem=str(error))
    return Setting(
        description=scenario.description,
        duration_s=scenario.duration,
        sites_m={
            site.bs: (site.position_in_world_m[0], site.position_in_world_m[1]) for site in scenario.deployment.sites
        },
        links=_links(scenario),
        faults=_faults(scenario),
        city=HeightMap.load(scenario.deployment.scene),
    )


def _links(scenario: Scenario) -> tuple[LinkSetting, ...]:
    fronthaul = scenario.fronthaul
    own = [LinkSetting(bs, (bs,), fronthaul.law_of(bs).capacity) for bs in scenario.bs_ids]
    parents = fronthaul.parents()

    def passes(bs: str, segment: str) -> bool:
        step = parents.get(bs)
        while step is not None and step != segment:
            step = parents.get(step)
        return step == segment

    shared = [
        LinkSetting(name, tuple(bs for bs in scenario.bs_ids if passes(bs, name)), segment.capacity)
        for name, segment in fronthaul.shared.items()
    ]
    return (*own, *shared)


def _faults(scenario: Scenario) -> tuple[FaultSpan, ...]:
    spans = []
    for fault in scenario.faults:
        if isinstance(fault, RandomFaults):
            continue
        stop_s = scenario.duration if fault.lasts is None else min(fault.at + fault.lasts, scenario.duration)
        spans.append(FaultSpan(fault.target, fault.kind, fault.at, stop_s))
    return tuple(sorted(spans, key=lambda span: (span.start_s, span.target)))
