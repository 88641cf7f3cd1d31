"""A study: a scenario, what to vary, and how often to repeat."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError
from pydantic_core import PydanticCustomError

from broker.streams import stream
from sim.scenario import Scenario, ScenarioError
from sim.scenario import document as yaml
from sim.scenario.load import line_of, read_text, scenario_of
from sim.scenario.overrides import apply_values, path_of, value_of
from sim.scenario.part import Count, Part
from sim.study.axis import Axis, Value, axis_of

WITHOUT_EFFECT = ("name", "description", "transport", "fronthaul", "cu", "tracker", "faults", "bs")
MESSAGE_KEYS = ("bits", "dims", "per_bs", "policy")
"""Of `model`: keys that decide what is sent of an embedding, not the embedding."""

MOST_CHECKED = 200
"""Values tried before a study begins; what is wrong with others is told when their turn comes."""


class Sample(Part):
    """Points drawn from the ranges instead of a grid."""

    method: Literal["random", "latin_hypercube"] = Field(
        default="latin_hypercube",
        description="`random`: independent; `latin_hypercube`: each axis evenly covered",
    )
    points: Annotated[Count, Field(ge=1)] = Field(description="how many")
    seed: Annotated[Count, Field(ge=0)] = Field(default=1, description="of the drawing")


class Until(Part):
    """Repeat each point until a figure is known well enough."""

    figure: str = Field(default="track_error_3d_mean_m", description="column of the results")
    half_width: float = Field(gt=0, description="of its 95 % confidence interval, in its unit")
    most: Annotated[Count, Field(ge=2)] = Field(default=50, description="repetitions at most")


class StudyPart(Part):
    """What a study file says below `study`."""

    scenario: str = Field(description="path of the scenario, from the study file's folder")
    description: str = Field(default="", description="what the study shows")
    set: dict[str, Any] = Field(default_factory=dict, description="keys changed in all points")
    sweep: dict[str, Any] = Field(min_length=1, description="axes by key or name")
    sample: Sample | None = Field(default=None, description="points drawn from ranges; absent: the grid")
    repeat: Annotated[Count, Field(ge=1)] = Field(default=1, description="seeds per point")
    until: Until | None = Field(default=None, description="more seeds where they are needed")


class StudyFile(Part):
    """A study file."""

    study: StudyPart


@dataclass(frozen=True)
class Point:
    """One combination of values with one seed."""

    group: int
    """Number of the combination."""
    repeat: int
    """What is added to the scenario's seed: the same random numbers for all combinations."""
    values: tuple[Value, ...]
    """One for each axis."""

    @property
    def changes(self) -> dict[str, Any]:
        """All keys that are changed."""
        return {key: item for value in self.values for key, item in value.changes.items()}


@dataclass(frozen=True, eq=False)
class Study:
    """What to run.

    Attributes:
        name: of the study.
        description: what it shows, in a line.
        file: the scenario file.
        document: its content, `set` applied.
        axes: what varies.
        groups: the combinations of values, one value for each axis.
        repeat: seeds of each combination.
        until: when to stop repeating; None: after `repeat`.
    """

    name: str
    description: str
    file: Path
    document: yaml.Document
    axes: tuple[Axis, ...]
    groups: tuple[tuple[Value, ...], ...]
    repeat: int
    until: Until | None = field(default=None)

    @cached_property
    def _pickled(self) -> bytes:
        return pickle.dumps(self.document)

    def points(self, first_repeat: int = 0, repeats: int | None = None) -> Iterator[Point]:
        """All combinations with each seed, those of one seed together."""
        for repeat in range(first_repeat, first_repeat + (self.repeat if repeats is None else repeats)):
            for number, values in enumerate(self.groups):
                yield Point(number, repeat, values)

    def scenario(self, point: Point) -> Scenario:
        """The scenario of a point; raises ScenarioError."""
        document: yaml.Document = pickle.loads(self._pickled)  # noqa: S301 - our own; a fast deep copy
        apply_values(document, point.changes)
        seed = document.value.get("seed", 1)
        if isinstance(seed, int):  # else the scenario says what is wrong with it
            document.value["seed"] = seed + point.repeat
        return scenario_of(document, self.file.parent)

    def base(self) -> Scenario:
        """The scenario that all points have in common; raises ScenarioError."""
        return scenario_of(copy.deepcopy(self.document), self.file.parent)

    def check(self) -> None:
        """Raise ScenarioError for a value of an axis that makes no scenario with the first of the others."""
        self.base()
        first = self.groups[0]
        tried = {(number, first[number].label) for number in range(1, len(self.axes))}
        for group in self.groups:
            for number, value in enumerate(group):
                if (number, value.label) not in tried and len(tried) < MOST_CHECKED:
                    tried.add((number, value.label))
                    self.scenario(Point(0, 0, (*first[:number], value, *first[number + 1 :])))

    def heard_with(self, point: Point) -> str:
        """Tells points apart that need other embeddings: all else is decided after them."""
        changes = {key: item for key, item in point.changes.items() if decides_embeddings(key)}
        return json.dumps([point.repeat, changes], sort_keys=True)

    def as_mapping(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "name": self.name,
            "description": self.description,
            "scenario": self.file.name,
            "axes": [
                {
                    "name": axis.name,
                    "keys": list(axis.keys),
                    "numeric": self.is_numeric(number),
                    "values": list(
                        {group[number].label: group[number].number for group in self.groups}.items()
                    ),
                }
                for number, axis in enumerate(self.axes)
            ],
            "combinations": len(self.groups),
            "repeat": self.repeat,
            "until": None if self.until is None else self.until.model_dump(),
        }

    def is_numeric(self, axis: int) -> bool:
        """Whether an axis has only numbers in the points."""
        return all(group[axis].number is not None for group in self.groups)

    def digest(self) -> str:
        """Names scenario and changes, but not which combinations there are."""
        mapping = self.base().to_mapping()
        text = json.dumps([mapping, [axis.name for axis in self.axes]], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def decides_embeddings(key: str) -> bool:
    """Whether a key of a scenario may change what base stations hear or encode."""
    steps = path_of(key, yaml.Place(key))
    if steps[0] == "model":
        return len(steps) < 2 or steps[1] not in MESSAGE_KEYS
    return steps[0] not in WITHOUT_EFFECT


def decides_model(key: str) -> bool:
    """Whether a key of a scenario may change which model it is."""
    steps = path_of(key, yaml.Place(key))
    return steps[0] == "model" and (len(steps) < 2 or steps[1] == "name")


def load_study(path: str | Path, overrides: Sequence[str] = (), repeat: int | None = None) -> Study:
    """A study from its file, or from a scenario and what to vary.

    Args:
        path: a file with `study:`, or a scenario file.
        overrides: ``key=a,b,c`` makes an axis, in a study file in place of one of its name; ``key=a`` changes
            all points.
        repeat: seeds per point, instead of the file's.

    Raises:
        ScenarioError: what is wrong, and where.
    """
    file = Path(path)
    document = yaml.read(read_text(file), str(path))
    if "study" not in document.value:
        return study_of(file.name.split(".")[0], "", file, document, {}, overrides, None, repeat or 1, None)
    try:
        part = StudyFile.model_validate(document.value).study
    except ValidationError as error:
        raise line_of(document, dict(error.errors(include_url=False)[0])) from None
    scenario_file = file.parent / part.scenario
    scenario = yaml.read(read_text(scenario_file), str(scenario_file))
    apply_values(scenario, part.set)
    axes = {name: axis_in(document, name, given) for name, given in part.sweep.items()}
    name = file.name.split(".")[0]
    return study_of(
        name,
        part.description,
        scenario_file,
        scenario,
        axes,
        overrides,
        part.sample,
        repeat or part.repeat,
        part.until,
    )


def axis_in(document: yaml.Document, name: str, given: Any) -> Axis:
    """An axis of a study file; raises ScenarioError."""
    try:
        return axis_of(name, given)
    except PydanticCustomError as error:
        context = error.context or {}
        path = ("study", "sweep", name, *context["path"])
        raise document.error(path, str(context["text"]), at_key=context["at_key"]) from error


def study_of(
    name: str,
    description: str,
    file: Path,
    document: yaml.Document,
    axes: Mapping[str, Axis],
    overrides: Sequence[str],
    sample: Sample | None,
    repeat: int,
    until: Until | None,
) -> Study:
    """Put what the command line says over the axes, and lay out the points; raises ScenarioError."""
    known = dict(axes)
    for text in overrides:
        key, equals, value = text.partition("=")
        place = yaml.Place(f"override {text}")
        if not equals or not key.strip():
            raise ScenarioError(place.file, None, None, "", "expected key.path=value or key.path=a,b,c")
        path = path_of(key.strip(), place)
        pieces = split(value)
        values = [value_of(piece, path, place) for piece in pieces]
        if len(values) > 1:
            try:
                known[key.strip()] = axis_of(key.strip(), values)
            except PydanticCustomError as error:
                raise place.error(path, str((error.context or {})["text"])) from error
        else:
            known.pop(key.strip(), None)
            apply_values(document, {key.strip(): values[0]})
    if not known:
        raise ScenarioError(str(file), None, None, "", "nothing to vary: give key.path=a,b,c")
    document.value.setdefault("name", file.name.split(".")[0] or "scenario")
    chosen = tuple(known.values())
    groups = grid(chosen) if sample is None else sampled(chosen, sample)
    study = Study(name, description, file, document, chosen, tuple(groups), repeat, until)
    study.check()
    return study


def grid(axes: Sequence[Axis]) -> list[tuple[Value, ...]]:
    """Every combination of values, the last axis fastest."""
    return list(itertools.product(*(axis.values for axis in axes)))


def sampled(axes: Sequence[Axis], sample: Sample) -> list[tuple[Value, ...]]:
    """Combinations drawn from spans and lists; one axis does not shift another's draws."""
    columns = [drawn(axis, sample) for axis in axes]
    return list(zip(*columns, strict=True))


def drawn(axis: Axis, sample: Sample) -> list[Value]:
    """Values of one axis, one for each point."""
    random = stream(sample.seed, f"study {sample.method}", axis.name)
    shares = random.random(sample.points)
    if sample.method == "latin_hypercube":  # McKay, Beckman and Conover, 1979: one in each n-th of the span
        shares = (random.permutation(sample.points) + shares) / sample.points
    if axis.span is not None:
        return [axis.span.drawn(share) for share in shares.tolist()]
    at = np.minimum((shares * len(axis.values)).astype(int), len(axis.values) - 1)
    return [axis.values[index] for index in at.tolist()]


def split(text: str) -> list[str]:
    """The pieces between commas that lie in no brackets or quotes."""
    pieces, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "[{(":
            depth += 1
        elif char in "]})":
            depth -= 1
        if char == "," and depth == 0 and not quote:
            pieces.append("")
        else:
            pieces[-1] += char
    return [piece.strip() for piece in pieces]
