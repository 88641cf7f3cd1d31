"""The reference page of every key of a scenario file, made from the schema."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from sim.deployment import Deployment
from sim.scenario import units
from sim.scenario.part import Part
from sim.scenario.scenario import Scenario

INTRODUCTION = """\
# Scenario files: every key

Made by `python -m sim reference > docs/scenario-reference.md`; a test keeps it current.

A scenario is a YAML 1.2 file. Quantities are text with a unit (`10 Mbit/s`, `2 ms`); plain numbers are
counts and ratios. Ids begin with a letter and go on with letters, digits, `-` and `_`, 64 characters at most.
A key that is not listed here is refused. Files named in a scenario are found relative to it. Only `duration`
and `ues` are required:

```yaml
duration: 30 s
ues:
  ue1:
    trajectory: {kind: line, from: [60 m, 80 m, 1.5 m], to: [90 m, 80 m, 1.5 m], speed: 1.4 m/s}
    rate: 10 Hz
```

Any key can be changed on the command line by its path, with a value in YAML; entries of lists go by number
from 0: `python -m sim run scenarios/bs_dropout.yaml seed=2 cu.deadline="20 ms" "faults[0].at=2 s"`.

Axes: x east, y north, z up, in metres, in the coordinates of the scene.

| quantity | units |
| --- | --- |
"""

DIMENSIONS = (
    units.TIME,
    units.LENGTH,
    units.SPEED,
    units.ACCELERATION,
    units.FREQUENCY,
    units.DATA_RATE,
    units.SIZE,
    units.SHARE,
    units.POWER,
    units.LEVEL,
    units.ANGLE,
)


def reference() -> str:
    """The page as Markdown."""
    quantities = [
        f"| {dimension.name} | {', '.join(f'`{unit}`' for unit, _ in dimension.units)} |"
        for dimension in DIMENSIONS
    ]
    sections = [section(part, name) for part, name in parts().items()]
    return INTRODUCTION + "\n".join(quantities) + "\n\n" + "\n".join(sections)


@cache
def parts() -> dict[type[Part], str]:
    """Every part with the path at which it first stands, from the top down."""
    found: dict[type[Part], str] = {}

    def visit(part: type[Part], path: str) -> None:
        found[part] = path
        for key, field in fields_of(part):
            for child, suffix in children(field.annotation):
                if child not in found:
                    visit(child, f"{path}.{key}{suffix}".lstrip("."))

    visit(Scenario, "")
    return found


def fields_of(part: type[Part]) -> list[tuple[str, FieldInfo]]:
    """Keys and fields of a part; what names a kind first, then what is inherited last."""
    fields = [(field.alias or name, field) for name, field in part.model_fields.items()]
    return sorted(fields, key=lambda item: item[0] != "kind")


def children(annotation: Any) -> Iterator[tuple[type[Part], str]]:
    """The parts that a type is made of, each with what comes between the key and its keys in a path."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from children(get_args(annotation)[0])
    elif inspect.isclass(annotation) and issubclass(annotation, Part):
        yield annotation, ""
    elif origin is dict:
        yield from ((part, f".<id>{suffix}") for part, suffix in children(get_args(annotation)[1]))
    elif origin is list:
        yield from ((part, f"[n]{suffix}") for part, suffix in children(get_args(annotation)[0]))
    elif origin in (Union, types.UnionType):
        for choice in get_args(annotation):
            yield from children(choice)


def section(part: type[Part], path: str) -> str:
    """Heading, what the part is, and a table of its keys."""
    above = like(part)
    known = set(above.keys()) if above else set()
    rows = [
        f"| `{key}` | {value_of(field)} | {default_of(field)} | {field.description or ''} |".replace(
            "  |", " |"
        )
        for key, field in fields_of(part)
        if key not in known and not (key == "kind" and kind_of(part))
    ]
    about = (inspect.getdoc(part) or "").splitlines()[0]
    lines = [f"## {title(part, path)}", "", about, ""]
    if above:
        lines += [f"All keys of [`{parts()[above]}`](#{anchor(above)}), and:", ""]
    if rows:
        lines += ["| key | value | default | |", "| --- | --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def like(part: type[Part]) -> type[Part] | None:
    """A part further up on the page whose keys this one has too, or None."""
    order = list(parts())
    for base in part.__mro__[1:]:
        if base in order and order.index(base) < order.index(part):
            return base
    return None


def anchor(part: type[Part]) -> str:
    """Where the section of a part is on the page."""
    heading = title(part, parts()[part]).lower().replace(" ", "-")
    return "".join(character for character in heading if character.isalnum() or character in "-_")


def title(part: type[Part], path: str) -> str:
    """Heading of a part's section: its path, and its kind if it is one of several."""
    if not path:
        return "Top level"
    kind = kind_of(part)
    return f"`{path}` of kind `{kind}`" if kind else f"`{path}`"


def kind_of(part: type[Part]) -> str | None:
    """What ``kind`` must be for this part, or None if it has no kind or several."""
    field = part.model_fields.get("kind")
    kinds = get_args(field.annotation) if field else ()
    return str(kinds[0]) if len(kinds) == 1 else None


def value_of(field: FieldInfo) -> str:
    """What may stand as a value, in words."""
    return words(Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation)


def words(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return annotated(arguments[0], arguments[1:])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is dict:
        return f"by id: {words(arguments[1])}"
    if origin is list:
        return f"list of {words(arguments[0])}"
    if origin is tuple:
        return f"`[`{', '.join(words(item) for item in arguments)}`]`"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(item) for item in arguments if item is not type(None)))
    if inspect.isclass(annotation) and issubclass(annotation, Part):
        return mapping(annotation)
    return {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}[annotation]


def annotated(annotation: Any, metadata: tuple[Any, ...]) -> str:
    """A type with bounds or a unit in words."""
    for extra in metadata:
        if isinstance(extra, units.Unit):
            return quantity(extra)
    plain = words(annotation)
    if plain not in ("whole number", "number"):
        return plain
    flat = [
        item for extra in metadata for item in (extra.metadata if isinstance(extra, FieldInfo) else [extra])
    ]
    return " ".join([plain, *(text for extra in flat if (text := bound(extra)))])


def bound(extra: Any) -> str:
    """A bound of a number in words; empty for anything else."""
    match extra:
        case Ge():
            return f"≥ {extra.ge}"
        case Gt():
            return f"> {extra.gt}"
        case Le():
            return f"≤ {extra.le}"
        case Lt():
            return f"< {extra.lt}"
    return ""


def quantity(unit: units.Unit) -> str:
    """A quantity with its bounds in words."""
    text = unit.dimension.name
    if unit.at_least is not None:
        text += f" ≥ {units.format_quantity(unit.at_least, unit.dimension).split()[0]}"
    if unit.more_than is not None:
        text += f" > {units.format_quantity(unit.more_than, unit.dimension).split()[0]}"
    if unit.at_most is not None:
        text += f" ≤ {units.format_quantity(unit.at_most, unit.dimension)}"
    return f"{text} or `unlimited`" if unit.unlimited else text


def mapping(part: type[Part]) -> str:
    """A link to the section of a part, called by its kind if it has one."""
    kind = kind_of(part)
    return f"[{f'`{kind}`' if kind else 'mapping'}](#{anchor(part)})"


def default_of(field: FieldInfo) -> str:
    """The default as it would stand in a file."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    unit = next((extra for extra in field.metadata if isinstance(extra, units.Unit)), None)
    if unit is not None:
        return f"`{unit.write(default)}`"
    if isinstance(default, Deployment):
        return f"`{default.name}`"
    if isinstance(default, Part):
        kind = getattr(default, "kind", None)
        return f"`{kind}`" if kind else "see there"
    if default is None:
        return "`unlimited`" if "unlimited" in value_of(field) else "–"
    return f"`{default}`" if isinstance(default, str) and default else f"`{json.dumps(default)}`"
