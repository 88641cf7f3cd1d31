"""All systems of the comparison from one command: trunks first, nothing twice, one budget for all."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.path_table import PathTable
from models.systems.compared import ORDER
from sim.compare import LINES, compare, read_folder, short_history
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
