"""The page of a run that goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sim.live import Conductor, Programme
    from sim.live.onlooker import Onlooker
    from sim.scenario import Scenario

LAST_WORDS_S = 0.5
"""Without a terminal, viewers have this long to see the end."""


@contextmanager
def page_of_run(scenario: Scenario, port: int, *, wanted: bool, speed: float) -> Iterator[Conductor | None]:
    """Serves the page of a run in virtual time, and sets its pace; None if it is not wanted."""
    if not wanted:
        yield None
        return
    from sim.live import Conductor, Hub, Programme

    hub = Hub()
    conductor = Conductor(scenario, hub, speed=speed)
    with served(Programme(scenario, hub, conductor.submit), port):
        yield conductor


@contextmanager
def page_of_realtime_run(
    scenario: Scenario, port: int, *, wanted: bool, speed: float
) -> Iterator[Onlooker | None]:
    """Serves the page of a run in real time, which has its own pace; None if it is not wanted."""
    if not wanted:
        yield None
        return
    from sim.live import Hub, Programme
    from sim.live.onlooker import Onlooker

    hub = Hub()
    onlooker = Onlooker(scenario, hub)
    with served(Programme(scenario, hub, onlooker.submit), port):
        yield onlooker


@contextmanager
def page_of_replay(scenario: Scenario, port: int, *, wanted: bool, speed: float) -> Iterator[Conductor]:
    """Sets the pace of a replay, and serves its page if it is wanted."""
    from sim.live import Conductor, Hub, Programme

    hub = Hub()
    conductor = Conductor(scenario, hub, speed=speed)
    if not wanted:
        yield conductor
        return
    with served(Programme(scenario, hub, conductor.submit, controlled=False), port):
        yield conductor


@contextmanager
def served(programme: Programme, port: int) -> Iterator[None]:
    """A page; after the run it stays until Ctrl-C, where somebody is at a terminal to press it."""
    from sim.cli.view import wait_for_interrupt
    from sim.live import LiveServer

    with LiveServer(programme, port) as server:
        typer.echo(f"view: {server.url}")
        sys.stdout.flush()
        yield
        if sys.stdin.isatty() and sys.stdout.isatty():
            typer.echo("the page stays until Ctrl-C")
            wait_for_interrupt()
        else:
            time.sleep(LAST_WORDS_S)
