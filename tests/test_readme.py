"""README.md and docs/ are true: their commands run, their examples work, their links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from models.runtime import load_model
from sim.cli.app import app
from sim.scenario import Scenario

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def marked_block(mark: str) -> str:
    """The fenced block after a mark, found as .ci/run finds it."""
    found = re.search(rf"^<!-- fresh: {mark} -->\n+```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no fenced block after <!-- fresh: {mark} -->"
    return found[1]


def commands(block: str) -> list[str]:
    """The commands of a block that can be run again and again: all but installations and the tests.

    The one that goes by the wall clock is driven in `tests/sim/live/test_realtime_page.py`.
    """
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("python -m sim ") and "--realtime" not in line]


BLOCKS = [block for language, block in FENCED.findall(README) if language in ("sh", "bash")]
COMMANDS = [command for block in BLOCKS for command in commands(block)]


def test_one_block_runs_the_main_job_and_one_the_tests() -> None:
    assert marked_block("run").splitlines() == ["pip install .", "python -m sim run scenarios/spiral.yaml"]
    assert marked_block("test").splitlines() == ['pip install -e ".[test]"', "scripts/test"]


def test_ci_runs_the_tests_as_the_readme_says() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "<!-- fresh: test -->" in script
    assert "pip install" not in script


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(command: str, tmp_path: Path) -> None:
    """Each in a folder of its own that has the scenarios, so that no run replaces one of the user's."""
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if command.startswith("python -m sim run "):
        assert list(tmp_path.rglob("report.html"))


def test_the_picture_is_of_the_shipped_scenario_and_weights() -> None:
    picture = (ROOT / "docs" / "spiral.svg").read_text(encoding="utf-8")
    scenario = Scenario.load(ROOT / "scenarios" / "spiral.yaml")
    digest = load_model(scenario.model.name).digest.hex()
    assert f'data-weights="{digest}"' in picture, "out of date; scripts/picture draws it again"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for target in targets:
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scenarios_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"scenarios/[\w/]+\.yaml", page.read_text(encoding="utf-8")):
        assert (ROOT / name).is_file(), f"{page.name}: {name}"


def test_every_option_is_on_a_page() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "CHANGELOG.md")
    said = set(re.findall(r"--[a-z-]+", text))
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            names = {option for option in (*parameter.opts, *parameter.secondary_opts) if option[:2] == "--"}
            assert not names or names & said, f"sim {name} {names}"


def test_python_examples_run(tmp_path: Path) -> None:
    """All of them one after the other, as a reader would type them."""
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    program = "".join(block for language, block in FENCED.findall(README) if language == "python")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def environment() -> dict[str, str]:
    """As after the installation: `python` is this one, and finds the project from any folder."""
    paths = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT)}
