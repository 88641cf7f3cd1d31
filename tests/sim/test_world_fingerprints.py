"""Shipped scenarios do what they did: times, entities, events, sizes and fates, on every machine."""

import json
from pathlib import Path

import pytest

from sim.clock import ns_from_s
from tests.sim.kit import FINGERPRINTS, shipped_run, shipped_scenarios


@pytest.mark.parametrize("path", shipped_scenarios(), ids=lambda path: path.stem)
def test_shipped_scenario_does_what_it_did(path: Path) -> None:
    result = shipped_run(path)
    frames = result.summary["frames"]
    assert frames["sent"] == frames["delivered"] + frames["in_flight"] + sum(frames["dropped"].values())
    assert result.summary["valid"]
    stored = json.loads(FINGERPRINTS.read_text())
    assert result.fingerprint == stored.get(path.stem), "if this is meant: scripts/update_fingerprints"


def test_every_fingerprint_belongs_to_a_scenario() -> None:
    assert set(json.loads(FINGERPRINTS.read_text())) == {path.stem for path in shipped_scenarios()}


def test_random_draws_reach_the_fingerprint() -> None:
    path = next(path for path in shipped_scenarios() if path.stem == "spiral")
    one = shipped_run(path, duration="2 s")
    other = shipped_run(path, duration="2 s", seed=2)
    assert one.fingerprint != other.fingerprint
    assert ns_from_s(one.summary["sim_time_s"]) == 2_000_000_000
