"""The page of a run that goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sim.live import Conductor
    from sim.scenario import Scenario

LAST_WORDS_S = 0.5
"""Without a terminal, viewers have this long to see the end."""


@contextmanager
def page_of_run(scenario: Scenario, port: int, *, wanted: bool) -> Iterator[Conductor | None]:
    """Serves the page of a run; None if it is not wanted.

    After the run the page stays until Ctrl-C, where there is somebody at a terminal to press it.
    """
    if not wanted:
        yield None
        return
    from sim.cli.view import wait_for_interrupt
    from sim.live import Conductor, Hub, LiveServer, Programme

    hub = Hub()
    conductor = Conductor(scenario, hub)
    with LiveServer(Programme(scenario, hub=hub, submit=conductor.submit), port) as server:
        typer.echo(f"view: {server.url}")
        sys.stdout.flush()
        yield conductor
        if sys.stdin.isatty() and sys.stdout.isatty():
            typer.echo("the page stays until Ctrl-C")
            wait_for_interrupt()
        else:
            time.sleep(LAST_WORDS_S)
