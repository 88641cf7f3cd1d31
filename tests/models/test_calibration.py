"""Covariances are made honest on the validation points, whoever is missing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.calibration import covariance_scales, short_scales
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


def test_short_messages_need_what_they_err_more_than_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A central unit that errs the more, the fewer numbers arrive, and always claims the same."""
    trainer = tiny_trainer(tmp_path / "state.pt", tiny_config(short_share=0.5, shortest_dims=10))
    points = trainer.held_out.position
    count = len(points)
    done = 0

    def estimate(latent: torch.Tensor, gain: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, ...]:
        nonlocal done
        start = done % count
        done += len(latent)
        numbers = (latent != 0).double().sum((1, 2, 3)) / latent.shape[1]
        error = torch.stack([100 / numbers, 0 * numbers, 0 * numbers], 1)
        claim = torch.eye(3, dtype=torch.float64).expand(len(latent), 3, 3)
        return points[start : start + len(latent)] + error, claim

    monkeypatch.setattr(trainer.fusion, "estimate", estimate)
    dims = trainer.config.shape.dims
    scales = dict(short_scales(trainer))
    assert min(scales) >= trainer.config.shortest_dims > min(scales) / 2
    assert scales == pytest.approx({length: (dims / length) ** 2 for length in scales}, rel=1e-3)
    assert len(scales) > 1


def test_messages_of_one_length_need_nothing(tmp_path: Path) -> None:
    assert short_scales(tiny_trainer(tmp_path / "state.pt", tiny_config(short_share=0.0))) == []
