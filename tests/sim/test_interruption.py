"""Ctrl-C, SIGTERM and SIGHUP end a run once, and not while something is written down."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from models.runtime import WEIGHTS
from sim.api import Watch
from sim.interruption import interruptible, interruption_in_charge
from sim.live import Conductor, Hub
from sim.live.control import Command
from tests.sim.kit import ROOT, run_quietly, scenario_of


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_interrupts_and_the_second_does_not(number: signal.Signals) -> None:
    with interruptible() as interruption:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert interruption.is_asked_for


def test_held_it_interrupts_where_the_run_looks() -> None:
    with interruptible() as interruption:
        interruption.look()
        interruption.held = True
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            interruption.look()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_ignored_stays_ignored_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with interruptible() as interruption:
            os.kill(os.getpid(), number)
            assert not interruption.is_asked_for
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_one_within_another_is_the_same_and_counts_when_it_ends() -> None:
    def hold_within() -> None:
        with interruptible() as inner:
            assert inner is outer is interruption_in_charge()
            inner.held = True
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.is_asked_for

    with interruptible() as outer:
        with pytest.raises(KeyboardInterrupt):
            hold_within()
        assert not outer.held
    assert interruption_in_charge() is None


class Nudge(Watch):
    """Sends SIGTERM to itself at one moment of a run."""

    def __init__(self, moment: str) -> None:
        self.moment = moment

    def _now(self, moment: str) -> None:
        if moment == self.moment:
            self.moment = ""
            os.kill(os.getpid(), signal.SIGTERM)

    def begin(self, world: object) -> None:
        """The folder is there, and nothing has happened."""
        self._now("begin")

    def takes(self, topic: str, content: Any, **times: int) -> None:
        """Something is recorded."""

    def passes(self, t_ns: int) -> None:
        """It goes on."""
        if t_ns > 150_000_000:
            self._now("passes")

    def end(self, summary: Any) -> None:
        """The books are being closed."""
        self._now("end")


@pytest.mark.parametrize(("moment", "complete"), [("begin", False), ("passes", False), ("end", True)])
def test_whenever_a_signal_comes_the_folder_is_closed(moment: str, complete: bool, tmp_path: Path) -> None:
    with interruptible(), pytest.raises(KeyboardInterrupt):
        run_quietly(out=tmp_path / "run", watch=Nudge(moment))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["closed"], summary["complete"]) == (True, complete)
    assert summary["fixes"] == {"begin": 0, "passes": 2, "end": 3}[moment]
    assert not list((tmp_path / "run").glob("*.parts"))


def swallowed() -> None:
    """A signal whose exception gets nowhere, as one that is raised while Python takes an object down."""
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_that_got_lost_is_found_at_the_next_event(tmp_path: Path) -> None:
    def lose(t_ns: int) -> None:
        if t_ns > 100_000_000:
            swallowed()

    with interruptible(), pytest.raises(KeyboardInterrupt):
        run_quietly(out=tmp_path / "run", progress=lose)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["closed"], summary["complete"], summary["fixes"]) == (True, False, 2)


def test_a_signal_that_got_lost_is_found_while_a_run_is_held() -> None:
    class Held(Conductor):
        def passes(self, t_ns: int) -> None:
            if t_ns > 150_000_000:
                swallowed()
                self.submit(Command("pause"))
            super().passes(t_ns)

    scenario = scenario_of({})
    with interruptible(), pytest.raises(KeyboardInterrupt):
        run_quietly(scenario, watch=Held(scenario, Hub(), speed=math.inf))


@pytest.mark.skipif(not (WEIGHTS / "ecc-r").is_dir(), reason="the shipped weights are not there")
@pytest.mark.parametrize("how", [["run", "--live"], ["run", "--processes"], ["chaos"]], ids=" ".join)
def test_sigterm_ends_a_run_as_ctrl_c_does(how: list[str], tmp_path: Path) -> None:
    out, temporary = tmp_path / "run", tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "sim", *how, "scenarios/spiral.yaml", "--out", str(out)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        [*command, "duration=300 s"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            deadline_s = time.monotonic() + 60
            while not (out / "bus.mcap").exists():
                assert time.monotonic() < deadline_s, "it did not start"
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert said.decode().splitlines()[-1] == f"stopped: what there was by then is in {out}"
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["closed"], summary["complete"]) == (True, False)
    assert not list(temporary.glob("fronthaul-*"))
