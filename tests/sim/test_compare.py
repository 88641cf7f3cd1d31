"""All systems of the comparison from one command: trunks first, nothing twice, one budget for all."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.config import ConfigError
from models.path_table import PathTable
from models.systems.compared import ORDER
from sim.compare import LINES, changed_since, compare, read_folder, short_history
from sim.deployment import MUNICH6
from sim.errors import UserError
from sim.train import TrainOptions
from tests.models.kit import free_space, random_positions

CONFIGS = Path(__file__).resolve().parents[2] / "models" / "configs" / "compare"
BUDGET = 1_011_712
SMALL = "{width: 8, depth: 1, cu: paper, normed: true, token: 2, latent: 2, hidden: 8}"
TRUNK = f"name: trunk\nshape: {SMALL}\njoint: {{samples: 64, batch: 32}}\n"
BRANCH = f"name: branch\nafter: trunk\nshape: {SMALL}\njoint: {{samples: 128, batch: 32, decay: 64}}\n"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    (tmp_path / "configs" / "trunks").mkdir(parents=True)
    (tmp_path / "configs" / "trunks" / "trunk.yaml").write_text(TRUNK)
    (tmp_path / "configs" / "branch.yaml").write_text(BRANCH)
    return tmp_path / "configs"


def points(_config: object) -> tuple[PathTable, PathTable]:
    sites = [site.position_in_world_m for site in MUNICH6.sites]
    training, validation = (free_space(random_positions(50, seed), sites) for seed in (1, 2))
    return training, validation


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.CALIBRATED_ON", 64)
    monkeypatch.setattr("models.export.COVARIANCE_BATCHES", 1)
    monkeypatch.setattr("models.sampler.NOISE_POOL", 0)


@pytest.mark.usefixtures("quick")
def test_a_branch_is_trained_after_its_trunk_and_once(configs: Path, tmp_path: Path) -> None:
    out, lines = tmp_path / "out", list[object]()

    def run(**more: object) -> list[Path]:
        states = tmp_path / "states"
        return compare(configs, out, TrainOptions(), states=states, points=points, report=lines.append)

    assert run() == [out / "branch"]
    assert [str(line).split(":")[0] for line in lines if "parameters" in str(line)] == ["branch", "trunk"][
        ::-1
    ]
    page = json.loads((out / "branch" / "model.json").read_text())
    assert (page["samples_trained"], page["ended"], page["config"]["after"]) == (128, True, "trunk")
    lines.clear()
    assert run() == []
    assert lines == ["branch: there already"]
    (configs / "branch.yaml").write_text(BRANCH.replace("128", "192"))
    assert run() == [out / "branch"]
    assert json.loads((out / "branch" / "model.json").read_text())["samples_trained"] == 192


@pytest.mark.usefixtures("quick")
def test_what_another_configuration_has_trained_is_not_gone_on_with(configs: Path, tmp_path: Path) -> None:
    """It would end as a mixture of both, with the budget of neither."""
    states, lines = tmp_path / "states", list[str]()

    def run(out: str) -> dict[str, Any]:
        folder = compare(
            configs, tmp_path / out, TrainOptions(), states=states, points=points, report=lines.append
        )[0]
        page: dict[str, Any] = json.loads((folder / "model.json").read_text())
        return page

    first = run("first")
    (configs / "branch.yaml").write_text(BRANCH.replace("decay: 64", "decay: 32"))
    lines.clear()
    run("other")
    assert [line.split(";")[0] for line in lines if "anew" in line] == ["branch: starting anew"]
    assert (states / "branch.before.pt").is_file()
    (configs / "branch.yaml").write_text(BRANCH + "about: says more\n")
    lines.clear()
    again = run("again")
    assert [line.split(";")[0] for line in lines if "anew" in line] == ["branch: starting anew"]
    assert again["files"] == first["files"]
    (configs / "branch.yaml").write_text(BRANCH + "about: says still more\n")
    lines.clear()
    run("last")
    assert not [line for line in lines if "anew" in line]


CHANGED_TRUNK = TRUNK.replace("samples: 64", "samples: 96")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("exported", [True, False], ids=["exported", "state alone"])
def test_a_changed_trunk_starts_its_branches_anew(configs: Path, tmp_path: Path, *, exported: bool) -> None:
    """Those of branches too; what did not go on from it stays, and so does a trunk that only says more."""
    limb = "name: limb\nafter: branch\n" + BRANCH.split("\n", 2)[2].replace("128", "160")
    (configs / "limb.yaml").write_text(limb)
    (configs / "other.yaml").write_text(TRUNK.replace("trunk", "other"))
    lines = list[str]()

    def run(out: str) -> tuple[list[str], list[str]]:
        """Names of what was exported, and the lines about beginning anew."""
        lines.clear()
        states = tmp_path / "states"
        found = compare(
            configs, tmp_path / out, TrainOptions(), states=states, points=points, report=lines.append
        )
        return [folder.name for folder in found], [
            line.split(" has trained")[0] for line in lines if "anew" in line
        ]

    assert run("out") == (["branch", "limb", "other"], [])
    trunk = configs / "trunks" / "trunk.yaml"
    trunk.write_text(TRUNK + "about: says more\n")
    assert run("out") == ([], [])
    trunk.write_text(CHANGED_TRUNK)
    names, anew = run("out" if exported else "elsewhere")
    assert names == ["branch", "limb"] if exported else ["branch", "limb", "other"]
    assert anew == [
        "branch: starting anew; what another configuration of trunk",
        "trunk: starting anew; what another configuration",
        "limb: starting anew; what another configuration of trunk",
    ]
    page = json.loads((tmp_path / ("out" if exported else "elsewhere") / "limb" / "model.json").read_text())
    assert page["trunk"]["config"]["name"] == "branch"
    assert page["trunk"]["trunk"]["config"]["joint"]["samples"] == 96
    assert run("out" if exported else "elsewhere") == ([], [])


@pytest.mark.usefixtures("quick")
def test_a_branch_trained_by_an_earlier_version_goes_by_the_state_of_its_trunk(
    configs: Path, tmp_path: Path
) -> None:
    """Its state does not say what it went on from."""
    states = tmp_path / "states"
    trainings = {**read_folder(configs), **read_folder(configs / "trunks")}
    compare(configs, tmp_path / "out", TrainOptions(), states=states, points=points, report=lambda line: None)
    state = torch.load(states / "branch.pt", weights_only=True)
    del state["trunk"]
    torch.save(state, states / "branch.pt")
    assert changed_since(states / "branch.pt", trainings["branch"], trainings) is None
    (configs / "trunks" / "trunk.yaml").write_text(CHANGED_TRUNK)
    trainings |= read_folder(configs / "trunks")
    assert changed_since(states / "branch.pt", trainings["branch"], trainings) == "trunk"
    (states / "trunk.pt").unlink()
    assert changed_since(states / "branch.pt", trainings["branch"], trainings) is None


def test_a_state_that_is_none_gets_one_line(configs: Path, tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    torch.save({"stage": "joint"}, tmp_path / "states" / "branch.pt")
    with pytest.raises(ConfigError, match=r"branch\.pt: damaged"):
        compare(configs, tmp_path / "out", TrainOptions(), states=tmp_path / "states", points=points)


def test_mistakes_get_one_line(configs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no system 'nobody' \(there are: branch\)"):
        compare(configs, tmp_path / "out", TrainOptions(), only=["nobody"])
    (configs / "other.yaml").write_text(BRANCH)
    with pytest.raises(UserError, match=r"other\.yaml: name is branch, the file's is other"):
        read_folder(configs)
    with pytest.raises(UserError, match=r"no configurations there"):
        read_folder(tmp_path)


def test_every_system_but_the_slowest_sees_as_many_samples() -> None:
    systems, trunks = read_folder(CONFIGS), read_folder(CONFIGS / "trunks")
    assert sorted(systems) == sorted(ORDER)
    slow = systems.pop("res-segnet")
    assert slow.local is not None
    assert slow.local.samples + slow.joint.samples == 30_720
    for config in systems.values():
        local = config.local.samples if config.local else 0
        assert local + config.joint.samples == BUDGET, config.name
        assert (config.joint.decay, config.joint.batch, config.points) == (266_240, 256, 17_000), config.name
    for config in (*systems.values(), *trunks.values()):
        if config.after is not None:
            trunk = trunks[config.after]
            assert trunk.local == config.local
            assert trunk.only_local or trunk.joint.samples == config.joint.samples - config.joint.decay


@pytest.mark.parametrize("lines", [0, 1, 2, LINES, LINES + 1, 100])
def test_a_page_keeps_a_short_history(lines: int) -> None:
    history = [{"stage": "joint", "samples": at, "all_mean_m": at + 1 / 7} for at in range(lines)]
    kept = short_history(history)
    assert len(kept) == min(lines, LINES)
    rounded = [line | {"all_mean_m": at + 0.143} for at, line in enumerate(history)]
    assert kept[:1] + kept[-1:] == rounded[:1] + rounded[-1:]
    assert len({line["samples"] for line in kept}) == len(kept)
