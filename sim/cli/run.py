"""`python -m sim run SCENARIO`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli.options import Live, LivePort, Metrics, Mqtt, Overrides, ScenarioFile, Zmq
from sim.cli.stopped import stopped

if TYPE_CHECKING:
    from sim.api import RunResult
    from sim.live.onlooker import Onlooker
    from sim.scenario import Scenario

LAG_POLICIES = ("warn", "degrade", "abort")
MAX_LAG, LOOPBACK = "100 ms", "127.0.0.1"


def run(
    scenario: ScenarioFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="runs/<scenario>-<number>")
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="Each part in its own process, in lock-step.")
    ] = False,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Each part in its own process, by the wall clock.")
    ] = False,
    speed: Annotated[
        float, typer.Option(min=1e-3, help="Run seconds per second, with --realtime or --live.")
    ] = 1.0,
    max_lag: Annotated[
        str, typer.Option(metavar="TIME", help="How late an event may happen in real time.")
    ] = MAX_LAG,
    on_lag: Annotated[str, typer.Option(metavar="|".join(LAG_POLICIES), help="What then.")] = LAG_POLICIES[0],
    keys: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="CURVE keys, from sim keys; for --host.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to bind to, in real time.")] = LOOPBACK,
    wait_for: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART", help="Do not start this part (broker, cu, a BS): it comes from elsewhere."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port of the control socket, which parts from elsewhere connect to."
        ),
    ] = None,
    cache: Annotated[
        bool,
        typer.Option(help="Take what base stations make of many snapshots from an earlier run, or keep it."),
    ] = True,
    zmq: Zmq = None,
    mqtt: Mqtt = None,
    metrics: Metrics = None,
    live: Live = False,
    live_port: LivePort = 0,
) -> None:
    """Run a scenario; print its summary, and write its records and report to a folder."""
    from sim.errors import UserError
    from sim.scenario import load_scenario

    loaded = load_scenario(scenario, overrides or ())
    streams: dict[str, object] = {"zmq": zmq, "mqtt": mqtt, "metrics": metrics}
    if realtime and processes:
        raise UserError("--processes goes in lock-step, --realtime by the wall clock: choose one")
    if not realtime:
        others = {
            "--max-lag": max_lag != MAX_LAG,
            "--on-lag": on_lag != LAG_POLICIES[0],
            "--speed": speed != 1.0 and not live,
            "--keys": keys is not None,
            "--host": host != LOOPBACK,
            "--wait-for": bool(wait_for),
            "--port": port is not None,
        }
        _only_in_real_time(streams, others)

    from sim.api import InvalidRunError, next_run_folder
    from sim.api import run as run_scenario
    from sim.cli.live import page_of_realtime_run, page_of_run
    from sim.cli.progress import progress_of_run
    from sim.embeddings_ahead import processes_worth_it
    from sim.interruption import interruptible
    from sim.report import write_report
    from sim.summary_text import print_summary

    folder = out or next_run_folder(loaded)
    page: Callable[..., AbstractContextManager[Any]] = page_of_realtime_run if realtime else page_of_run
    with interruptible() as interruption, page(loaded, live_port, wanted=live, speed=speed) as watch:
        try:
            with progress_of_run(loaded.name, loaded.duration_ns) as progress:
                if realtime:
                    options = _realtime_options(loaded, speed, max_lag, on_lag, wait_for or [])
                    options |= {"keys_folder": keys, "host": host, "port": port}
                    result = _run_realtime(loaded, folder, progress, streams, watch, **options)
                else:
                    result = run_scenario(
                        loaded,
                        out=folder,
                        processes=processes,
                        encoders=0 if processes else processes_worth_it(loaded),
                        cache=cache,
                        progress=progress,
                        watch=watch,
                    )
            interruption.look()
        except InvalidRunError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            raise stopped(folder) from None
        print_summary(result.summary)
        if realtime:
            typer.echo(_lag_text(result))
        typer.echo(f"report: {write_report(result.path, loaded)}")


def _only_in_real_time(streams: dict[str, object], others: dict[str, bool]) -> None:
    """Raises UserError for what a run in virtual time would do nothing about: streams, and options given."""
    from sim.errors import UserError

    for name, value in streams.items():
        if value is not None:
            raise UserError(f"--{name}: only with --realtime, or afterwards with sim replay RUN --{name}")
    for option, given in others.items():
        if given:
            raise UserError(f"{option}: only with --realtime{' or --live' if option == '--speed' else ''}")


def _realtime_options(
    scenario: Scenario, speed: float, max_lag: str, on_lag: str, wait_for: list[str]
) -> dict[str, object]:
    """Arguments for `run_realtime`. Raises UserError for a value out of range."""
    from pydantic_core import PydanticCustomError

    from sim.errors import UserError
    from sim.realtime import Pace
    from sim.reports import BROKER, CU
    from sim.scenario.units import TIME, parse

    try:
        max_lag_s = parse(max_lag, TIME)
    except PydanticCustomError as error:
        raise UserError(f"--max-lag {max_lag}: {error.message()}") from error
    if on_lag not in LAG_POLICIES:
        raise UserError(f"--on-lag {on_lag}: must be one of {', '.join(LAG_POLICIES)}")
    names = (BROKER, CU, *scenario.bs_ids)
    for name in wait_for:
        if name not in names:
            raise UserError(f"--wait-for {name}: must be one of {', '.join(names)}")
    spawn = [name for name in names if name not in wait_for]
    return {"pace": Pace(speed, max_lag_s, on_lag), "spawn": spawn}  # type: ignore[arg-type]


def _run_realtime(
    scenario: Scenario,
    folder: Path,
    progress: Callable[[int], None],
    streams: dict[str, object],
    onlooker: Onlooker | None,
    **options: object,
) -> RunResult:
    """Run by the wall clock, with the streams that are wanted."""
    import logging

    from sim.api import both
    from sim.realtime import LagError, run_realtime
    from sim.streams_out import Hub, streams_of
    from sim.world import run_id

    logging.basicConfig(format="%(message)s")
    hub = Hub(run_id(scenario))
    if onlooker is not None:
        options |= {"prepare": onlooker.begin, "conclude": onlooker.end}
        progress = both(onlooker.passes, progress) or progress
    try:
        with streams_of(hub, **streams) as lines:  # type: ignore[arg-type]
            for line in lines:
                typer.echo(line)
            return run_realtime(scenario, folder, hub=hub, progress=progress, **options)  # type: ignore[arg-type]
    except LagError as error:
        typer.echo(f"{folder}: aborted: {error}", err=True)
        raise typer.Exit(1) from error


def _lag_text(result: RunResult) -> str:
    """How well a run kept to the clock, in two lines."""
    from sim.summary_text import seconds

    summary = result.summary

    def quantiles(name: str) -> str:
        return ", ".join(
            f"{short} {seconds(summary.get(f'{name}_{short}_s'))}" for short in ("p50", "p99", "max")
        )

    return (
        f"pacing lag {quantiles('lag')}; processing {quantiles('processing')}\n"
        f"link delay modelled {quantiles('delay_modelled')}; observed {quantiles('delay_observed')}"
    )
