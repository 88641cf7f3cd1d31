"""The shipped systems of the comparison: all there, small, and damage is noticed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.runtime import ModelError
from models.systems.compared import COMPARED, ORDER, ComparedSystem, compared_systems

PAYLOADS = {
    "ecc-r-equal": 7_680, "ecc-r-equal-q8": 6_144, "ecc-r-equal-q6": 4_608, "ecc-r-equal-q4": 3_072,
    "ecc-lossless": 122_880, "ecc-q10": 7_680, "ecc-q8": 6_144, "ecc-q6": 4_608, "ecc-q4": 3_072,
    "ecc-q10-scratch": 7_680, "ecc-q10-split": 7_680, "res-segnet": 7_680,
    "transformer": 7_680, "adcpm": 6_144, "mfcnet-style": 122_880, "csi-16-bit": 61_448, "csi-bfp9": 35_840,
    "csi-mean-bfp9": 3_584, "local-fixes": 96,
}  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A shipped system that may be damaged."""
    folder = sorted(COMPARED.glob("*/model.json"))[0].parent
    shutil.copy(COMPARED / "estimator.npz", tmp_path / "estimator.npz")
    return Path(shutil.copytree(folder, tmp_path / folder.name))


@pytest.mark.parametrize("name", ["model.json", "encoder.onnx", "centre.onnx"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_damage_gets_one_line_that_names_the_file(copy: Path, name: str, damage: str) -> None:
    path = copy / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError) as caught:
        ComparedSystem(copy)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_another_version_is_refused(copy: Path) -> None:
    page = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(page | {"version": 2}))
    with pytest.raises(ModelError, match="version 2, expected 1"):
        ComparedSystem(copy)


def test_shipped_systems_are_all_those_of_the_comparison_and_small() -> None:
    systems = compared_systems()
    names = [system.name for system in systems]
    assert [name for name in names if name in ORDER] == list(ORDER)
    assert [name for name in names if name not in ORDER] == [f"ecc-r-equal-q{bits}" for bits in (8, 6, 4)]
    assert {system.name: system.payload_bits for system in systems} == PAYLOADS
    assert {system.samples_trained for system in systems if system.name != "res-segnet"} == {1_011_712}
    assert sum(path.stat().st_size for path in COMPARED.rglob("*.*")) < 8 * 2**20
    with pytest.raises(ModelError, match="no compared system 'nobody'"):
        compared_systems(["nobody"])


def test_shipped_systems_fix_a_snapshot() -> None:
    """From pilots of noise alone: a position within reach, and a covariance, whatever is missing."""
    draws = np.random.default_rng(1)
    pilots = (
        draws.standard_normal((3, 6, 10, 8, 24)) + 1j * draws.standard_normal((3, 6, 10, 8, 24))
    ) / 2**0.5
    present = np.ones((3, 6), bool)
    present[1, :5] = False
    for system in compared_systems():
        position, covariance = system.estimate(pilots.astype(np.complex64), np.ones(6), present)
        assert np.abs(position).max() < 1_000, system.name
        assert (np.linalg.eigvalsh(covariance) > 0).all(), system.name
