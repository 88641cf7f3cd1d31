"""A YAML 1.2 document as plain values, and where in the file each of them stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sim.scenario.errors import ScenarioError

Path = tuple[str | int, ...]
DEEPEST = 50
MOST_VALUES = 100_000
"""In a document of fewer characters; without aliases there are never more values than characters."""
WIDTH = 110
PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[a-z][a-z_]{0,30}[0-9]{0,9}(?:-[0-9]{1,9})?")
"""Texts that mean themselves in YAML; a few do that are not among them."""
QUANTITY = re.compile(
    r"-?[0-9]{1,12}(?:\.[0-9]{1,20})? (?:[numkMG]?(?:Hz|m|s|B)|min|h|deg|%|m/s|m/s2|[kMG]?bit/s|dBm?)"
)
NUMBER = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,12})?")


@dataclass(frozen=True)
class Place:
    """Somewhere in a file, or an override on the command line (no line then)."""

    file: str
    line: int | None = None
    column: int | None = None

    def error(self, path: Path, message: str) -> ScenarioError:
        """The error of something that is wrong here."""
        return ScenarioError(self.file, self.line, self.column, dotted(path), message)


@dataclass
class Document:
    """Values of a scenario with the place of every key and value."""

    file: str
    value: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    most_values: int = MOST_VALUES

    def place(self, path: Path, *, at_key: bool = False) -> Place:
        """Where a value (or its key) stands; where its nearest parent's key stands if it is missing."""
        for length in range(len(path), -1, -1):
            known = path[:length]
            if known not in self.values:
                continue
            value, key = self.values[known], self.keys.get(known)
            if key and (at_key or length < len(path) or key.line != value.line):
                return key
            return value
        return Place(self.file, 1, 1)

    def error(self, path: Path, message: str, *, at_key: bool = False) -> ScenarioError:
        """The error of something that is wrong at a path."""
        return self.place(path, at_key=at_key).error(path, message)


def read(text: str, file: str) -> Document:
    """Parse YAML text.

    Raises:
        ScenarioError: It is no YAML, has a key twice, or is no mapping.
    """
    document = Document(file, most_values=max(MOST_VALUES, len(text)))
    node = compose(text, file)
    if not isinstance(node, MappingNode):
        raise ScenarioError(file, 1, 1, "", "a scenario is a mapping with keys such as duration and ues")
    document.value = construct(node, document, ())
    return document


def compose(text: str, file: str) -> Node | None:
    """The nodes of a YAML text; raises ScenarioError."""
    yaml = YAML(typ="rt", pure=True)
    try:
        node: Node | None = yaml.compose(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ScenarioError(file, line, column, "", f"not YAML: {error.problem or error.context}") from error
    except RecursionError as error:
        raise ScenarioError(file, 1, 1, "", "nested too deeply") from error
    except YAMLError as error:
        first = str(error).strip().splitlines()[0]
        raise ScenarioError(file, 1, 1, "", f"not YAML: {first}") from error
    return node


def construct(node: Node, document: Document, path: Path) -> Any:
    """The plain value of a node; notes the places of it and all below it."""
    place = Place(document.file, node.start_mark.line + 1, node.start_mark.column + 1)
    document.values[path] = place
    if len(path) > DEEPEST:
        raise place.error(path, "nested too deeply")
    if len(document.values) > document.most_values:
        raise place.error(path, "aliases make too much of it")
    if isinstance(node, SequenceNode):
        return [construct(child, document, (*path, index)) for index, child in enumerate(node.value)]
    if isinstance(node, MappingNode):
        return construct_mapping(node, document, path)
    assert isinstance(node, ScalarNode)
    return construct_scalar(node, place, path)


def construct_mapping(node: MappingNode, document: Document, path: Path) -> dict[str, Any]:
    """The plain dict of a mapping node; raises ScenarioError for a key that is no text or comes twice."""
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = Place(document.file, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        key = construct_scalar(key_node, place, path) if isinstance(key_node, ScalarNode) else None
        if not isinstance(key, str):
            raise place.error(path, f"a key must be text, not {key_node.value}")
        below = (*path, key)
        if key in result:
            first = document.keys[below]
            raise place.error(below, f"the key is there already, in line {first.line}")
        document.keys[below] = place
        result[key] = construct(value_node, document, below)
    return result


def construct_scalar(node: ScalarNode, place: Place, path: Path) -> Any:
    """Text, number, truth value or null; raises ScenarioError for any other tag."""
    tag = str(node.tag).removeprefix("tag:yaml.org,2002:")
    text: str = node.value
    try:
        match tag:
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text.replace("_", ""), 0) if text[:2] in ("0x", "0o") else int(text)
            case "float":
                return float(text.replace(".inf", "inf").replace(".nan", "nan").replace(".Inf", "inf"))
    except ValueError:
        return text
    if tag == "timestamp":
        return text
    raise place.error(path, f"YAML tag {tag} is not supported")


def dump(mapping: dict[str, Any]) -> str:
    """YAML text of a mapping; short lists stay on one line."""
    return "".join(block(mapping, ""))


def block(mapping: dict[str, Any], indent: str) -> Iterator[str]:
    """The text that ruamel.yaml writes of a mapping, which a thousand UEs need not wait for.

    What is most of such a file, mappings and plain text in them, is written here, the rest by ruamel.yaml.
    """
    for key, value in mapping.items():
        is_plain = PLAIN.fullmatch(key)
        if is_plain and isinstance(value, dict) and value:
            yield f"{indent}{key}:\n"
            yield from block(value, indent + "  ")
        elif is_plain and (text := plain(value)) is not None:
            yield f"{indent}{key}: {text}\n"
        elif is_plain and (rows := points(value)) is not None:
            yield f"{indent}{key}:\n"
            yield from (f"{indent}- {row}\n" for row in rows)
        else:
            for line in by_ruamel({key: value}, WIDTH - len(indent)).splitlines(keepends=True):
                yield indent + line


def plain(value: Any) -> str | None:
    """A text, a number or a short list of quantities, on one line, if there can be no doubt of how."""
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) or QUANTITY.fullmatch(value) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return text if NUMBER.fullmatch(text := repr(value)) else None
    return point(value)


def point(value: Any) -> str | None:
    """A short list of quantities, on one line."""
    if not isinstance(value, list) or not 1 <= len(value) <= 3:
        return None
    if not all(isinstance(item, str) and QUANTITY.fullmatch(item) for item in value):
        return None
    return f"[{', '.join(value)}]"


def points(value: Any) -> list[str] | None:
    """A list of such lists, each on a line."""
    if not isinstance(value, list) or not value:
        return None
    rows = [row for row in map(point, value) if row is not None]
    return rows if len(rows) == len(value) else None


def by_ruamel(mapping: dict[str, Any], width: int = WIDTH) -> str:
    """YAML text of a mapping."""
    yaml = YAML(typ="rt", pure=True)
    yaml.width = width
    yaml.default_flow_style = False
    stream = StringIO()
    yaml.dump(flow_leaves(mapping), stream)
    return stream.getvalue()


def flow_leaves(value: Any) -> Any:
    """The same value with lists of scalars marked to be written on one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, dict):
        result = CommentedMap((key, flow_leaves(item)) for key, item in value.items())
        if not result:
            result.fa.set_flow_style()
        return result
    if isinstance(value, list):
        items = CommentedSeq(flow_leaves(item) for item in value)
        if not any(isinstance(item, dict | list) for item in value):
            items.fa.set_flow_style()
        return items
    return value


def dotted(path: Path) -> str:
    """``('faults', 0, 'at')`` as ``faults[0].at``."""
    return "".join(steps(path))


def steps(path: Path) -> Iterator[str]:
    """The pieces of a dotted path."""
    for index, step in enumerate(path):
        yield f"[{step}]" if isinstance(step, int) else f"{'.' if index else ''}{step}"
