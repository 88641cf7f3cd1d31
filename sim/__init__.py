"""Cooperative positioning over a modelled fronthaul, simulated end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.api import run
    from sim.scenario import Scenario, ScenarioError

__all__ = ["Scenario", "ScenarioError", "run"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import sim`` costs nothing."""
    if name in ("Scenario", "ScenarioError"):
        from sim import scenario

        return getattr(scenario, name)
    if name == "run":
        from sim.api import run

        return run
    raise AttributeError(f"module 'sim' has no attribute '{name}'")


def __dir__() -> list[str]:
    """What there is, the public names included before they are asked for: shells complete by it."""
    return sorted({*globals(), *__all__})
