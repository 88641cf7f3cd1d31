from pathlib import Path

import pytest

from nodes.policy import DeltaPolicy, FitPolicy, InnovationPolicy
from sim.errors import UserError
from sim.policies import link_of, policy_of
from sim.scenario import Scenario, ScenarioError
from sim.scenario.load import parse_scenario
from tests.sim.kit import run_quietly, scenario_of

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"


def scenario(*changes: str) -> Scenario:
    return Scenario.load(SCENARIOS / "spiral.yaml", changes)


def test_kinds() -> None:
    assert policy_of(scenario(), "bs1") is None
    assert isinstance(policy_of(scenario("bs.policy=fit"), "bs1"), FitPolicy)
    assert isinstance(
        policy_of(scenario("bs.policy={kind: innovation, bound: 2 m}"), "bs1"), InnovationPolicy
    )
    assert isinstance(policy_of(scenario("bs.policy={kind: delta, bound: 5 %}"), "bs1"), DeltaPolicy)


def test_a_base_station_knows_its_share_of_the_narrowest_segment() -> None:
    many = Scenario.load(SCENARIOS / "many_users.yaml", ["fronthaul.shared.core.capacity=12 Mbit/s"])
    assert link_of(many, "bs1").capacity_bps == 2e6
    assert link_of(many, "bs1").latency_ns == 1_000_000 + 200_000 + 500_000 + 500_000


def test_a_policy_of_ones_own(tmp_path: Path) -> None:
    text = (SCENARIOS / "spiral.yaml").read_text() + "\n"
    text = text.replace("bs: {processing: 2 ms}", "bs: {policy: {kind: file, file: own.py}}")
    (tmp_path / "own.py").write_text(
        "def policy(heard):\n    return None if heard.seq % 2 else heard.payload\n"
    )
    loaded = parse_scenario(text, folder=tmp_path)
    policy = policy_of(loaded, "bs1")
    assert policy is not None
    again = parse_scenario(loaded.to_yaml())  # needs no file any more
    assert again.digest() == loaded.digest()
    assert callable(policy_of(again, "bs1"))
    (tmp_path / "own.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(UserError, match=r"own.py: ModuleNotFoundError: "):
        policy_of(parse_scenario(text, folder=tmp_path), "bs1")
    (tmp_path / "own.py").unlink()
    with pytest.raises(ScenarioError, match="cannot be read: No such file"):
        parse_scenario(text, folder=tmp_path)


def test_a_maker_of_policies_that_makes_none(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def make_policy(bs, link):\n    pass\n")
    own = scenario(f"bs.policy={{kind: file, file: {tmp_path / 'own.py'}}}")
    with pytest.raises(UserError, match=r"make_policy\(bs, link\) must return a policy\(heard\), not None"):
        policy_of(own, "bs1")


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_a_policy_of_ones_own_may_keep_its_state_in_a_dataclass(future: str) -> None:
    source = f"""{future}
from dataclasses import dataclass
@dataclass
class State:
    heard: int = 0
def make_policy(bs, link):
    state = State()
    def policy(heard):
        state.heard += 1
        return heard.payload if state.heard % 2 else None
    return policy
"""
    own = scenario_of({"bs": {"policy": {"kind": "file", "source": source}}})
    frames = run_quietly(own).summary["frames"]
    assert frames["dropped"]["silent"] == frames["sent"] // 3  # of three, the second


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "def policy(heard):\n    return 1 / 0\n",
            "own.py: ZeroDivisionError at bs1, ue1#0: division by zero",
        ),
        ("def policy(heard):\n    return 5\n", "the policy of bs1 wants 5 for ue1#0: "),
        (
            "from nodes import Payload\ndef policy(heard):\n    return Payload(17, 10)\n",
            "the policy of bs1 wants Payload(bits=17, dims=10) for ue1#0: bits must be an integer",
        ),
        (
            "from nodes import Payload\ndef policy(heard):\n    return Payload(4, 9999)\n",
            "dims must be from 1 to 48, not 9999",
        ),
        (
            "from nodes import Payload\ndef policy(heard):\n    return Payload(4, heard.payload.dims / 2)\n",
            "dims must be an integer, not 24.0",
        ),
        (
            "from nodes import Payload\ndef policy(heard):\n    return Payload(True, 10)\n",
            "bits must be an integer, not True",
        ),
    ],
)
def test_a_policy_that_goes_wrong_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "own.py").write_text(text)
    own = scenario_of({"bs": {"policy": {"kind": "file", "file": str(tmp_path / "own.py")}}})
    with pytest.raises(UserError) as error:
        run_quietly(own)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
