"""What a viewer may ask of a run: a few commands, checked before they reach it."""

from dataclasses import dataclass
from typing import Any, Literal

from sim.faults import Aspect, FaultEvent, Setting, normal
from sim.scenario import Scenario

MIN_SPEED, MAX_SPEED = 0.05, 100.0
MAX_CAPACITY_BPS = 1e12

Action = Literal["bs_down", "bs_up", "link_down", "link_up", "throttle", "pause", "resume", "speed"]
ACTIONS: tuple[Action, ...] = (
    "bs_down",
    "bs_up",
    "link_down",
    "link_up",
    "throttle",
    "pause",
    "resume",
    "speed",
)
PACE: tuple[Action, ...] = ("pause", "resume", "speed")
"""Of these, what concerns no more than how time passes."""


class CommandError(ValueError):
    """A command that no run can carry out; the text says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """One request of a viewer.

    Attributes:
        action: what to do.
        target: BS or segment; empty for the run itself.
        to: bit/s for `throttle` (None: what the scenario says), a factor for `speed`; else None.
    """

    action: Action
    target: str = ""
    to: float | None = None

    def fault(self, scenario: Scenario, t_ns: int) -> FaultEvent | None:
        """What happens to the world at a time; None if the command concerns the pace only."""
        aspect: Aspect
        setting: Setting
        match self.action:
            case "bs_down" | "bs_up":
                aspect, setting = "bs", self.action == "bs_up"
            case "link_down" | "link_up":
                aspect, setting = "link", self.action == "link_up"
            case "throttle":
                tree, _ = scenario.fronthaul.laws()
                aspect = "capacity"
                setting = normal("capacity", self.target, tree) if self.to is None else self.to
            case _:
                return None
        return FaultEvent(t_ns, aspect, self.target, setting)


def command_of(content: Any, scenario: Scenario) -> Command:
    """Check what came over the wire.

    Args:
        content: decoded JSON: `{"do": action, "target": name, "to": number or null}`.
        scenario: names what there is.

    Raises:
        CommandError: it is no command for this scenario.
    """
    if not isinstance(content, dict) or not set(content) <= {"do", "target", "to"}:
        raise CommandError("a command is an object with do, target and to")
    action, target, to = content.get("do"), content.get("target", ""), content.get("to")
    if action not in ACTIONS:
        raise CommandError(f"do is one of {', '.join(ACTIONS)}")
    if target not in _targets(action, scenario):
        raise CommandError(f"target is one of {', '.join(_targets(action, scenario))}")
    if action == "throttle":
        if to is not None and not _is_between(to, 1, MAX_CAPACITY_BPS):
            raise CommandError(f"to is null or between 1 and {MAX_CAPACITY_BPS:.0e} bit/s")
    elif action == "speed":
        if not _is_between(to, MIN_SPEED, MAX_SPEED):
            raise CommandError(f"to is between {MIN_SPEED:g} and {MAX_SPEED:g}")
    elif to is not None:
        raise CommandError(f"{action} takes no to")
    return Command(action, target, None if to is None else float(to))


def _targets(action: Action, scenario: Scenario) -> tuple[str, ...]:
    if action in ("bs_down", "bs_up"):
        return scenario.bs_ids
    if action in ("link_down", "link_up", "throttle"):
        return tuple(scenario.fronthaul.laws()[0])
    return ("",)


def _is_between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
