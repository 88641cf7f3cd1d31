from pathlib import Path

import numpy as np
import pytest

from broker.fronthaul import Fronthaul
from sim.city import HeightMap
from sim.faults import schedule
from sim.scenario import Scenario, load_scenario, parse_scenario

FOLDER = Path(__file__).parents[3] / "scenarios"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def shipped(request: pytest.FixtureRequest) -> Scenario:
    return load_scenario(request.param)


def test_there_are_the_promised_ones() -> None:
    assert {file.stem for file in FILES} >= {"spiral", "bs_dropout", "congested", "many_users", "street"}


def test_it_says_in_one_line_what_it_shows(shipped: Scenario) -> None:
    assert 20 < len(shipped.description) < 120
    assert shipped.description.endswith(".")


def test_its_resolved_form_is_equal(shipped: Scenario) -> None:
    again = parse_scenario(shipped.to_yaml())
    assert again.digest() == shipped.digest()
    assert again.name == shipped.name


def test_its_parts_can_be_built(shipped: Scenario) -> None:
    Fronthaul(*shipped.fronthaul.laws(), shipped.seed)
    assert all(0 <= event.t_ns < shipped.duration_ns for event in schedule(shipped))


def test_its_ues_stay_outdoors(shipped: Scenario) -> None:
    city = HeightMap.load(shipped.deployment.scene)
    assert city is not None
    for ue in shipped.ues:
        position = shipped.trajectory(ue).position_in_world_m(shipped.sample_times_ns(ue) / 1e9)
        assert city.is_outdoor(position).all(), ue


def test_its_trace_stays_small(shipped: Scenario) -> None:
    points = [
        shipped.trajectory(ue).position_in_world_m(shipped.sample_times_ns(ue) / 1e9) for ue in shipped.ues
    ]
    assert sum(len(position) for position in points) <= 1200
    assert len(np.unique(np.concatenate(points), axis=0)) > 100


def test_three_share_the_trace_of_the_spiral() -> None:
    ways = [
        load_scenario(FOLDER / f"{name}.yaml").trajectory("ue1")
        for name in ("spiral", "bs_dropout", "congested")
    ]
    t_s = np.arange(0, 30, 0.1)
    for way in ways[1:]:
        np.testing.assert_array_equal(way.position_in_world_m(t_s), ways[0].position_in_world_m(t_s))
