"""From a trained checkpoint to the files that base stations and central unit run: ONNX, NumPy and one JSON page."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from models.estimation import covariance
from models.network import Encoder, Fusion, side_features
from models.runtime import FORMAT_VERSION
from models.training import Trainer

SMALLEST_HALVED = 256
"""Weight arrays with fewer elements stay in single precision: they are small and can matter."""
OPSET = 18


class _OneEncoder(nn.Module):
    """One base station's encoder: ``[B, N, features]`` and ``[B, side]`` to ``[B, N, d_z]``."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features: Tensor, side: Tensor) -> Tensor:
        latent: Tensor = self.encoder(features[:, None], side[:, None])
        return latent[:, 0]


class _Fusion(nn.Module):
    """The central unit: flat latents and a mask of numbers in, position and covariance out."""

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        shape = self.fusion.shape
        tokens = latent.reshape(-1, shape.num_bs, shape.subcarriers, shape.latent)
        return self.fusion.estimate(tokens, gain_db, present > 0.5)


def encoder_of(encoder: Encoder, bs: int, phase_reference: str) -> Encoder:
    """The encoder of one base station alone, with its share of the weights."""
    shape = encoder.shape
    alone = Encoder(replace(shape, num_bs=1), shape.features, side_features(phase_reference))
    state = {}
    for name, value in encoder.state_dict().items():
        share = len(value) // shape.num_bs
        state[name] = value[bs * share : (bs + 1) * share]
    alone.load_state_dict(state)
    return alone.eval()


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep large weights in half precision, widened again when the model is loaded."""
    graph = model.graph
    widened = []
    for initializer in graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.size < SMALLEST_HALVED:
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".half"))
        widened.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
    for node in reversed(widened):
        graph.node.insert(0, node)
    return model


def _to_onnx(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path) -> None:
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
    model = halve(onnx.load(str(path)))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def export(trainer: Trainer, folder: Path, about: dict[str, Any]) -> Path:
    """Write the model in ``folder`` (replaced as a whole): weights, estimator, and ``model.json``.

    The quantiser's steps are calibrated on training latents, the covariance's scale on the validation points.

    Args:
        trainer: Holds the networks and the samples.
        folder: ``models/weights/<name>``.
        about: What else ``model.json`` should say.
    """
    config, site = trainer.config, trainer.site
    shape = config.shape
    trainer.calibrate()
    trainer.networks.eval().cpu()
    found = trainer.predict(trainer.held_out, config.seed + 2)
    error = found["truth"] - found["position"]
    squared = np.einsum("ni,nij,nj->n", error, np.linalg.inv(found["covariance"]), error)
    scale = float(squared.mean() / 3)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    features = torch.randn(2, shape.subcarriers, shape.features)
    side = torch.randn(2, side_features(config.phase_reference))
    for number, bs in enumerate(site.bs_ids):
        one = _OneEncoder(encoder_of(trainer.encoder, number, config.phase_reference))
        _to_onnx(one, {"features": features, "side": side}, ["latent"], partial / f"encoder-{bs}.onnx")
    fused = {
        "latent": torch.randn(2, shape.num_bs, shape.dims),
        "gain_db": torch.full((2, shape.num_bs), 20.0),
        "present": torch.ones(2, shape.num_bs),
    }
    _to_onnx(_Fusion(trainer.fusion), fused, ["position", "covariance"], partial / "fusion.onnx")
    drawn = torch.cat([trainer.samples.draw(256)[0] for _ in range(4)]).numpy() / trainer.samples.scale
    np.savez_compressed(partial / "estimator.npz", covariance=covariance(drawn).astype(np.complex64))
    description = {
        "version": FORMAT_VERSION,
        "name": config.name,
        "bs_ids": list(site.bs_ids),
        "dims": shape.dims,
        "bits": config.bits,
        "steps": [float(step) for step in trainer.steps],
        "csi_shape": [shape.slots, shape.antennas, shape.subcarriers],
        "phase_reference": config.phase_reference,
        "slot_modes": shape.slot_modes,
        "gain_floor_db": shape.gain_floor_db,
        "covariance_scale": scale,
        "samples_trained": trainer.done,
        "training_seconds": round(trainer.seconds),
        "parameters": sum(p.numel() for p in trainer.networks.parameters()),
        **about,
    }
    (partial / "model.json").write_text(json.dumps(description, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder
