"""The page of a replay, from a recording with the shipped weights to the end of the command and beyond."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.runtime import WEIGHTS
from sim import run
from sim.scenario import load_scenario
from tests.sim.kit import ROOT
from tests.sim.live.browsing import NEEDS, Tabs, expect, shot, shows

pytestmark = [
    *NEEDS,
    pytest.mark.slow,
    pytest.mark.skipif(not (WEIGHTS / "ecc-r").is_dir(), reason="the shipped weights are not there"),
]
SPIRAL = ROOT / "scenarios" / "spiral.yaml"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A replay that takes a minute if nobody hastens it."""
    fails = "faults=[{at: 1 s, kind: bs_down, bs: bs3, for: 1 s}]"
    run(load_scenario(SPIRAL, ["duration=6 s", fails]), tmp_path / "run")
    command = [sys.executable, "-m", "sim", "replay", str(tmp_path / "run"), "--live", "--speed", "0.1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_replay_is_watched_held_hastened_and_looked_at_again(
    started: subprocess.Popen[str], tabs: Tabs, tmp_path: Path
) -> None:
    assert started.stdout is not None
    page = tabs.open(started.stdout.readline().removeprefix("view: ").strip())
    shows(page, "#name", "^spiral$")
    shows(page, "#description", "^A replay. ")
    shows(page, "#state", "^running$")
    expect(page.locator("#speed")).to_have_value("0.1")
    assert page.get_by_role("button", name="Take").count() == 0, "what happened has happened"
    assert page.get_by_label("Capacity of link bs1").count() == 0

    page.get_by_role("button", name="Pause").click()
    shows(page, "#state", "^paused$")
    page.wait_for_timeout(300)
    stood = page.locator("#clock").inner_text()
    page.wait_for_timeout(1500)
    assert page.locator("#clock").inner_text() == stood
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#clock")).not_to_have_text(stood, timeout=30_000)
    page.get_by_label("Speed").select_option("5")
    shows(page, "#state", "^ended$")
    shows(page, "#fixes", "^600 missed$")
    shows(page, "#lost-frames", "^10of 360: 10 bs down$")

    said = started.stdout.read()
    assert started.wait(timeout=60) == 0
    assert "fixes and tracks are the same as in the recording" in said
    # The page has all it needs to be looked at when the command is long over.
    page.get_by_role("button", name="bs3 is down").click()
    shows(page, "#clock", r"^1\.0 s$")
    shows(page, "#table tr:has(th:text('bs3')) td[data-name=state]", "^BS down$")
    page.get_by_role("button", name="bs3 is back").click()
    shows(page, "#table tr:has(th:text('bs3')) td[data-name=state]", "^up$")
    slider = page.get_by_label("Time")
    slider.focus()
    page.keyboard.press("Home")
    shows(page, "#clock", r"^0\.0 s$")
    page.keyboard.press("End")
    shows(page, "#clock", r"^6\.0 s$")
    shot(page, tmp_path, "replay")
