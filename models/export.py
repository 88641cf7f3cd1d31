"""From a trained checkpoint to the files that base stations and central unit run: ONNX, NumPy and JSON."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from models.build import encoder_of
from models.calibration import covariance_scales, short_scales
from models.compact import compacted, halve
from models.estimation import covariance
from models.exported import replaced, write_page
from models.layers import CentralUnit
from models.preprocessing import side_features
from models.runtime import FORMAT_VERSION
from models.shape import Shape
from models.training import Trainer

OPSET = 18
COVARIANCE_BATCHES = 16
"""Batches of 256 channels that the estimator's covariance is averaged over."""


class _OneEncoder(nn.Module):
    """One base station's encoder: one link's input and ``[B, side]`` to ``[B, N, d_z]``."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features: Tensor, side: Tensor) -> Tensor:
        latent: Tensor = self.encoder(features[:, None], side[:, None])
        return latent[:, 0]


class _Fusion(nn.Module):
    """The central unit: flat latents and a mask of numbers in, position and covariance out."""

    def __init__(self, fusion: CentralUnit, shape: Shape) -> None:
        super().__init__()
        self.fusion, self.shape = fusion, shape

    def forward(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        shape = self.shape
        tokens = latent.reshape(-1, shape.num_bs, shape.subcarriers, shape.latent)
        return self.fusion.estimate(tokens, gain_db, present > 0.5)


def to_onnx(
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: list[str],
    path: Path,
    smaller: Callable[[onnx.ModelProto], onnx.ModelProto] = halve,
) -> None:
    """Write a network, its weights made smaller; the first axis of all arrays is any number long."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in [*inputs, *outputs]},
            opset_version=OPSET,
            dynamo=False,
        )
    model = smaller(onnx.load(str(path)))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def covariance_scale(trainer: Trainer) -> float:
    """Factor that makes covariances honest on the validation points: normalised squared errors of 3."""
    found = trainer.predict(trainer.held_out, trainer.config.seed + 2)
    error = found["truth"] - found["position"]
    squared = np.einsum("ni,nij,nj->n", error, np.linalg.inv(found["covariance"]), error)
    return float(squared.mean() / 3)


def channel_covariance(trainer: Trainer) -> np.ndarray[Any, np.dtype[np.complex64]]:
    """Long-term average over channels of the training points, without noise."""
    total = sum(
        covariance(trainer.samples.draw(256, noisy=False)[0].cpu().numpy() / trainer.samples.scale)
        for _ in range(COVARIANCE_BATCHES)
    )
    return (np.asarray(total) / COVARIANCE_BATCHES).astype(np.complex64)


def _write_networks(
    trainer: Trainer, folder: Path, smaller: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    shape, phase_reference = trainer.config.shape, trainer.config.phase_reference
    features = torch.randn(2, *shape.input_shape)
    side = torch.randn(2, side_features(phase_reference))
    for number, bs in enumerate(trainer.site.bs_ids):
        one = _OneEncoder(encoder_of(trainer.encoder, shape, number, phase_reference))
        to_onnx(one, {"features": features, "side": side}, ["latent"], folder / f"encoder-{bs}.onnx", smaller)
    fused = {
        "latent": torch.randn(2, shape.num_bs, shape.dims),
        "gain_db": torch.full((2, shape.num_bs), 20.0),
        "present": torch.ones(2, shape.num_bs),
    }
    fusion = _Fusion(copy.deepcopy(trainer.fusion).cpu(), shape)
    to_onnx(fusion, fused, ["position", "covariance"], folder / "fusion.onnx", smaller)


def export(trainer: Trainer, folder: Path, about: dict[str, Any], *, compact: bool = False) -> Path:
    """Write the model in ``folder`` (replaced as a whole): weights, estimator, and ``model.json``.

    The quantiser's steps are calibrated on training latents, covariances on the validation points.

    Args:
        trainer: Holds the networks and the samples.
        folder: ``models/weights/<name>``.
        about: What else ``model.json`` should say.
        compact: Weights in a byte each instead of two.
    """
    trainer.calibrate()
    with replaced(folder) as partial:
        _write_networks(trainer, partial, compacted if compact else halve)
        np.savez_compressed(partial / "estimator.npz", covariance=channel_covariance(trainer))
        write_page(partial, {**_description(trainer), **about})
    return folder


def _description(trainer: Trainer) -> dict[str, Any]:
    config, shape = trainer.config, trainer.config.shape
    scales = covariance_scales(trainer)
    return {
        "version": FORMAT_VERSION,
        "name": config.name,
        "bs_ids": list(trainer.site.bs_ids),
        "dims": shape.dims,
        "bits": config.bits,
        "steps": [float(step) for step in trainer.steps],
        "csi_shape": [shape.slots, shape.antennas, shape.subcarriers],
        "phase_reference": config.phase_reference,
        "encoder_input": "slots" if shape.input_modes is None else "modes",
        "slot_modes": shape.slot_modes,
        "gain_floor_db": shape.gain_floor_db,
        "covariance_scale": scales[-1],
        "covariance_scales": scales,
        "short_scales": short_scales(trainer),
        "samples_trained": trainer.samples_in_all,
        "begun_with": trainer.begun_with,
        "training_seconds": round(trainer.seconds),
        "parameters": trainer.num_parameters,
        "history": trainer.history,
    }
