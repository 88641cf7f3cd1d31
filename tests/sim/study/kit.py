"""A small study."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def small_study(folder: Path) -> Path:
    """A file of a study in a folder: ten snapshots of the spiral; 12 points."""
    file = folder / "small.yaml"
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
