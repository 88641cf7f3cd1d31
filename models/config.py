"""What a training does: its configuration, read from YAML."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from models.preprocessing import PHASE_REFERENCES
from models.quantiser import check_bits
from models.shape import Shape
from models.systems.front import ADCPM, EMBEDDING, FIX, MESSAGES

LOSSES = ("norm", "squared")
UNKNOWN = "unexpected_keyword_argument"
_STRICT = ConfigDict(extra="forbid")


class ConfigError(ValueError):
    """A training configuration or checkpoint that cannot be used: one clear line."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast; all lengths in samples.

    The learning rate rises over ``warmup``, stays, and falls to zero over the last ``decay`` of ``samples``:
    a run can be carried on from any step with a later end.

    Attributes:
        samples: When it ends.
        batch: Samples per step.
        rate: Highest learning rate.
        warmup: How long it rises.
        decay: How long it falls at the end; 0: not at all.
        weight_decay: Of AdamW.
        clip: Longest gradient.
    """

    samples: int
    batch: int = 256
    rate: float = 1e-3
    warmup: int = 20_000
    decay: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        for name in ("samples", "batch", "rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("warmup", "decay", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")

    def factor(self, done: int) -> float:
        """Share of the full learning rate after ``done`` samples."""
        rise = min(1.0, (done + self.batch) / max(self.warmup, 1))
        left = max(self.samples - done, 0) / max(self.decay, 1)
        return rise * min(1.0, left) if self.decay else rise


@dataclass(frozen=True)
class Impairments:
    """What is drawn anew for every sample.

    Attributes:
        displacement_m: Radius of the ball around the traced point; 0 for validation and test.
        speed_mps: Highest speed of the UE.
        ue_clock_s: Half the range of the UE's timing offset, common to all base stations; 0 = synchronised.
        bs_sync_s: Standard deviation of each base station's own timing error.
    """

    displacement_m: float = 1.0
    speed_mps: float = 4.0
    ue_clock_s: float = 100e-9
    bs_sync_s: float = 5e-9

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        for name in ("displacement_m", "speed_mps", "ue_clock_s", "bs_sync_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides what comes out of a training.

    Attributes:
        name: Also the name of the folder written.
        about: What it reaches, in how long, on what: measured, not hoped.
        points: Traced points to train on.
        shadow_points: Points of the pool ``train-shadow`` to look at: those of them that one or two sites see
            are trained on too.
        validation_points: Traced points to validate on.
        shape: Of the networks.
        phase_reference: See :mod:`models.preprocessing`.
        subcarrier_step: The network sees ``shape.subcarriers`` of the radio's, so many apart, in the middle
            of the band; None: all of them.
        message: What base stations send, see :mod:`models.systems.front`: ``embedding``, for others than ours
            the CSI in some form, its ``adcpm`` or a ``fix``.
        bits: Q of the quantiser.
        quantise_from: Samples of stage II from which the quantiser is in the loop; None: only after training.
        recalibrate: With the quantiser in the loop, its steps are set anew after every so many samples.
        short_share: Share of the samples whose messages come shortened, once the quantiser is in the loop:
            :meth:`models.training.Trainer.sent`.
        shortest_dims: Least numbers in a shortened message.
        short_bits: Resolutions of shortened messages.
        bs_dropout: Probability that a base station is missing from a sample.
        hard_share: Share of the samples drawn from hard points alone: :func:`models.training.hard_points`.
        loss: ``norm`` weighs distances, ``squared`` squared distances, by (34).
        local: Schedule of stage I; None: training is joint from scratch.
        joint: Schedule of stage II.
        only_local: Stop after stage I: others go on from there.
        after: Name of the training from whose end this one goes on: :meth:`models.training.Trainer.branch`.
        freeze_encoder: Stage II leaves the encoders as stage I made them.
        training_impairments: What is drawn anew for every training sample.
        test_impairments: The same for validation and test.
        seed: Of weights, samples and masks.
        bfloat16: Mixed precision in the matrix products, on devices that have instructions for it.
    """

    name: str
    joint: Schedule
    about: str = ""
    points: int = 80_000
    shadow_points: int = 0
    validation_points: int = 1_000
    shape: Shape = field(default_factory=Shape)
    phase_reference: str = "delay"
    subcarrier_step: int | None = None
    message: str = EMBEDDING
    bits: int = 10
    quantise_from: int | None = None
    recalibrate: int = 102_400
    short_share: float = 0.0
    shortest_dims: int = 48
    short_bits: tuple[int, ...] = (4, 6, 8, 10)
    bs_dropout: float = 0.05
    hard_share: float = 0.0
    loss: str = "norm"
    local: Schedule | None = None
    only_local: bool = False
    after: str | None = None
    freeze_encoder: bool = False
    training_impairments: Impairments = field(default_factory=Impairments)
    test_impairments: Impairments = field(
        default_factory=lambda: Impairments(displacement_m=0.0, speed_mps=3.0)
    )
    seed: int = 1
    bfloat16: bool = True

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if not self.name or not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ValueError(f"name must be letters, digits, '-', '_' and '.', not {self.name!r}")
        if self.phase_reference not in PHASE_REFERENCES:
            raise ValueError(
                f"phase_reference must be one of {', '.join(PHASE_REFERENCES)}, not {self.phase_reference!r}"
            )
        if self.shape.input_modes is None and self.phase_reference == "delay":
            raise ValueError(f"encoder {self.shape.encoder} needs phase_reference antenna or slot, not delay")
        if self.message not in MESSAGES:
            raise ValueError(f"message must be one of {', '.join(MESSAGES)}, not {self.message!r}")
        for encoder, message in (("power_map", ADCPM), ("local_fix", FIX)):
            if (self.shape.encoder == encoder) != (self.message == message):
                raise ValueError(f"message {message} and encoder {encoder} need each other")
        if self.message != EMBEDDING and (self.quantise_from is not None or self.short_share):
            raise ValueError(f"message {self.message} has no quantiser: quantise_from and short_share")
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")
        if self.only_local and self.local is None:
            raise ValueError("only_local needs local")
        if not 0 <= self.bs_dropout < 1:
            raise ValueError(f"bs_dropout must be from 0 to less than 1, not {self.bs_dropout}")
        if not 0 <= self.short_share <= 1:
            raise ValueError(f"short_share must be from 0 to 1, not {self.short_share}")
        if not 0 <= self.hard_share <= 1:
            raise ValueError(f"hard_share must be from 0 to 1, not {self.hard_share}")
        if self.shadow_points < 0:
            raise ValueError(f"shadow_points must not be negative, not {self.shadow_points}")
        if self.shortest_dims < 1:
            raise ValueError(f"shortest_dims must be at least 1, not {self.shortest_dims}")
        if not self.short_bits:
            raise ValueError("short_bits must not be empty")
        for bits in self.short_bits:
            check_bits(bits)
        if self.subcarrier_step is not None and self.subcarrier_step < 1:
            raise ValueError(f"subcarrier_step must be at least 1, not {self.subcarrier_step}")
        for name in ("points", "validation_points", "recalibrate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


_ADAPTER = TypeAdapter(TrainingConfig)


def config_from(page: dict[str, Any]) -> TrainingConfig:
    """The configuration that a model's page was written with; keys that are newer have their defaults.

    Raises:
        ConfigError: It is none.
    """
    try:
        return _ADAPTER.validate_json(json.dumps(page), strict=True)
    except (ValidationError, TypeError) as error:
        raise ConfigError(f"not a training configuration ({str(error).splitlines()[0]})") from error


def read_config(path: Path, overrides: dict[str, Any] | None = None) -> TrainingConfig:
    """Read a training configuration (YAML); unknown keys are refused.

    Args:
        path: The file.
        overrides: Values of top-level keys that win over the file's.

    Raises:
        ConfigError: The file is missing, not YAML, or has a key or value that means nothing:
            ``file:line:column key: message``.
    """
    try:
        mapping = YAML(typ="rt", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"{path}: cannot be read ({reason})") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else f"{path}"
        raise ConfigError(f"{place}: not YAML ({error.problem or error.context})") from error
    except YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(mapping, CommentedMap):
        raise ConfigError(f"{path}: a training configuration is a mapping with keys such as name and joint")
    try:
        text = json.dumps(dict(mapping) | (overrides or {}))
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(_first_problem(path, mapping, error)) from error


def _first_problem(path: Path, mapping: CommentedMap, error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    unknown = [one for one in problems if one["type"] == UNKNOWN]
    found = (unknown or problems)[0]  # an unknown key may be why another is missing
    where = found["loc"]
    place = f"{path}"
    part: Any = mapping
    for key in where:
        if not isinstance(part, CommentedMap) or key not in part:
            break
        line, column = part.lc.key(key)
        place, part = f"{path}:{line + 1}:{column + 1}", part[key]
    message = found["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if found["type"] == UNKNOWN:
        message = _unknown_key(where)
    elif found["type"] == "missing":
        message = "is missing"
    elif found["type"] != "value_error":
        message += f", not {found['input']!r}"
    elif isinstance(part, CommentedMap) and (named := message.split()[0]) in part:
        line, column = part.lc.key(named)
        place = f"{path}:{line + 1}:{column + 1}"
    key = ".".join(map(str, where))
    return f"{place} {key}: {message}" if key else f"{place}: {message}"


_NESTED: dict[str, type] = {
    "shape": Shape, "local": Schedule, "joint": Schedule,
    "training_impairments": Impairments, "test_impairments": Impairments,
}  # fmt: skip


def _unknown_key(where: tuple[int | str, ...]) -> str:
    kind: Any = _NESTED[str(where[0])] if len(where) > 1 else TrainingConfig
    allowed = list(kind.__dataclass_fields__)
    close = difflib.get_close_matches(str(where[-1]), allowed, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"unknown key; {hint}allowed: {', '.join(allowed)}"
