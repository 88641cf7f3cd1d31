"""`python -m sim view RUN`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from sim.cli.options import RunFolderPath

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")]


def view(run: RunFolderPath, port: Port = 0) -> None:
    """Show a run in the browser, with a time slider, until Ctrl-C."""
    from sim.interruption import interruptible
    from sim.live import LiveServer, Programme, recording_of
    from sim.run_folder import RunFolder
    from sim.scenario import load_scenario

    with interruptible():
        folder = RunFolder.open(run)
        scenario = load_scenario(folder.scenario_path)
        with LiveServer(Programme(scenario, recording=recording_of(folder, scenario)), port) as server:
            typer.echo(f"view: {server.url}")
            wait_for_interrupt()


def wait_for_interrupt() -> None:
    """Return when Ctrl-C is pressed, or was: within `interruptible` one that was lost on its way counts."""
    from sim.interruption import interruption_in_charge

    interruption = interruption_in_charge()
    try:
        while True:
            if interruption is not None:
                interruption.look()
            time.sleep(3600)
    except KeyboardInterrupt:
        return
