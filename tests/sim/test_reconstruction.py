"""What stage I gives back: measures against closed forms, and the whole way on networks that know nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.config import Schedule
from models.preprocessing import encoder_input
from sim.reconstruction import complex_csi, cosine, judge_reconstruction, nmse, stage_one, turned
from sim.train import TrainOptions, make_trainer
from tests.sim.test_compare import points, quick  # noqa: F401  (a fixture)


def noise(*shape: int, seed: int = 1) -> Any:
    draws = np.random.default_rng(seed).standard_normal((*shape, 2)).astype(np.float32)
    return draws.view(np.complex64)[..., 0]


def test_a_complex_factor_is_no_error() -> None:
    csi = noise(5, 8, 24)
    factor = np.complex64(0.3 - 2j)
    assert nmse(csi, csi * factor).max() < 1e-5
    assert cosine(csi, csi * factor) == pytest.approx(np.ones(5), abs=1e-5)
    assert turned(csi[0], csi[0] * factor) == pytest.approx(csi[0], abs=1e-5)


def test_noise_is_the_error_that_it_is() -> None:
    """With y = x + n the least squared error over power is |n|^2 / (|x|^2 + |n|^2)."""
    csi, other = noise(50, 8, 24), noise(50, 8, 24, seed=2)
    assert nmse(csi, csi + 0.5 * other).mean() == pytest.approx(0.25 / 1.25, rel=0.02)
    assert nmse(csi, other).mean() > 0.98


def test_features_become_csi_again() -> None:
    csi = noise(3, 10, 8, 24)
    features, _, _ = encoder_input(csi, 1.0, "slot", 1)
    again = complex_csi(features)
    assert again.shape == (3, 8, 24)
    assert np.array_equal(again[1, 2, 5], features[1, 5, 2] + 1j * features[1, 5, 10])


@pytest.mark.usefixtures("quick")
def test_from_networks_to_figures(tmp_path: Path) -> None:
    config = stage_one()
    assert config.local is not None
    assert config.local.samples == 77_824
    config = replace(config, shape=replace(config.shape, width=8), local=Schedule(samples=32, batch=16))
    trainer = make_trainer(
        config, points(config), tmp_path / "state.pt", TrainOptions(), report=lambda line: None
    )
    trainer.step()
    found = judge_reconstruction(trainer, points=12)
    assert [row["bits"] for row in found["rows"]] == [None, 7_680, 6_144, 4_608, 3_072]
    assert 6 <= found["links"] <= 72
    for row in found["rows"]:
        assert -1.5 < row["nmse_median_db"] <= 0, "nothing is learned yet"
        assert 0 < row["cosine_p10"] <= row["cosine_median"] <= 1
    assert found["noise_median_db"] < -15, "links of 10 dB, ten slots averaged"
    shown = found["example"]["csi"]
    assert list(shown) == ["original", "Q = 10", "Q = 4"]
    assert np.shape(shown["Q = 4"]) == (2, 8, 24)
