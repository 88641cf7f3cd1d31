"""Changes to a scenario from the command line: ``key.path=value``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from sim.scenario.document import Document, Path, Place, compose, construct
from sim.scenario.errors import ScenarioError

SHORTHANDS: dict[Path, str] = {("deployment",): "preset", ("clock",): "kind", ("bs", "policy"): "kind"}
STEP = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")


def apply_texts(document: Document, overrides: Sequence[str]) -> None:
    """Put ``key.path=value`` texts over a document, in order; raises ScenarioError."""
    for text in overrides:
        name, equals, value = text.partition("=")
        place = Place(f"override {text}")
        if not equals or not name.strip():
            raise ScenarioError(place.file, None, None, "", "expected key.path=value")
        path = path_of(name.strip(), place)
        put(document, path, value_of(value, path, place), place)


def value_of(text: str, path: Path, place: Place) -> Any:
    """The value of a YAML text; raises ScenarioError."""
    try:
        node = compose(text, place.file)
        return None if node is None else construct(node, Document(place.file), path)
    except ScenarioError as error:
        raise place.error(path, error.message) from error


def apply_values(document: Document, changes: Mapping[str, Any]) -> None:
    """Put values over a document; keys are paths with dots; raises ScenarioError."""
    for name, value in changes.items():
        place = Place(f"override {name}")
        put(document, path_of(name, place), value, place)


def path_of(name: str, place: Place) -> Path:
    """``faults[0].at`` or ``faults.0.at`` as a path; raises ScenarioError."""
    path: list[str | int] = []
    for step in name.split("."):
        match = STEP.fullmatch(step)
        if not match:
            raise ScenarioError(place.file, None, None, "", f"'{name}' is not a path such as cu.deadline")
        path.append(match[1])
        path.extend(int(index) for index in re.findall(r"\d+", match[2]))
    return tuple(path)


def put(document: Document, path: Path, value: Any, place: Place) -> None:
    """Set one value, making mappings on the way; raises ScenarioError."""
    parent = document.value
    taken: Path = ()
    for step, following in pairwise(path):
        key = index_in(parent, step, (*taken, step), place)
        taken = (*taken, key)
        child = parent[key] if isinstance(parent, list) else parent.get(key)
        if taken in SHORTHANDS and isinstance(child, str):
            child = {SHORTHANDS[taken]: child}
        if child is None:
            child = [] if isinstance(following, int) else {}
            document.values[taken] = document.keys[taken] = place
        if not isinstance(child, dict | list):
            raise place.error(taken, f"is '{child}', so it has no key '{following}'")
        parent[key] = child
        parent = child
    last = index_in(parent, path[-1], path, place)
    parent[last] = value
    taken = (*taken, last)
    for places in (document.values, document.keys):
        for below in [known for known in places if known[: len(taken)] == taken]:
            del places[below]
    document.values[taken] = document.keys[taken] = place


def index_in(parent: Any, step: str | int, path: Path, place: Place) -> Any:
    """The step as a key of a mapping or a number in a list; raises ScenarioError."""
    if not isinstance(parent, list):
        return str(step)
    if not str(step).isdigit() or int(step) >= len(parent):
        entries = f"entries 0 to {len(parent) - 1}" if parent else "no entries"
        raise place.error(path, f"the list has {entries}, so there is no '{step}'")
    return int(step)
