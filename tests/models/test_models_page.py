"""docs/models.md names what there is."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from models.config import Impairments, Schedule, TrainingConfig
from models.export import export
from models.preprocessing import PHASE_REFERENCES
from models.shape import CENTRAL_UNITS, ENCODERS, Shape
from tests.models.kit import tiny_trainer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`\n]+)`", PAGE))


@pytest.mark.parametrize("kind", [TrainingConfig, Shape, Schedule, Impairments])
def test_every_key_of_a_configuration_is_on_the_page(kind: type) -> None:
    assert {field.name for field in fields(kind)} <= NAMED


def test_every_choice_is_on_the_page() -> None:
    wanted = {*PHASE_REFERENCES, *ENCODERS, *(f"cu: {cu}" for cu in CENTRAL_UNITS)}
    assert wanted <= NAMED


def test_every_configuration_is_on_the_page() -> None:
    assert {path.name for path in (ROOT / "models" / "configs").iterdir()} <= NAMED


def test_every_file_and_key_of_an_exported_model_is_on_the_page(tmp_path: Path) -> None:
    import json

    folder = export(tiny_trainer(tmp_path / "state.pt"), tmp_path / "tiny", {"about": ""})
    files = {re.sub(r"bs\d", "<bs>", path.name) for path in folder.iterdir()}
    assert files <= NAMED
    assert set(json.loads((folder / "model.json").read_text())) <= NAMED


def test_the_example_gives_what_it_says() -> None:
    example = PAGE.split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == example.rsplit("# ", 1)[1].strip()
