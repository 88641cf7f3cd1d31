"""`python -m sim chaos SCENARIO`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli.options import Overrides, ScenarioFile
from sim.cli.stopped import stopped

if TYPE_CHECKING:
    from sim.chaos import Chaos


def chaos(
    scenario: ScenarioFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="runs/<scenario>-<number>")
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds from one fault to the next.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of what goes wrong when.")] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Kinds: kill, hang, link_down, capacity, garbage, clock_jump.", metavar="KIND"),
    ] = None,
) -> None:
    """Run a scenario in real time while parts die, hang and lie; say what became of it."""
    import logging

    from sim.api import InvalidRunError, next_run_folder
    from sim.chaos import KINDS, Chaos, random_blows
    from sim.realtime import run_realtime
    from sim.scenario import load_scenario
    from sim.summary_text import print_summary

    logging.basicConfig(format="%(message)s")
    loaded = load_scenario(scenario, overrides or ())
    trouble = Chaos(random_blows(loaded, every, seed, only or KINDS), seed)  # type: ignore[arg-type]
    folder = out or next_run_folder(loaded)
    try:
        result = run_realtime(loaded, folder, prepare=trouble.prepare)
    except InvalidRunError as error:
        typer.echo(str(error), err=True)
        _tell_memory(trouble)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise stopped(folder) from None
    print_summary(result.summary)
    typer.echo("dealt: " + ", ".join(f"{kind} {count}" for kind, count in sorted(trouble.dealt.items())))
    lost = result.summary["parts_lost"]
    typer.echo("parts lost: " + (", ".join(f"{name} {count}" for name, count in lost.items()) or "none"))
    _tell_memory(trouble)
    broken = trouble.verdict(result)
    for what in broken:
        typer.echo(what, err=True)
    if broken:
        raise typer.Exit(1)
    typer.echo(
        "no part died by itself, every fix has its covariance, every frame has its fate, memory is flat"
    )


def _tell_memory(trouble: Chaos) -> None:
    for name, slope in sorted(trouble.slopes_bytes_per_s().items()):
        typer.echo(f"memory of {name}: {slope / 1024:+.2f} KiB/s")
