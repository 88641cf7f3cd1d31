from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sim.scenario import Scenario, load_scenario

MINIMAL = """\
duration: 10 s
ues:
  ue1:
    trajectory: {kind: line, from: [40 m, 80 m, 1.5 m], to: [60 m, 80 m, 1.5 m], speed: 1 m/s}
    rate: 10 Hz
"""

Load = Callable[..., Scenario]


@pytest.fixture
def minimal() -> str:
    return MINIMAL


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a text as ``s.yaml`` in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str, *overrides: str, **changes: Any) -> Scenario:
        Path("s.yaml").write_text(text, encoding="utf-8")
        return load_scenario("s.yaml", overrides, **changes)

    return load_text
