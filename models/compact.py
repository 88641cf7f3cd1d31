"""Weights of an ONNX network in two bytes each, or in one: many systems are too much in half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SMALLEST_HALVED = 256
"""Arrays with fewer elements stay in single precision: they are small and can matter."""
SMALLEST_COMPACTED = 1536
"""Arrays with fewer elements keep half precision at least: a last layer, read as a direction and a range, in
bytes turns 0.6 m in the median into 1.0 m, and all such layers of a system together are 10 kB."""
BLOCK = 64
"""Weights that share a scale."""
LARGEST = 127


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


def compacted(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with its large weights as signed bytes, widened again when it is loaded.

    A block of weights in a row shares a scale in half precision, with which its largest is ±127; no weight
    changes by more than half a step. Arrays of few weights are halved.
    """
    graph = model.graph
    widening = []
    for initializer in list(graph.initializer):
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.size < SMALLEST_COMPACTED:
            continue
        name = initializer.name
        codes, scales = rounded(values)
        graph.initializer.remove(initializer)
        graph.initializer.extend(
            [
                numpy_helper.from_array(codes, f"{name}.codes"),
                numpy_helper.from_array(scales, f"{name}.scales"),
                numpy_helper.from_array(np.array([values.size], np.int64), f"{name}.size"),
                numpy_helper.from_array(np.array(values.shape, np.int64), f"{name}.shape"),
            ]
        )
        widening += [
            helper.make_node("Cast", [f"{name}.codes"], [f"{name}.wide"], to=TensorProto.FLOAT),
            helper.make_node("Cast", [f"{name}.scales"], [f"{name}.scale"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.wide", f"{name}.scale"], [f"{name}.blocks"]),
            helper.make_node("Reshape", [f"{name}.blocks", "compact.flat"], [f"{name}.flat"]),
            helper.make_node("Slice", [f"{name}.flat", "compact.zero", f"{name}.size"], [f"{name}.kept"]),
            helper.make_node("Reshape", [f"{name}.kept", f"{name}.shape"], [name]),
        ]
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([-1], np.int64), "compact.flat"),
            numpy_helper.from_array(np.array([0], np.int64), "compact.zero"),
        ]
    )
    for node in reversed(widening):
        graph.node.insert(0, node)
    return halve(model)


def rounded(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """Codes ``[blocks, BLOCK]`` and scales ``[blocks, 1]`` of an array in its order, filled up with zeros."""
    filled = np.zeros(-(-values.size // BLOCK) * BLOCK, np.float32)
    filled[: values.size] = values.ravel()
    blocks = filled.reshape(-1, BLOCK)
    wanted = np.abs(blocks).max(axis=1, keepdims=True) / LARGEST
    scales = wanted.astype(np.float16)
    scales = np.where(scales < wanted, np.nextafter(scales, np.float16(np.inf)), scales)
    scales = np.maximum(scales, np.finfo(np.float16).tiny)
    return np.round(blocks / scales.astype(np.float32)).astype(np.int8), scales


def weights_in(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """All arrays of a network by the names that its operations know, widened where they were made smaller."""
    kept = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    weights: dict[str, NDArray[Any]] = {}
    for stored, values in kept.items():
        name, _, ending = stored.rpartition(".")
        if ending == "half":
            weights[name] = values.astype(np.float32)
        elif ending == "codes":
            wide = values * kept[f"{name}.scales"].astype(np.float32)
            weights[name] = wide.ravel()[: int(kept[f"{name}.size"][0])].reshape(kept[f"{name}.shape"])
        else:
            weights[stored] = values
    return weights
