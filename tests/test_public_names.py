"""`__all__` of every package holds its public names, and nothing else."""

import ast
import importlib
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SORTED = ("nodes",)
"""Packages whose names are in their order; others group them by meaning."""


def packages() -> list[str]:
    """All packages of ours whose `__init__` offers names."""
    found = []
    for top in ("sim", "nodes", "broker", "models"):
        for path in sorted((ROOT / top).rglob("__init__.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if any(
                isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef) for node in ast.walk(tree)
            ):
                found.append(".".join(path.relative_to(ROOT).parent.parts))
    return found


@pytest.mark.parametrize("name", packages())
def test_all_holds_the_public_names_and_nothing_else(name: str) -> None:
    package = importlib.import_module(name)
    offered = package.__all__
    assert len(set(offered)) == len(offered)
    assert all(hasattr(package, public) for public in offered)
    if name in SORTED:
        assert list(offered) == sorted(offered)
    if not hasattr(package, "__getattr__"):  # else names are imported when they are first asked for
        assert set(offered) == {
            key
            for key, value in vars(package).items()
            if not key.startswith("_") and not isinstance(value, types.ModuleType) and key != "annotations"
        }
