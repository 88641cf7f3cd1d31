"""What ``model.json`` says of a model that was trained on a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.dataset import Split
from models.dataset_features import LinkShape
from models.quantiser import MAX_BITS, MIN_BITS
from models.runtime import ModelError

KIND = "dataset"
VERSION = 1


def _name(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("must be a name")
    return text


Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, AfterValidator(_name)]


class TrainedOn(BaseModel):
    """The data set of a training.

    Attributes:
        file: Its name.
        digest: Of its samples.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    file: str
    digest: str


class DatasetPage(BaseModel):
    """What the runtime goes by; what else there is, is for readers.

    Attributes:
        bs_ids: Base stations, in the order of all arrays.
        dims: Numbers in one message.
        bits: Of each of them.
        steps: Quantiser step of each base station.
        link_shape: Of the CSI.
        carrier_hz, subcarrier_spacing_hz: Of the CSI.
        noise_variance: In the units of ``|csi|^2``; None: unknown.
        axis_scale: What standard deviations are multiplied with, by axis.
        free_axes: Axes along which training places differ.
        trained_on: The data set.
        split: Its groups.
        heard_in_training: Which base stations were; None in models of earlier versions.
        origin_m: Added to what the networks say.
        files: SHA-256 of every other file.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    bs_ids: Annotated[tuple[Name, ...], Field(min_length=1)]
    dims: Annotated[int, Field(ge=1)]
    bits: Annotated[int, Field(ge=MIN_BITS, le=MAX_BITS)]
    steps: tuple[Positive, ...]
    link_shape: LinkShape
    carrier_hz: Positive
    subcarrier_spacing_hz: Positive
    noise_variance: Positive | None
    axis_scale: tuple[Positive, Positive, Positive]
    free_axes: Annotated[int, Field(ge=1, le=3)]
    trained_on: TrainedOn
    split: Split
    heard_in_training: tuple[bool, ...] | None = None
    origin_m: tuple[Finite, Finite, Finite] = (0.0, 0.0, 0.0)
    files: dict[Name, str]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        stations = len(self.bs_ids)
        if len(set(self.bs_ids)) < stations:
            raise ValueError("bs_ids: a base station is there twice")
        if len(self.steps) != stations:
            raise ValueError(f"{len(self.steps)} steps for {stations} base stations")
        if self.heard_in_training is not None and len(self.heard_in_training) != stations:
            raise ValueError(f"{len(self.heard_in_training)} heard_in_training for {stations} base stations")
        return self


def read_dataset_page(folder: Path) -> DatasetPage:
    """``model.json`` of a folder.

    Raises:
        ModelError: It is missing, damaged, of another version, or of a model of another kind.
    """
    path = folder / "model.json"
    try:
        text = path.read_text(encoding="utf-8")
        found: Any = json.loads(text)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged ({error})") from error
    if not isinstance(found, dict) or "version" not in found:
        raise ModelError(f"{path}: damaged (no version)")
    if found.get("kind") != KIND:
        raise ModelError(f"{path}: of a model that was not trained with --dataset")
    if found["version"] != VERSION:
        raise ModelError(f"{path}: version {found['version']!r}, expected {VERSION}")
    try:
        return DatasetPage.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(f"{path}: damaged ({_first_problem(error)})") from error


def _first_problem(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = found["msg"].removeprefix("Value error, ")
    key = ".".join(map(str, found["loc"]))
    return " ".join((f"{key}: {message}" if key else message).split())
