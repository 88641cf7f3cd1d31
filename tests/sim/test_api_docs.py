"""The pages about the Python API and the run folder tell the truth."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.runtime import WEIGHTS
from sim import run
from sim.frame_ledger import BS_DOWN, LATE, SILENT
from sim.replay import replay
from sim.run_folder import SCHEMAS
from tests.sim.kit import ROOT, run_quietly

PYTHON_API = (ROOT / "docs" / "python-api.md").read_text()
RUN_FOLDER = (ROOT / "docs" / "run-folder.md").read_text()
EXAMPLE = re.search(r"```python (test_\w+\.py)\n(.*?)```", PYTHON_API, re.DOTALL)


def test_the_example_has_ten_lines() -> None:
    assert EXAMPLE is not None
    assert sum(bool(line.strip()) for line in EXAMPLE[2].splitlines()) <= 10


def test_the_example_passes(tmp_path: Path) -> None:
    if not (WEIGHTS / "ecc-r").is_dir():
        pytest.skip("the shipped weights are not there")
    assert EXAMPLE is not None
    (tmp_path / EXAMPLE[1]).write_text(EXAMPLE[2])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    process = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path / EXAMPLE[1])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.skipif(not (WEIGHTS / "ecc-r").is_dir(), reason="the shipped weights are not there")
def test_the_replay_is_what_the_page_says(tmp_path: Path) -> None:
    run(ROOT / "scenarios" / "spiral.yaml", tmp_path / "spiral-1")
    section = PYTHON_API.split("## Replaying")[1].split("\n## ")[0]
    overrides = re.search(r'replay\("runs/spiral-1", \["(.*)"\]\)', section)
    dropped = re.search(r'\["dropped"\] +# (\{.*?\})', section)
    assert overrides is not None
    assert dropped is not None
    again = replay(tmp_path / "spiral-1", [overrides[1]])
    assert not again.same_fixes
    assert str(again.summary["frames"]["dropped"]) == dropped[1]
    assert replay(tmp_path / "spiral-1", ["cu.deadline=20 ms"]).same_fixes


def test_every_column_is_described() -> None:
    for name, schema in SCHEMAS.items():
        section = RUN_FOLDER.split(f"## `{name}.parquet`")[1].split("\n## ")[0]
        for column in schema.names:
            described = f"`{column}`" in section
            first_of_its_kind = re.sub(r"(_|v)[yz](_m|_mps)$|_(xy|xz|yy|yz|zz)$", "", column)
            assert described or f"`{first_of_its_kind}" in section, column


def test_every_key_of_the_summary_is_described() -> None:
    section = RUN_FOLDER.split("## `summary.json`")[1].split("\n## ")[0]
    for key in run_quietly().summary:
        known = key if "_error_" not in key else key.split("_error_")[0] + "_error_…"
        assert f"`{known}`" in section, key


def test_every_cause_is_described() -> None:
    for cause in (BS_DOWN, SILENT, LATE, "loss", "queue_full", "superseded", "link_down"):
        assert f"| `{cause}` |" in RUN_FOLDER


def test_every_topic_is_described() -> None:
    lost = {"fronthaul": {"default": {"loss": {"kind": "bernoulli", "rate": "30 %"}}}}
    faults = {"faults": [{"at": "100 ms", "kind": "bs_down", "bs": "bs2"}]}
    result = run_quietly(lost | faults)
    kinds = {message.topic.split("/")[0] for message in result.folder.messages()}
    assert kinds == {"emb", "lost", "truth", "fix", "track", "fault"}
    for kind in kinds:
        assert f"| `{kind}/" in RUN_FOLDER


def test_seams_are_the_keywords_of_run() -> None:
    import inspect

    from sim import run

    keywords = {
        name for name, one in inspect.signature(run).parameters.items() if one.kind is one.KEYWORD_ONLY
    }
    section = PYTHON_API.split("## Seams")[1].split("\n## ")[0]
    assert keywords == set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
