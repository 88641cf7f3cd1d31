"""From a trained system of the comparison to the files it is judged by: two ONNX networks and a page."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from models.compact import compacted, halve
from models.config import ConfigError
from models.export import channel_covariance, covariance_scale, to_onnx
from models.exported import replaced, write_page
from models.layers import CentralUnit
from models.network import Encoder, Fusion
from models.payloads import PAYLOADS
from models.preprocessing import side_features
from models.systems.compared import ESTIMATOR, FORMAT_VERSION
from models.systems.front import ADCPM, EMBEDDING
from models.training import Trainer


class _Centre(nn.Module):
    """The central unit with a mask of numbers."""

    def __init__(self, fusion: CentralUnit) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        return self.fusion.estimate(latent, gain_db, present > 0.5)


def export_system(trainer: Trainer, folder: Path, about: dict[str, Any], *, compact: bool = True) -> Path:
    """Write a system in ``folder`` (replaced as a whole), and the estimator beside it if there is none yet.

    The quantiser's steps are calibrated on training latents, the covariance's scale on the validation points.

    Args:
        trainer: Holds the networks and the samples.
        folder: ``models/weights/compare/<name>``.
        about: What else ``model.json`` should say.
        compact: Weights in a byte each instead of two.

    Raises:
        ConfigError: There is no estimator yet, and the system does not see all subcarriers.
    """
    trainer.calibrate()
    folder.parent.mkdir(parents=True, exist_ok=True)
    estimator = folder.parent / ESTIMATOR
    if not estimator.is_file():
        if trainer.subcarriers is not None:
            raise ConfigError(f"{estimator}: missing, and {trainer.config.name} does not see all subcarriers")
        np.savez_compressed(estimator, covariance=channel_covariance(trainer))
    with replaced(folder) as partial:
        message_shape = write_networks(trainer, partial, compacted if compact else halve)
        write_page(partial, {**_description(trainer, message_shape), **about})
    return folder


def _description(trainer: Trainer, message_shape: list[int]) -> dict[str, Any]:
    config, shape = trainer.config, trainer.config.shape
    return {
        "version": FORMAT_VERSION,
        "system": config.name,
        "message": config.message,
        "bits": config.bits,
        "steps": [float(step) for step in trainer.steps] if config.message == EMBEDDING else [],
        "csi_shape": [shape.slots, shape.antennas, trainer.site.radio.subcarriers],
        "subcarriers": trainer.subcarriers,
        "message_shape": message_shape,
        "phase_reference": config.phase_reference,
        "slot_modes": shape.input_modes,
        "gain_floor_db": shape.gain_floor_db,
        "covariance_scale": covariance_scale(trainer),
        "parameters": trainer.num_parameters,
        "config": asdict(config),
    }


def write_networks(
    trainer: Trainer, folder: Path, smaller: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> list[int]:
    """Write ``encoder.onnx`` and ``centre.onnx``, made smaller; returns the shape of what goes between."""
    config, shape = trainer.config, trainer.config.shape
    side = 1 if config.message == ADCPM else side_features(config.phase_reference)
    features = torch.randn(2, shape.num_bs, *shape.input_shape)
    encoder, centre = copy.deepcopy(trainer.encoder).cpu(), copy.deepcopy(trainer.fusion).cpu()
    between = list(shape.message_shape)
    if isinstance(centre, Fusion):
        centre.fix_query()
        if config.message in PAYLOADS and isinstance(encoder, Encoder) and shape.token is not None:
            project_at_once(encoder, centre)
            between[-1] = shape.token
    inputs = {"features": features, "side": torch.randn(2, shape.num_bs, side)}
    to_onnx(encoder, inputs, ["latent"], folder / "encoder.onnx", smaller)
    messages = {
        "latent": torch.randn(2, shape.num_bs, *between),
        "gain_db": torch.full((2, shape.num_bs), 20.0),
        "present": torch.ones(2, shape.num_bs),
    }
    to_onnx(_Centre(centre), messages, ["position", "covariance"], folder / "centre.onnx", smaller)
    return between


@torch.no_grad()
def project_at_once(encoder: Encoder, centre: Fusion) -> None:
    """Where both run at the central unit and nothing is quantised, two linear maps in a row become one."""
    project, tokens = encoder.project, encoder.shape.subcarriers
    onto = centre.to_token.weight.T
    for name in ("weight", "bias"):
        wide = getattr(project, name)
        narrow = wide.reshape(*wide.shape[:-1], tokens, -1) @ onto
        setattr(project, name, nn.Parameter(narrow.reshape(*wide.shape[:-1], -1)))
    centre.shape = replace(centre.shape, latent=centre.width, token=None)
    del centre.to_token
