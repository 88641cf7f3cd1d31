"""The weights of the study of phase references: each is what its name says, small, and runs in a scenario."""

from dataclasses import asdict
from pathlib import Path

import pytest

from models.config import read_config
from models.runtime import WEIGHTS, read_description
from sim import Scenario, run

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "models" / "configs" / "phase_reference"
LARGEST_BYTES = 500_000


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: str(path.stem))
def test_weights_are_those_of_their_configuration(path: Path) -> None:
    reference, _, clock = path.stem.partition("-")
    config, folder = read_config(path), WEIGHTS / "phase_reference" / path.stem
    assert (config.name, config.phase_reference) == (path.stem, reference)
    assert (config.training_impairments.ue_clock_s == 0) == (clock == "synchronised")
    assert read_description(folder).phase_reference == reference
    assert sum(file.stat().st_size for file in folder.iterdir()) < LARGEST_BYTES


def test_all_are_trained_alike() -> None:
    told_apart = {"name", "about", "phase_reference", "training_impairments", "test_impairments"}
    alike = {
        str({key: value for key, value in asdict(read_config(path)).items() if key not in told_apart})
        for path in CONFIGS.glob("*.yaml")
    }
    assert len(list(CONFIGS.glob("*.yaml"))) == 6
    assert len(alike) == 1


def test_a_scenario_names_them() -> None:
    name = "phase_reference/delay-ue_unknown"
    scenario = Scenario.load(ROOT / "scenarios" / "spiral.yaml", duration="500 ms", model__name=name)
    result = run(scenario)
    assert result.summary["fixes"] == 5
    assert result.summary["fix_error_3d_mean_m"] < 15
