import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.fronthaul import Fronthaul
from broker.law import BernoulliLoss, CapacityTrace, FronthaulLaw, GilbertElliottLoss, NormalJitter
from sim.deployment import MUNICH6
from sim.scenario import Scenario, parse_scenario
from sim.scenario.document import by_ruamel, dump
from tests.sim.scenario.conftest import MINIMAL, Load

FULL = """\
name: everything
description: One of each.
seed: 3
duration: 1 min
deployment:
  preset: munich6
  sites: {bs3: {position: [160 m, 0 m, 36.5 m]}, bs6: null}
  radio: {power: 20 dBm}
clock: {kind: synchronised, bs_sync: 0 s}
ues:
  a: {rate: 3 Hz, start: 100 ms, stop: 2 s, trajectory: {kind: random_walk, height: 1.5 m, speed: 1 m/s}}
  b: {rate: 1 Hz, trajectory: {kind: csv, file: way.csv}}
  c:
    trajectory: {kind: waypoints, points: [[40 m, 80 m, 2 m], [50 m, 80 m, 2 m]], speed: 5.4 km/h}
    rate: 1 Hz
  d: {rate: 1 Hz, trajectory: {kind: line, from: [40 m, 80 m, 2 m], to: [50 m, 80 m, 2 m], duration: 7 s}}
model: {name: ecc-r, bits: 8, dims: 512, per_bs: {bs3: {bits: 6}}}
fronthaul:
  overhead: 60 B
  default: {capacity: 10 Mbit/s, latency: 1 ms, jitter: {kind: normal, sigma: 0.1 ms}, queue: 64 KiB}
  links:
    bs1: {capacity: [[0 s, 1 Mbit/s], [5 s, 0 bit/s], [6 s, 1 Mbit/s]], keep_order: true}
    bs2: {capacity: unlimited, discipline: freshest, cross_traffic: {kind: poisson, rate: 5 Mbit/s}}
    bs4: {loss: {kind: gilbert_elliott, to_bad: 1 %, to_good: 30 %}, outages: [{at: 1 s, for: 2 s}]}
  shared:
    left: {capacity: 5 Mbit/s, members: [bs1, bs2]}
    all: {members: [left, bs3, bs4, bs5]}
cu: {deadline: 30 ms, late: retrodict}
faults:
  - {at: 1 s, kind: capacity, link: all, to: 1 Mbit/s, for: 3 s}
  - {at: 1 s, kind: latency, link: bs1, to: 9 ms}
  - {random: {kind: loss_burst, link: any, rate: 50 %, every: 5 s, for: 1 s}}
transport: tcp
"""


@pytest.fixture
def full(load: Load) -> Scenario:
    Path("way.csv").write_text("t_s,x_m,y_m,z_m\n10.5,40,80,1.5\n12,43,80,1.5\n13,43,80.1,2\n")
    return load(FULL)


def test_defaults_are_those_of_the_reference(load: Load) -> None:
    scenario = load(MINIMAL)
    assert scenario.name == "s"
    assert scenario.deployment == MUNICH6
    assert scenario.bs_ids == ("bs1", "bs2", "bs3", "bs4", "bs5", "bs6")
    assert (scenario.clock.kind, scenario.clock.ue_offset, scenario.clock.bs_sync) == (
        "ue_unknown",
        100e-9,
        5e-9,
    )
    assert (scenario.cu.deadline, scenario.cu.min_bs, scenario.cu.late) == (0.05, 2, "drop")
    assert (scenario.model.name, scenario.model.bits) == ("ecc-r", None)
    tree, attach = scenario.fronthaul.laws()
    assert tree == dict.fromkeys(scenario.bs_ids, (FronthaulLaw(), None))
    assert attach == {bs: bs for bs in scenario.bs_ids}


def test_the_resolved_scenario_is_equal_and_needs_no_other_file(full: Scenario) -> None:
    text = full.to_yaml()
    Path("way.csv").unlink()
    again = parse_scenario(text)
    assert again.to_yaml() == text
    assert again.digest() == full.digest()
    assert again.bs_ids == full.bs_ids


def test_values_are_in_si(full: Scenario) -> None:
    assert full.duration == 60.0
    assert full.duration_ns == 60_000_000_000
    assert full.ues["c"].trajectory.speed == pytest.approx(1.5)  # type: ignore[union-attr]
    assert full.deployment.name == "custom"
    assert full.bs_ids == ("bs1", "bs2", "bs3", "bs4", "bs5")
    assert full.deployment.site("bs3").position_in_world_m == (160.0, 0.0, 36.5)
    assert full.deployment.radio.ue_power_dbm == 20.0
    assert full.deployment.radio.carrier_hz == 3.5e9
    assert full.model.message_of("bs3").bits == 6
    assert full.model.message_of("bs3").dims == 512
    assert full.model.message_of("bs1").bits == 8


def test_laws_are_the_default_with_what_a_link_changes(full: Scenario) -> None:
    tree, attach = full.fronthaul.laws()
    assert {name: parent for name, (_, parent) in tree.items()} == {
        "bs1": "left",
        "bs2": "left",
        "bs3": "all",
        "bs4": "all",
        "bs5": "all",
        "left": "all",
        "all": None,
    }
    default = FronthaulLaw(10e6, 1_000_000, NormalJitter(100_000), queue_bytes=65_536)
    assert tree["bs5"][0] == tree["bs3"][0] == default
    assert tree["bs1"][0].capacity_bps == CapacityTrace(
        (0, 5_000_000_000, 6_000_000_000), (1_000_000, 0, 1_000_000)
    )
    assert tree["bs1"][0].keep_order
    assert tree["bs2"][0].capacity_bps is None
    assert tree["bs2"][0].latency_ns == 1_000_000
    assert tree["bs2"][0].cross_traffic is not None
    assert tree["bs4"][0].loss == GilbertElliottLoss(0.01, 0.3)
    assert tree["bs4"][0].outages == ((1_000_000_000, 3_000_000_000),)
    assert tree["left"][0] == FronthaulLaw(capacity_bps=5e6)
    Fronthaul(tree, attach, full.seed)


def test_the_digest_is_of_what_matters(load: Load) -> None:
    digest = load(MINIMAL).digest()
    assert load(MINIMAL.replace("10 s", "10000 ms") + "# a comment\nname: other\n").digest() == digest
    assert load(MINIMAL + "description: another\nclock: {kind: ue_unknown}\n").digest() == digest
    assert load(MINIMAL, "seed=2").digest() != digest
    assert load(MINIMAL, "fronthaul.links.bs2.latency=1 ns").digest() != digest


def test_a_csv_file_counts_by_its_content(full: Scenario, load: Load) -> None:
    Path("way.csv").write_text("10.5,40,80,1.5\n12,43,80,1.5\n13,43,80.2,2\n")
    assert load(FULL).digest() != full.digest()


def test_a_csv_trajectory_sets_off_at_its_first_time(full: Scenario) -> None:
    way = full.trajectory("b")
    t_s = np.array([0.0, 0.75, 1.5, 2.5, 60.0])
    np.testing.assert_allclose(
        way.position_in_world_m(t_s),
        [[40, 80, 1.5], [41.5, 80, 1.5], [43, 80, 1.5], [43, 80.1, 2], [43, 80.1, 2]],
    )


def test_a_ue_sets_off_when_it_starts_and_stops_in_time(full: Scenario) -> None:
    times = full.sample_times_ns("a")
    assert times.dtype == np.int64
    assert times[0] == 100_000_000
    assert times[1] == 433_333_333
    assert times[-1] < 2_000_000_000
    assert len(times) == 6


@given(
    rate=st.floats(0.1, 1e4),
    start=st.floats(0, 0.9),
    duration=st.floats(1.0, 3.0),
)
def test_samples_are_evenly_spaced_up_to_the_end(rate: float, start: float, duration: float) -> None:
    scenario = parse_scenario(
        MINIMAL.replace("10 Hz", f"{rate!r} Hz").replace("10 s", f"{duration!r} s")
        + f"    start: {start!r} s\n"
    )
    times = scenario.sample_times_ns("ue1")
    start_ns = round(start * 1e9)
    assert times[0] == start_ns
    assert times[-1] < scenario.duration_ns
    assert times[-1] + 1e9 / rate > scenario.duration_ns - 1
    expected = start_ns + np.arange(len(times)) * 1e9 / rate
    assert np.abs(times - expected).max() <= 1
    assert math.isclose(len(times), (scenario.duration_ns - start_ns) * rate / 1e9, abs_tol=1.0001)


def test_walks_differ_by_ue_and_seed_and_never_by_other_ues(load: Load) -> None:
    walk = "{kind: random_walk, height: 1.5 m, speed: 1.4 m/s}"
    base = f"duration: 20 s\nues:\n  a: {{rate: 1 Hz, trajectory: {walk}}}\n"
    t_s = np.linspace(0, 20, 50)

    def way(scenario: Scenario, ue: str) -> list[list[float]]:
        return scenario.trajectory(ue).position_in_world_m(t_s).tolist()  # type: ignore[no-any-return]

    alone = load(base)
    together = load(base + f"  b: {{rate: 1 Hz, trajectory: {walk}}}\n")
    assert way(alone, "a") == way(together, "a")
    assert way(together, "a") != way(together, "b")
    assert way(alone, "a") != way(load(base, "seed=2"), "a")


def test_bernoulli_loss_is_a_share(load: Load) -> None:
    scenario = load(MINIMAL, "fronthaul.default.loss={kind: bernoulli, rate: 0.1 %}")
    assert scenario.fronthaul.laws()[0]["bs1"][0].loss == BernoulliLoss(0.001)


def test_a_scenario_does_not_change(load: Load) -> None:
    scenario = load(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        scenario.seed = 2


def test_one_line_ends_and_anchors_are_understood(load: Load) -> None:
    text = (
        MINIMAL.replace("trajectory: {", "trajectory: &way {") + "  ue2: {rate: 0o12 Hz, trajectory: *way}\n"
    )
    scenario = load(text.replace("0o12 Hz", "5 Hz").replace("\n", "\r\n"), "seed=0x10")
    assert scenario.ues["ue2"].trajectory == scenario.ues["ue1"].trajectory
    assert scenario.seed == 16


CROWD = """\
duration: 10 s
ues:
  crowd: {count: 3, stagger: 100 ms, start: 1 s, rate: 1 Hz, trajectory: WAY}
  other: {rate: 1 Hz, trajectory: {kind: random_walk, height: 1.5 m, speed: 1 m/s}}
""".replace("WAY", "{kind: line, from: [40 m, 80 m, 2 m], to: [50 m, 80 m, 2 m], duration: 7 s}")


def test_ues_that_are_described_together_start_one_after_the_other(load: Load) -> None:
    scenario = load(CROWD)
    assert scenario.ue_ids == ("crowd-1", "crowd-2", "crowd-3", "other")
    assert [scenario.ues[ue].start for ue in scenario.ue_ids] == pytest.approx([1.0, 1.1, 1.2, 0.0])
    first, last = (scenario.trajectory(ue) for ue in ("crowd-1", "crowd-3"))
    np.testing.assert_allclose(
        first.position_in_world_m(np.array([4.0])), last.position_in_world_m(np.array([4.2]))
    )
    assert parse_scenario(scenario.to_yaml()) == scenario


def test_one_of_a_count_of_one_has_a_number_too(load: Load) -> None:
    assert load(CROWD.replace("count: 3, stagger: 100 ms", "count: 1")).ue_ids == ("crowd-1", "other")


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "on",
        "null",
        "true",
        "1e3",
        "12",
        "0x1f",
        "a: b",
        "- a",
        "#a",
        "",
        " a",
        "a ",
        "é",
        "1:30",
        "x" * 200,
        "a\nb",
    ],
)
def test_texts_are_written_as_ruamel_writes_them(text: str) -> None:
    mapping: dict[str, Any] = {
        "plain": {"text": text, "more": [text, "2 ms"], "points": [["1 m", "-2.5 m"], [text]]},
        "quantities": ["1 m", "2.25 m", "30 m"],
        "ways": [["1 m", "-2 m"], ["3 m", "4 m"]],
        "numbers": {"one": 1, "half": -0.5, "small": 1e-9, "yes": True, "nothing": [], "empty": {}},
        "faults": [{"at": "0.1 s", "kind": "bs_down"}, {"at": "1 s", "kind": "link_outage"}],
    }
    if text:
        mapping[text] = {"key": "2 ms"}
    assert dump(mapping) == by_ruamel(mapping)
