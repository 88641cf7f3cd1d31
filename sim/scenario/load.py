"""From a file to a scenario, or to one line that says what is wrong and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sim.scenario import document as yaml
from sim.scenario.errors import PROBLEM, ScenarioError, quoted, suggestion
from sim.scenario.overrides import apply_texts, apply_values
from sim.scenario.scenario import Scenario


def load_scenario(
    path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = (), **changes: Any
) -> Scenario:
    """Read a scenario file.

    Args:
        path: The YAML file.
        overrides: ``key.path=value`` texts, or a mapping from ``key.path`` to values.
        changes: The same as keywords, ``__`` for a dot.

    Raises:
        ScenarioError: What is wrong, and where.
    """
    file = Path(path)
    document = yaml.read(read_text(file), str(path))
    if isinstance(overrides, Mapping):
        apply_values(document, overrides)
    else:
        apply_texts(document, overrides)
    apply_values(document, {name.replace("__", "."): value for name, value in changes.items()})
    document.value.setdefault("name", file.name.split(".")[0] or "scenario")
    return scenario_of(document, file.parent)


def parse_scenario(text: str, *, file: str = "scenario", folder: str | Path = ".") -> Scenario:
    """A scenario from YAML text; ``file`` names it in errors; raises ScenarioError."""
    return scenario_of(yaml.read(text, file), Path(folder))


def read_text(file: Path) -> str:
    """The text of a scenario file; raises ScenarioError."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ScenarioError(str(file), None, None, "", "no such file") from error
    except IsADirectoryError as error:
        raise ScenarioError(str(file), None, None, "", "is a folder, not a scenario file") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(str(file), None, None, "", "not a text file in UTF-8") from error
    except OSError as error:
        raise ScenarioError(str(file), None, None, "", f"cannot be read: {error.strerror}") from error


def scenario_of(document: yaml.Document, folder: Path) -> Scenario:
    """Check a document's values; raises ScenarioError for the first mistake in the file."""
    if "study" in document.value:
        raise document.error(("study",), "this is a study: `python -m sim sweep` runs it", at_key=True)
    try:
        scenario = Scenario.model_validate(document.value, context={"folder": folder})
    except ValidationError as error:
        problems = [line_of(document, dict(details)) for details in error.errors(include_url=False)]
        raise min(problems, key=lambda problem: (problem.line or 0, problem.column or 0)) from None
    scenario._folder = folder
    return scenario


def line_of(document: yaml.Document, details: dict[str, Any]) -> ScenarioError:
    """One validation error as one line with its place."""
    path = path_in(document.value, details["loc"], missing=details["type"] == "missing")
    context = details.get("ctx", {})
    if details["type"] == PROBLEM:
        path = (*path, *context["path"])
        return document.error(path, context["text"], at_key=context["at_key"])
    at_key = bool(details["loc"]) and details["loc"][-1] == "[key]"
    if details["type"].startswith("union_tag"):
        path = (*path, "kind")
    if details["type"] == "missing" and isinstance(path[-1], int):
        return document.error(path[:-1], f"has {len(details['input'])} entries, needs more")
    return document.error(path, message_of(details), at_key=at_key)


def path_in(value: Any, location: Sequence[str | int], *, missing: bool) -> yaml.Path:
    """The path in the file of a location that also names the alternatives taken on the way.

    ``missing``: the last step is a key that is not there.
    """
    path: list[str | int] = []
    for step in location:
        if has(value, step):
            value = value[step]
            path.append(step)
    return (*path, location[-1]) if missing else tuple(path)


def has(value: Any, step: str | int) -> bool:
    """Whether a mapping has a key, or a list an entry of that number."""
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, Mapping) and step in value


def message_of(details: dict[str, Any]) -> str:
    """What is wrong, in the words of a scenario's author."""
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    match kind:
        case "missing":
            return "required, but missing"
        case "literal_error":
            allowed = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
            return f"{quoted(value)} is not allowed; {suggestion(str(value), allowed)}"
        case "union_tag_invalid":
            allowed = [word.strip("'") for word in context["expected_tags"].split(", ")]
            return f"'{context['tag']}' is not a kind; {suggestion(context['tag'], allowed)}"
        case "union_tag_not_found":
            return "required, but missing"
        case "string_pattern_mismatch" if "\\n" in context["pattern"]:
            return "must be one line"
        case "string_pattern_mismatch":
            return f"{quoted(value)} is not allowed: letters, digits, - and _ only, a letter first"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"must be a whole number, not {shown(value)}"
        case "float_type" | "float_parsing":
            return f"must be a number, not {shown(value)}"
        case "finite_number":
            return "must be finite"
        case "greater_than_equal":
            return f"{value} is not allowed: must be at least {context['ge']}"
        case "greater_than":
            return f"{value} is not allowed: must be more than {context['gt']}"
        case "less_than_equal":
            return f"{value} is not allowed: must be at most {context['le']}"
        case "less_than":
            return f"{value} is not allowed: must be less than {context['lt']}"
        case "string_type":
            return f"must be text, not {shown(value)}"
        case "bool_type":
            return f"must be true or false, not {shown(value)}"
        case "model_type" | "dict_type":
            return f"must be a mapping, not {shown(value)}"
        case "model_attributes_type":
            return f"must be a mapping with a kind, not {shown(value)}"
        case "list_type" | "tuple_type":
            return f"must be a list, not {shown(value)}"
        case "too_short":
            return f"needs at least {context['min_length']}, has {context['actual_length']}"
        case "too_long":
            return f"takes at most {context['max_length']}, has {context['actual_length']}"
        case "string_too_long":
            return f"takes at most {context['max_length']} characters, has {len(value)}"
        case "string_too_short":
            return "must not be empty"
    return str(details["msg"])


def shown(value: Any) -> str:
    """A wrong value in a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else str(value)
