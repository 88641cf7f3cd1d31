import pytest

from sim.scenario import ScenarioError
from tests.sim.scenario.conftest import Load


def test_values_are_yaml(load: Load, minimal: str) -> None:
    scenario = load(
        minimal,
        "seed=7",
        "cu.deadline=20 ms",
        "ues.ue1.rate= 5 Hz",
        "ues.ue2={trajectory: {kind: random_walk, height: 2 m, speed: 1 m/s}, rate: 1 Hz}",
        "faults=[{at: 1 s, kind: bs_down, bs: bs1}]",
    )
    assert scenario.seed == 7
    assert scenario.cu.deadline == 0.02
    assert scenario.ues["ue1"].rate == 5.0
    assert scenario.ue_ids == ("ue1", "ue2")
    assert len(scenario.faults) == 1


def test_later_ones_win_and_may_go_into_earlier_ones(load: Load, minimal: str) -> None:
    scenario = load(
        minimal,
        "faults=[{at: 1 s, kind: bs_down, bs: bs1}]",
        "faults[0].at=2 s",
        "faults.0.bs=bs2",
        "fronthaul.links.bs3.capacity=1 Mbit/s",
        "fronthaul.links.bs3.latency=5 ms",
    )
    fault = scenario.faults[0]
    assert (fault.at, fault.target) == (2.0, "bs2")  # type: ignore[union-attr]
    assert scenario.fronthaul.links["bs3"].capacity == 1e6
    assert scenario.fronthaul.links["bs3"].latency == 5e-3


def test_a_name_opens_into_a_mapping(load: Load, minimal: str) -> None:
    scenario = load(
        minimal + "deployment: munich6\nclock: ue_unknown\n",
        "deployment.sites.bs3.position=[160 m, 0 m, 36.5 m]",
        "clock.bs_sync=1 ns",
    )
    assert scenario.deployment.site("bs3").position_in_world_m == (160.0, 0.0, 36.5)
    assert len(scenario.bs_ids) == 6
    assert (scenario.clock.kind, scenario.clock.bs_sync) == ("ue_unknown", 1e-9)


def test_the_same_from_python(load: Load, minimal: str) -> None:
    told = load(minimal, "cu.deadline=20 ms", "model.bits=6")
    assert load(minimal, cu__deadline="20 ms", model__bits=6).digest() == told.digest()
    assert load(minimal, **{"cu.deadline": "20 ms", "model": {"bits": 6}}).digest() == told.digest()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "override seed: expected key.path=value"),
        ("=3", "override =3: expected key.path=value"),
        (
            "model.per_bs.bs9.bits=3",
            "override model.per_bs.bs9.bits=3 model.per_bs.bs9: unknown base station 'bs9'; did you mean",
        ),
        ("a..b=3", "override a..b=3: 'a..b' is not a path such as cu.deadline"),
        ("seed=two", "override seed=two seed: must be a whole number, not 'two'"),
        (
            "cu.deadlin=1 s",
            (
                "override cu.deadlin=1 s cu.deadlin: unknown key; did you mean 'deadline'? "
                "allowed: deadline, min_bs, late, processing"
            ),
        ),
        ("duration.x=3", "override duration.x=3 duration: is '10 s', so it has no key 'x'"),
        (
            "faults[0].at=1 s",
            "override faults[0].at=1 s faults[0]: the list has no entries, so there is no '0'",
        ),
        ("ues.ue1.trajectory.from.3=1 m", "the list has entries 0 to 2, so there is no '3'"),
        ("cu={deadline: 1", "override cu={deadline: 1 cu: not YAML: expected"),
    ],
)
def test_a_mistake_names_the_override(override: str, message: str, load: Load, minimal: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        load(minimal, override)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
