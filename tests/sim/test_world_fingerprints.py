"""Shipped scenarios do what they did: times, entities, events, sizes and fates, on every machine."""

import json
from pathlib import Path

import pytest

from models.runtime import WEIGHTS
from sim import Scenario, run
from sim.clock import ns_from_s
from tests.sim.kit import FINGERPRINTS, ROOT, shipped_run, shipped_scenarios

SPIRAL = ROOT / "scenarios" / "spiral.yaml"
needs_weights = pytest.mark.skipif(
    not (WEIGHTS / "ecc-r").is_dir(), reason="the shipped weights are not there"
)


@pytest.mark.parametrize("path", shipped_scenarios(), ids=lambda path: path.stem)
def test_shipped_scenario_does_what_it_did(path: Path) -> None:
    result = shipped_run(path)
    frames = result.summary["frames"]
    assert frames["sent"] == frames["delivered"] + frames["in_flight"] + sum(frames["dropped"].values())
    assert result.summary["valid"]
    stored = json.loads(FINGERPRINTS.read_text())
    assert result.fingerprint == stored.get(path.stem), "if this is meant: scripts/update_fingerprints"


@needs_weights
def test_a_real_run_has_the_fingerprint_of_its_double() -> None:
    real = run(Scenario.load(SPIRAL, duration="3 s"))
    assert real.fingerprint == shipped_run(SPIRAL, duration="3 s").fingerprint
    assert real.summary["payload_ratio"] == 776 * 10 / 122_880


@needs_weights
def test_real_weights_give_one_digest_over_every_transport() -> None:
    runs = [
        run(Scenario.load(SPIRAL, duration="2 s", transport=one))
        for one in ("inproc", "ipc", "tcp", "inproc")
    ]
    assert len({result.digest for result in runs}) == 1
    assert len({result.fingerprint for result in runs}) == 1


def test_every_fingerprint_belongs_to_a_scenario() -> None:
    assert set(json.loads(FINGERPRINTS.read_text())) == {path.stem for path in shipped_scenarios()}


def test_random_draws_reach_the_fingerprint() -> None:
    one = shipped_run(SPIRAL, duration="2 s")
    other = shipped_run(SPIRAL, duration="2 s", seed=2)
    assert one.fingerprint != other.fingerprint
    assert ns_from_s(one.summary["sim_time_s"]) == 2_000_000_000
