"""The page of a run that goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sim.live import Conductor, Hub
    from sim.live.control import Command
    from sim.live.onlooker import Onlooker
    from sim.scenario import Scenario

LAST_WORDS_S = 0.5
"""Without a terminal, viewers have this long to see the end."""


@contextmanager
def page_of_run(scenario: Scenario, port: int, *, wanted: bool) -> Iterator[Conductor | None]:
    """Serves the page of a run in virtual time, and sets its pace; None if it is not wanted."""
    if not wanted:
        yield None
        return
    from sim.live import Conductor, Hub

    hub = Hub()
    conductor = Conductor(scenario, hub)
    with served(scenario, port, hub, conductor.submit, paced=True):
        yield conductor


@contextmanager
def page_of_realtime_run(scenario: Scenario, port: int, *, wanted: bool) -> Iterator[Onlooker | None]:
    """Serves the page of a run in real time; None if it is not wanted."""
    if not wanted:
        yield None
        return
    from sim.live import Hub
    from sim.live.onlooker import Onlooker

    hub = Hub()
    onlooker = Onlooker(scenario, hub)
    with served(scenario, port, hub, onlooker.submit, paced=False):
        yield onlooker


@contextmanager
def served(
    scenario: Scenario, port: int, hub: Hub, submit: Callable[[Command], bool], *, paced: bool
) -> Iterator[None]:
    """A page; after the run it stays until Ctrl-C, where somebody is at a terminal to press it."""
    from sim.cli.view import wait_for_interrupt
    from sim.live import LiveServer, Programme

    with LiveServer(Programme(scenario, hub=hub, submit=submit, paced=paced), port) as server:
        typer.echo(f"view: {server.url}")
        sys.stdout.flush()
        yield
        if sys.stdin.isatty() and sys.stdout.isatty():
            typer.echo("the page stays until Ctrl-C")
            wait_for_interrupt()
        else:
            time.sleep(LAST_WORDS_S)
