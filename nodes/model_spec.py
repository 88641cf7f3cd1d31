"""Which model a part runs, as it is told: the name or folder of weights, or the double of the tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nodes.positioning_model import PositioningModel


def spec_of(model: PositioningModel, name: str) -> dict[str, Any]:
    """How another process gets the same model.

    Args:
        model: at hand.
        name: of its weights, or their folder.
    """
    from models.testing import GeometryModel

    spec: dict[str, Any] = {"digest": model.digest}
    if isinstance(model, GeometryModel):
        fields = ("bs_ids", "dims", "bits", "extent_m", "error_m")
        return spec | {"double": {field: getattr(model, field) for field in fields}}
    return spec | {"weights": str(getattr(model, "folder", name))}


def warm_up(model: PositioningModel, bs: str | None) -> None:
    """Let a model do once what it will do in a hurry: the first time takes a hundred times as long.

    Args:
        model: that was just loaded.
        bs: whose encoder to use; None for the fusion.
    """
    shape = getattr(model, "csi_shape", None)
    if bs is None:
        num_bs = len(model.bs_ids)
        latents = np.full((1, num_bs, model.dims), 0.5, np.float32)
        model.fuse(latents, np.zeros((1, num_bs)), np.ones((1, num_bs), np.bool_))
    elif shape is not None:
        model.encode(bs, np.ones(shape, np.complex64), 1.0)


def model_from_spec(spec: Mapping[str, Any]) -> PositioningModel:
    """The model that was told.

    Raises:
        ValueError: there are no such weights here, or others of this name.
    """
    model: PositioningModel
    if "double" in spec:
        from models.testing import GeometryModel

        model = GeometryModel(**spec["double"])
    else:
        from models.runtime import load_model

        model = load_model(spec["weights"])
    if model.digest != spec["digest"]:
        raise ValueError(f"weights here are {model.digest.hex()}, the run has {spec['digest'].hex()}")
    return model
