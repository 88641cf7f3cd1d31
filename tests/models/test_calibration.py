"""Covariances are made honest on the validation points, whoever is missing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.calibration import covariance_scales
from tests.models.kit import tiny_config, tiny_trainer


def test_scales_are_what_the_claims_fall_short_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off by two metres along x, where half a metre is claimed by each base station."""
    trainer = tiny_trainer(tmp_path / "state.pt", tiny_config(short_share=0.0))
    points = trainer.held_out.position
    seen: list[torch.Tensor] = []

    def estimate(latent: torch.Tensor, gain: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, ...]:
        start = sum(len(mask) for mask in seen) % len(points)
        seen.append(present)
        heard = present.sum(1).double()[:, None, None]
        claim = torch.diag(torch.tensor([0.5, 3.0, 3.0], dtype=torch.float64)) ** 2
        return points[start : start + len(latent)] + torch.tensor([2.0, 0.0, 0.0]), heard * claim

    monkeypatch.setattr(trainer.fusion, "estimate", estimate)
    scales = covariance_scales(trainer)
    assert scales == pytest.approx(16 / 3 / np.array([1, 2, 3]), rel=1e-3)
    counts = torch.cat(seen).sum(1)
    assert sorted(set(counts.tolist())) == [1, 2, 3]
    one = torch.cat(seen)[counts == 1]
    assert one.any(0).all()
