"""From the files that base stations and central unit run back to networks that can be trained further."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.build import build_encoder, build_network
from models.compact import weights_in
from models.config import ConfigError, TrainingConfig
from models.layers import SiteLinear, SiteNorm
from models.runtime import ModelError, kind_of, read_description, weights_digest
from models.shape import Shape

LSTM_GATES = (0, 2, 3, 1)
"""Where the gates of torch (input, forget, cell, output) stand in ONNX (input, output, forget, cell)."""


class _Missing(Exception):  # noqa: N818 - becomes a ConfigError where the file is known
    """Something of the network is not in the graph, or has another shape."""


class _Graph:
    """The weights in an ONNX file, by the names of the layers that use them."""

    def __init__(self, path: Path) -> None:
        model = onnx.load(str(path))
        self._weights = weights_in(model)
        self._nodes = [(node, _place(node.name)) for node in model.graph.node if node.name]

    def named(self, name: str) -> NDArray[np.float32]:
        """An array that has kept its name."""
        if name not in self._weights:
            raise _Missing(name)
        return np.asarray(self._weights[name], np.float32)

    def used_by(self, layer: str, kind: str) -> list[list[NDArray[np.float32]]]:
        """Arrays that go into the operations of a kind in a layer, in the order of the graph."""
        place = "/" + re.sub(r"\.(?!\d)", "/", layer)  # members of a list are called after it: blocks.0
        nodes = [node for node, its_place in self._nodes if node.op_type == kind and its_place == place]
        found = [[self.named(name) for name in node.input if name in self._weights] for node in nodes]
        if not any(found):
            raise _Missing(layer)
        return [arrays for arrays in found if arrays]


def _place(node: str) -> str:
    """The layer in a node's name; lists of lists are there twice: levels.0/levels.0.1."""
    parts = node.split("/")[:-1]
    kept = [
        part
        for part, following in zip(parts, [*parts[1:], ""], strict=False)
        if not following.startswith(f"{part}.")
    ]
    return "/".join(kept)


@dataclass(frozen=True, eq=False)
class Weights:
    """Those of an exported model, read and found to be of the networks that are wanted.

    Attributes:
        folder: Of the model.
        name: Of the model.
        digest: Of its files, hexadecimal.
        samples: That it was trained on.
        encoder, fusion: Networks that have these weights.
    """

    folder: Path
    name: str
    digest: str
    samples: int
    encoder: nn.Module
    fusion: nn.Module

    def give(self, encoder: nn.Module, fusion: nn.Module) -> None:
        """Copy them to other networks.

        Raises:
            ConfigError: Those are different ones.
        """
        _take(self.folder, encoder, dict(self.encoder.named_parameters()))
        _take(self.folder, fusion, dict(self.fusion.named_parameters()))


def read_weights(folder: Path, config: TrainingConfig) -> Weights:
    """Weights of an exported model for the networks of a training.

    Args:
        folder: Of a model that `models.export.export` wrote; other kinds are refused.
        config: Of the training.

    Raises:
        ConfigError: The model cannot be read, or has other networks.
    """
    encoder, fusion = build_network(config.shape, config.phase_reference)
    import_weights(folder, encoder, fusion, config.shape, config.phase_reference)
    path = folder / "model.json"
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
        name, samples = str(page["name"]), int(page["samples_trained"])
    except KeyError as error:
        raise ConfigError(f"{path}: damaged (no {error.args[0]})") from error
    except (OSError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: damaged ({error})") from error
    return Weights(folder, name, weights_digest(folder).hex(), samples, encoder, fusion)


def import_weights(
    folder: Path, encoder: nn.Module, fusion: nn.Module, shape: Shape, phase_reference: str
) -> None:
    """Give networks the weights of an exported model, as precise as they were kept.

    Args:
        folder: Of a model that `models.export.export` wrote; other kinds are refused.
        encoder: Of all base stations, `models.build.build_encoder`.
        fusion: `models.build.build_fusion`.
        shape: Of both.
        phase_reference: Of both.

    Raises:
        ConfigError: The model cannot be read, or has other networks.
    """
    if kind := kind_of(folder):
        raise ConfigError(f"{folder}: {kind}, not networks alone, which is what can be trained")
    try:
        bs_ids = read_description(folder).bs_ids
    except ModelError as error:
        raise ConfigError(str(error)) from error
    if len(bs_ids) != shape.num_bs:
        raise ConfigError(f"{folder}: {len(bs_ids)} base stations, not {shape.num_bs}")
    alone = build_encoder(replace(shape, num_bs=1), phase_reference)
    each = [_state(folder / f"encoder-{bs}.onnx", alone, "encoder") for bs in bs_ids]
    _take(folder, encoder, {name: torch.cat([one[name] for one in each]) for name in each[0]})
    _take(folder, fusion, _state(folder / "fusion.onnx", fusion, "fusion"))


def _take(folder: Path, network: nn.Module, state: dict[str, Tensor]) -> None:
    buffers = dict(network.named_buffers())  # where base stations stand: the trainer knows
    try:
        network.load_state_dict(state | buffers)
    except RuntimeError as error:
        raise ConfigError(
            f"{folder}: weights of another network ({str(error).splitlines()[-1].strip()})"
        ) from error


def _state(path: Path, network: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The parameters of a network out of its file."""
    try:
        graph = _Graph(path)
        return {
            f"{layer}.{name}" if layer else name: torch.from_numpy(np.array(values, np.float32))
            for layer, module in network.named_modules()
            for name, values in _parameters(graph, f"{prefix}.{layer}".rstrip("."), module)
        }
    except _Missing as error:
        raise ConfigError(f"{path}: weights of another network (no {error})") from error
    except Exception as error:  # a damaged file can fail in any way there is
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{path}: damaged ({reason})") from error


def _parameters(graph: _Graph, layer: str, module: nn.Module) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Parameters that a layer has by itself: exporters rename and turn some of them."""
    if isinstance(module, nn.LSTM):
        inputs, recurrent, biases = graph.used_by(layer, "LSTM")[0]
        yield "weight_ih_l0", _torch_gates(inputs[0])
        yield "weight_hh_l0", _torch_gates(recurrent[0])
        for name, bias in zip(("bias_ih_l0", "bias_hh_l0"), np.split(biases[0], 2), strict=True):
            yield name, _torch_gates(bias)
        return
    for name, _ in module.named_parameters(recurse=False):
        if isinstance(module, SiteLinear) and name == "weight":
            yield name, np.stack([arrays[-1] for arrays in graph.used_by(layer, "MatMul")])
        elif isinstance(module, SiteNorm):
            yield name, graph.used_by(layer, "Mul")[-1][-1].reshape(len(module.scale), 1, -1)
        elif isinstance(module, nn.GroupNorm):
            yield name, graph.used_by(layer, "Mul" if name == "weight" else "Add")[-1][-1].ravel()
        elif isinstance(module, nn.Linear) and name == "weight":
            try:
                yield name, graph.named(f"{layer}.weight")
            except _Missing:
                yield name, graph.used_by(layer, "MatMul")[0][-1].T
        else:
            yield name, graph.named(f"{layer}.{name}")


def _torch_gates(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blocks of gates along the first axis, in the order of torch."""
    blocks = np.split(values, 4)
    return np.concatenate([blocks[at] for at in LSTM_GATES])
