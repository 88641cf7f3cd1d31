from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    return shared_cache


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """Ten snapshots of the spiral; 12 points."""
    file = tmp_path / "small.yaml"
    file.write_text(
        f"""
study:
  description: Small.
  scenario: {ROOT / "scenarios" / "spiral.yaml"}
  set: {{duration: 1 s}}
  sweep:
    fronthaul.default.capacity: {{from: 100 kbit/s, to: 1 Mbit/s, steps: 3, scale: log}}
    dropout:
      "0": {{faults: []}}
      "1": {{faults: [{{at: 0 s, kind: bs_down, bs: bs1}}]}}
  repeat: 2
""",
        encoding="utf-8",
    )
    return file
