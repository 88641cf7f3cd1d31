import inspect

import pytest

from models.mapped_model import MappedModel
from models.runtime import OnnxModel
from models.testing import GeometryModel
from nodes import PositioningModel

# mypy holds both to the protocol.
MAKERS: list[type[PositioningModel]] = [OnnxModel, MappedModel, GeometryModel]


@pytest.mark.parametrize("model", MAKERS)
@pytest.mark.parametrize("method", ["encode", "fuse"])
def test_trained_models_and_the_double_are_called_alike(model: type[PositioningModel], method: str) -> None:
    wanted = list(inspect.signature(getattr(PositioningModel, method)).parameters)
    assert list(inspect.signature(getattr(model, method)).parameters) == wanted
