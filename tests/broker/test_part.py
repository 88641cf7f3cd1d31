"""Parts: what a process tells the world, and in which order."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import zmq

from broker.control import Context, Controlled, Controller
from broker.part import Reports

ROOT = Path(__file__).resolve().parents[2]


class Told:
    """In place of the way to the world."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []

    def report(self, kind: str, body: Any = None, number: int = 0) -> None:
        self.messages.append((kind, body))


def test_reports_of_a_kind_are_joined_and_a_fate_does_not_overtake_its_frame() -> None:
    told = Told()
    reports = Reports(cast(Controlled, told))
    reports.add("fates", ["of 0"])
    reports.add("offered", ["1"])
    reports.add("offered", ["2"])
    reports.add("fates", ["of 1"])
    reports.send()
    assert told.messages == [("offered", ["1", "2"]), ("fates", ["of 0", "of 1"])]
    assert reports.due_s == math.inf
    reports.send()
    assert len(told.messages) == 2, "each is told once"


@pytest.mark.parametrize("part", [["broker"], ["nodes", "cu"], ["nodes", "bs", "--id", "bs1"]])
def test_a_world_that_is_no_endpoint_is_one_line(part: list[str]) -> None:
    command = [sys.executable, "-m", *part, "--world", "192.0.2.1:5700"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    said = "--world 192.0.2.1:5700: must be an endpoint like tcp://192.0.2.1:5700\n"
    assert (ended.returncode, ended.stderr) == (2, said)


def test_a_part_that_nobody_answers_says_what_may_be_the_matter(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nodes", "bs", "--id", "bs1", "--world", f"ipc://{tmp_path}/nobody"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as part:
        assert part.stderr is not None
        said = part.stderr.readline()
        part.terminate()
    assert said == "bs1: no answer yet: does the run go, has it a bs1, and do the keys match?\n"
    assert part.returncode == 0


@pytest.mark.parametrize("part", [["broker"], ["nodes", "cu"]])
def test_a_part_ends_whose_world_ended_while_it_was_starting(part: list[str], tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    command = [sys.executable, "-m", *part, "--world", f"ipc://{tmp_path}/x", "--supervised", str(gone.pid)]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == 0


def test_a_part_that_cannot_be_what_the_world_wants_tells_both_sides(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/world"
    context: Context = zmq.Context()
    world = Controller(context, endpoint)
    command = [sys.executable, "-m", "broker", "--world", endpoint]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as part:
        assert [message.kind for message in world.receive(30.0)][:1] == ["hello"]
        world.send("broker", "welcome", {"run": "r"})
        said = [message.body for _ in range(3) for message in world.receive(10.0) if message.kind == "failed"]
        assert part.communicate(timeout=30)[1] == "broker: cannot be what the world wants: 'clock'\n"
    world.close()
    context.term()
    assert said[:1] == ["'clock'"]
    assert part.returncode == 2
