"""`python -m sim sweep SCENARIO key=a,b,c`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import Address, Engine


def sweep(
    scenario: Annotated[Path, typer.Argument(metavar="FILE", help="Scenario or study file (YAML).")],
    axes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY.PATH=A,B,C]...",
            help="Keys to vary, e.g. model.bits=4,6,8; with one value: to change.",
        ),
    ] = None,
    repeat: Annotated[int | None, typer.Option(min=1, help="Seeds per point.", show_default="1")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study.", show_default="studies/<name>")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in the folder.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one per core")] = None,
    engine: Engine = "pool",
    address: Address = None,
    compare: Annotated[
        int | None, typer.Option(min=1, help="Run so many points separately too and compare.")
    ] = None,
) -> None:
    """Run a scenario with every combination of values, and keep the figures of all runs."""
    from sim.engine import check_engine
    from sim.study.spec import load_study

    check_engine(engine, address)
    study = load_study(scenario, axes or (), repeat)

    from sim.cli.progress import progress_of_points
    from sim.study.sweep import Listener, engine_of
    from sim.study.sweep import compare as compare_points
    from sim.study.sweep import sweep as run_sweep

    folder = out or Path("studies") / study.name
    with (
        engine_of(study, jobs, engine, address) as workers,
        progress_of_points(study.name) as (tell, progress),
    ):
        done = run_sweep(study, folder, resume=resume, engine=workers, listener=Listener(tell, progress))
    per_point_s = done.wall_time_s / max(1, done.computed)
    typer.echo(
        f"{folder}: {done.computed} points in {done.wall_time_s:.1f} s ({1e3 * per_point_s:.0f} ms each), "
        f"embeddings {done.embedding_time_s:.1f} s, {done.found} were there, {done.failed} failed"
    )
    if compare is not None:
        comparison = compare_points(study, compare, jobs)
        for point, keys in comparison.unlike.items():
            typer.echo(f"{point} is not as run separately: {', '.join(keys)}", err=True)
        if comparison.unlike:
            raise typer.Exit(1)
        typer.echo(
            f"{comparison.points} points run separately: the same summaries, "
            f"{comparison.separate_s:.2f} s each"
            + (f", {comparison.separate_s / per_point_s:.0f} times as long" if done.computed else "")
        )
    if done.failed:
        raise typer.Exit(1)
