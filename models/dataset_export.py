"""From a training on a data set to the files that run: ONNX and JSON."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from models.dataset_network import LinkEncoder
from models.dataset_regression import BlendedFusion
from models.dataset_runtime import KIND, VERSION
from models.dataset_training import DatasetTrainer
from models.export import to_onnx


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
    config, dataset = trainer.config, trainer.dataset
    networks = trainer.best_networks()
    steps = trainer.quantiser_steps(networks)
    fusion = trainer.blended(networks)
    axis_scale = trainer.covariance_scale(networks.encoder, fusion, steps)
    bs_ids = [f"bs{number + 1}" for number in range(dataset.num_bs)]
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    shape = trainer.samples.link_shape
    for number, bs in enumerate(bs_ids):
        path = partial / f"encoder-{bs}.onnx"
        to_onnx(
            _OneEncoder(networks.encoder, number),
            {"features": torch.randn(2, shape.features)},
            ["latent"],
            path,
        )
    fed = {
        "latent": torch.randn(2, dataset.num_bs, config.latent),
        "gain_db": torch.zeros(2, dataset.num_bs),
        "present": torch.ones(2, dataset.num_bs),
    }
    to_onnx(
        _Estimate(fusion), fed, ["position", "covariance"], partial / "fusion.onnx",
        smaller=lambda whole: whole,  # weights of a regression are large and nearly cancel
    )  # fmt: skip
    best = trainer.best["trial"]
    sites = dataset.bs_position_m
    description = {
        "kind": KIND,
        "version": VERSION,
        "bs_ids": bs_ids,
        "bs_position_m": None if sites is None else sites.tolist(),
        "dims": config.latent,
        "bits": config.bits,
        "steps": steps,
        "link_shape": asdict(shape),
        "carrier_hz": dataset.carrier_hz,
        "subcarrier_spacing_hz": dataset.subcarrier_spacing_hz,
        "noise_variance": dataset.noise_variance,
        "centre_m": trainer.fusion.centre_m.tolist(),
        "scale_m": float(trainer.fusion.scale_m),
        "free_axes": int(trainer.fusion.free.sum()),
        "axis_scale": axis_scale,
        "network_share": fusion.share,
        "regression_points": len(fusion.gains.places),
        "variation": config.trials[best].name if best >= 0 else None,
        "validation_mean_m": trainer.best["mean_m"] if best >= 0 else None,
        "parameters": trainer.num_parameters,
        "trained_on": trainer.trained_on(),
        "split": asdict(trainer.split),
        "config": asdict(config),
        "files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(partial.iterdir())
        },
    }
    (partial / "model.json").write_text(json.dumps(description, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder
