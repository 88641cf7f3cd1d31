"""Scenario files: what is in them, and what is wrong with them."""

from sim.scenario.errors import ScenarioError
from sim.scenario.load import load_scenario, parse_scenario
from sim.scenario.scenario import Scenario

__all__ = ["Scenario", "ScenarioError", "load_scenario", "parse_scenario"]
