"""`python -m sim replay RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import Live, LivePort, Metrics, Mqtt, RunFolderPath, Zmq
from sim.cli.stopped import stopped


def replay(
    run: RunFolderPath,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY.PATH=VALUE]...", help='Another policy, e.g. cu.deadline="20 ms".'),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write the replay to; none if absent.")] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=1e-3, help="Run seconds per second.", show_default="1 if watched, else all it can"),
    ] = None,
    live: Live = False,
    live_port: LivePort = 0,
    zmq: Zmq = None,
    mqtt: Mqtt = None,
    metrics: Metrics = None,
) -> None:
    """Fuse and track a recorded run again, with another policy of the central unit if asked.

    With --live, --zmq, --mqtt or --metrics it is seen as it was, at any speed.
    """
    from contextlib import ExitStack

    from sim.cli.live import page_of_replay
    from sim.interruption import interruptible
    from sim.replay import replay as replay_run
    from sim.replay import with_overrides
    from sim.run_folder import RunFolder
    from sim.summary_text import print_summary

    streams = {"zmq": zmq, "mqtt": mqtt, "metrics": metrics}
    watch = hub = None
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        if live or speed is not None or any(value is not None for value in streams.values()):
            from sim.streams_out import Hub, streams_of
            from sim.world import run_id

            scenario = with_overrides(RunFolder.open(run), overrides or ())
            hub = Hub(run_id(scenario))
            for line in stack.enter_context(streams_of(hub, **streams)):  # type: ignore[arg-type]
                typer.echo(line)
            watch = stack.enter_context(page_of_replay(scenario, live_port, wanted=live, speed=speed or 1.0))
        try:
            result = replay_run(run, overrides or (), out, watch=watch, hub=hub)
        except KeyboardInterrupt:
            if out is None:
                raise
            raise stopped(out) from None
        print_summary(result.summary)
        whole = RunFolder.open(run).summary().get("closed", False)
        typer.echo(
            f"fixes and tracks are {'the same as' if result.same_fixes else 'other than'} in the recording"
            f"{'' if whole else ', as far as its tables go'}"
        )
        if out is not None:
            from sim.report import write_report

            typer.echo(f"report: {write_report(result.path)}")
