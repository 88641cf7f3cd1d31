"""Layers of several base stations: the same in PyTorch and as ONNX Runtime is given them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from models.export import to_onnx
from models.layers import SiteLinear


@pytest.mark.parametrize("sites", [1, 3])
def test_a_map_of_each_site_is_exported_as_one_matrix_for_each(sites: int, tmp_path: Path) -> None:
    layer = SiteLinear(sites, 32, 24)
    given = torch.randn(sites, 5, 32)
    path = tmp_path / "layer.onnx"
    to_onnx(layer, {"x": given}, ["y"], path, lambda model: model)
    weights = {values.name: numpy_helper.to_array(values) for values in onnx.load(path).graph.initializer}
    nodes = onnx.load(path).graph.node
    assert {node.op_type for node in nodes} <= {"Split", "MatMul", "Concat", "Add", "Constant"}
    products = [node for node in nodes if node.op_type == "MatMul"]
    assert [weights[node.input[1]].shape for node in products] == [(32, 24)] * sites
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(["y"], {"x": given.numpy()})[0]
    assert found == pytest.approx(layer(given).detach().numpy(), abs=1e-5)
    assert not np.allclose(found[:1], found[-1:]) or sites == 1
