"""What a page needs to know of a run before anything happens: places, links, the city."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from broker.law import Capacity, CapacityTrace
from sim.city import HeightMap
from sim.live.feed import WATCHED_UES
from sim.report.city import ATTRIBUTION
from sim.scenario import Scenario

Mode = Literal["live", "recorded"]
CITY_SCALE_M = 0.01


def setting_of(scenario: Scenario, mode: Mode) -> dict[str, Any]:
    """The setting of a scenario as JSON."""
    return {
        "mode": mode,
        "scenario": scenario.name,
        "description": scenario.description,
        "duration_s": scenario.duration,
        "latest_s": scenario.cu.deadline + scenario.cu.processing,
        "ues": list(scenario.ue_ids[:WATCHED_UES]),
        "ues_in_all": len(scenario.ue_ids),
        "sites": [{"bs": site.bs, "p": list(site.position_in_world_m)} for site in scenario.deployment.sites],
        "links": list(_links(scenario)),
        "city": _city(HeightMap.load(scenario.deployment.scene)),
    }


def city_bytes(scenario: Scenario) -> bytes:
    """Heights of the city in `CITY_SCALE_M`, unsigned 16 bit, little-endian, row after row; empty without."""
    city = HeightMap.load(scenario.deployment.scene)
    if city is None:
        return b""
    return np.clip(np.round(city.height_m / CITY_SCALE_M), 0, 65535).astype("<u2").tobytes()


def _city(city: HeightMap | None) -> dict[str, Any] | None:
    if city is None:
        return None
    rows, columns = city.height_m.shape
    return {
        "nx": columns,
        "ny": rows,
        "x0": city.x0_m,
        "y0": city.y0_m,
        "step": city.step_m,
        "scale": CITY_SCALE_M,
        "attribution": ATTRIBUTION,
    }


def _links(scenario: Scenario) -> Iterator[dict[str, Any]]:
    tree, attached = scenario.fronthaul.laws()
    for name, (law, parent) in tree.items():
        bs = [bs for bs, segment in attached.items() if segment == name]
        yield {
            "name": name,
            "bs": bs[0] if bs else None,
            "parent": parent,
            "capacities": _capacities(law.capacity_bps),
        }


def _capacities(capacity: Capacity) -> list[float | None]:
    """All that a link has by the scenario, in bit/s, that at the start first; None: unlimited."""
    return list(dict.fromkeys(capacity.capacities_bps)) if isinstance(capacity, CapacityTrace) else [capacity]
