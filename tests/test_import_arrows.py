"""Who may import whom, and what the core must not import: read from the sources, without importing them."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("sim", "nodes", "broker", "models")
ARROWS = {
    "sim": {"nodes", "broker", "models"},
    "nodes": {"broker", "models"},
    "broker": set[str](),
    "models": set[str](),
}
HEAVY = {
    "torch", "sionna", "drjit", "mitsuba", "ray", "scipy", "pandas", "matplotlib", "onnx", "safetensors",
    "tensorflow",
}  # fmt: skip
"""What only training, tracing or a cluster needs, or nothing of ours at all."""
RUNTIME = ("runtime", "quantiser", "testing")
"""The modules of `models` that run without the training stack."""
DISTRIBUTIONS = {
    "annotated_types": "pydantic",
    "array_api_compat": "array-api-compat",
    "drjit": "sionna",
    "mitsuba": "sionna",
    "pydantic_core": "pydantic",
    "ruamel": "ruamel.yaml",
    "zmq": "pyzmq",
}
"""Which dependency brings a package, where the names differ."""


def modules_of(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = {name: path for package in OURS for name, path in modules_of(package)}


@cache
def imports_of(module: str, *, everywhere: bool) -> frozenset[str]:
    """Dotted names a module imports: everywhere in it, or only what is imported together with it."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    nodes: Iterator[ast.AST] = ast.walk(tree) if everywhere else at_import(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """What is run when a module is imported: no bodies of functions, nothing for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for otherwise in node.orelse:
                yield otherwise
                yield from at_import(otherwise)
            continue
        yield node
        yield from at_import(node)


def reached_by(module: str) -> set[str]:
    """All dotted names imported together with a module, also through other modules of ours."""
    seen: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        parents = [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
        pending += [parent for parent in parents if parent in MODULES]
        if name in MODULES:
            pending += imports_of(name, everywhere=False)
    return seen


def heavy_in(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names} & HEAVY


@pytest.mark.parametrize("package", OURS)
def test_packages_import_along_the_arrows_only(package: str) -> None:
    against = {
        f"{module} imports {name}"
        for module in MODULES
        if module.split(".")[0] == package
        for name in imports_of(module, everywhere=True)
        if (top := name.split(".")[0]) in OURS and top != package and top not in ARROWS[package]
    }
    assert not against


def test_nodes_import_only_the_runtime_of_models() -> None:
    taken = {
        name.split(".")[1]
        for module in MODULES
        if module.split(".")[0] == "nodes"
        for name in imports_of(module, everywhere=True)
        if name.startswith("models.")
    }
    assert taken <= set(RUNTIME)


@pytest.mark.parametrize(
    "module", [name for name in MODULES if name.split(".")[0] in ("sim", "nodes", "broker")]
)
def test_core_imports_nothing_heavy(module: str) -> None:
    assert not heavy_in(reached_by(module))


@pytest.mark.parametrize("module", [f"models.{name}" for name in RUNTIME if f"models.{name}" in MODULES])
def test_runtime_of_models_imports_nothing_heavy(module: str) -> None:
    assert not heavy_in(reached_by(module))


@pytest.mark.parametrize("package", OURS)
def test_sources_import_what_the_project_declares_and_nothing_more(package: str) -> None:
    """At import the core may use core dependencies alone; within functions those of the extras too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    core = {name_of(line) for line in project["dependencies"]}
    named = ("train", "rt", "cluster", "tensorflow")
    every = core | {name_of(line) for name in named for line in extras[name]}
    for module in MODULES:
        if module.split(".")[0] == package:
            allowed = every if package == "models" else core
            assert foreign(imports_of(module, everywhere=False)) <= allowed, module
            assert foreign(imports_of(module, everywhere=True)) <= every, module


def test_every_dependency_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    used = {name for module in MODULES for name in foreign(imports_of(module, everywhere=True))}
    assert {name_of(line) for line in project["dependencies"]} - used == set()


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return found[0].lower()


def foreign(names: frozenset[str]) -> set[str]:
    """Distributions that imported names belong to, without ours and the standard library."""
    tops = {name.split(".")[0] for name in names} - set(OURS) - sys.stdlib_module_names
    return {DISTRIBUTIONS.get(top, top) for top in tops}
