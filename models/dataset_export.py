"""From a training on a data set to the files that run: ONNX and JSON."""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.dataset_network import LinkEncoder
from models.dataset_page import KIND, VERSION
from models.dataset_regression import BlendedFusion
from models.dataset_training import DatasetTrainer
from models.export import to_onnx
from models.exported import replaced, write_page


class _OneEncoder(nn.Module):
    """The encoder of one base station, with its share of the weights."""

    def __init__(self, encoder: LinkEncoder, bs: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).cpu()
        for holder in self.encoder.modules():
            for name, parameter in holder.named_parameters(recurse=False):
                setattr(holder, name, nn.Parameter(parameter[bs : bs + 1].detach().clone()))
            for name, buffer in holder.named_buffers(recurse=False):
                setattr(holder, name, buffer[bs : bs + 1].clone())

    def forward(self, features: Tensor) -> Tensor:
        latent: Tensor = self.encoder(features[:, None])
        return latent[:, 0]


class _Estimate(nn.Module):
    def __init__(self, fusion: BlendedFusion) -> None:
        super().__init__()
        self.fusion = copy.deepcopy(fusion).cpu()

    def forward(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        return self.fusion.estimate(latent, gain_db, present)


def export_dataset_model(trainer: DatasetTrainer, folder: Path) -> Path:
    """Write the best network of a training in ``folder``, which is replaced as a whole.

    Beside it a regression on gains is fitted, see :mod:`models.dataset_regression`. The quantiser's steps
    are calibrated on training groups, covariances on validation groups.
    """
    networks = trainer.best_networks()
    steps = trainer.quantiser_steps(networks)
    fusion = trainer.blended(networks)
    axis_scale = trainer.covariance_scale(networks.encoder, fusion, steps)
    with replaced(folder) as partial:
        _write_networks(trainer, networks.encoder, fusion, partial)
        write_page(partial, {**_description(trainer, fusion), "steps": steps, "axis_scale": axis_scale})
    return folder


def _write_networks(
    trainer: DatasetTrainer, encoder: LinkEncoder, fusion: BlendedFusion, folder: Path
) -> None:
    num_bs = trainer.dataset.num_bs
    features = torch.randn(2, trainer.samples.link_shape.features)
    for number, bs in enumerate(_bs_ids(num_bs)):
        one = _OneEncoder(encoder, number)
        to_onnx(one, {"features": features}, ["latent"], folder / f"encoder-{bs}.onnx")
    fed = {
        "latent": torch.randn(2, num_bs, trainer.config.latent),
        "gain_db": torch.zeros(2, num_bs),
        "present": torch.ones(2, num_bs),
    }
    to_onnx(
        _Estimate(fusion), fed, ["position", "covariance"], folder / "fusion.onnx",
        smaller=lambda whole: whole,  # weights of a regression are large and nearly cancel
    )  # fmt: skip


def _bs_ids(num_bs: int) -> list[str]:
    return [f"bs{number + 1}" for number in range(num_bs)]


def _description(trainer: DatasetTrainer, fusion: BlendedFusion) -> dict[str, Any]:
    config, dataset = trainer.config, trainer.dataset
    best = trainer.best["trial"]
    sites = dataset.bs_position_m
    return {
        "kind": KIND,
        "version": VERSION,
        "bs_ids": _bs_ids(dataset.num_bs),
        "bs_position_m": None if sites is None else sites.tolist(),
        "dims": config.latent,
        "bits": config.bits,
        "link_shape": asdict(trainer.samples.link_shape),
        "carrier_hz": dataset.carrier_hz,
        "subcarrier_spacing_hz": dataset.subcarrier_spacing_hz,
        "noise_variance": dataset.noise_variance,
        "heard_in_training": trainer.samples.heard.any(0).tolist(),
        "origin_m": trainer.origin_m.tolist(),
        "centre_m": (trainer.fusion.centre_m.double().cpu().numpy() + trainer.origin_m).tolist(),
        "scale_m": float(trainer.fusion.scale_m),
        "free_axes": int(trainer.fusion.free.sum()),
        "network_share": fusion.share,
        "regression_points": len(fusion.gains.places),
        "variation": config.trials[best].name if best >= 0 else None,
        "validation_mean_m": trainer.best["mean_m"] if best >= 0 else None,
        "parameters": trainer.num_parameters,
        "trained_on": trainer.trained_on(),
        "split": asdict(trainer.split),
        "config": asdict(config),
    }
