"""`python -m sim trace SCENARIO...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import Address, Engine, SideBySide


def trace(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO | KEY.PATH=VALUE]...", help="Scenario files, and changes to them."),
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="Trace this pool of random outdoor points instead, e.g. train.")
    ] = None,
    chunks: Annotated[
        int | None, typer.Option(min=1, help="Only so many chunks of the pool, a thousand points each.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the traces.", show_default="the user's cache")
    ] = None,
    engine: Engine = "pool",
    address: Address = None,
    jobs: SideBySide = None,
) -> None:
    """Trace the propagation paths of scenarios, or of the benchmark's points; resumes by itself.

    Progress goes to stderr, the names of the files to stdout.
    """
    from sim.engine import check_engine, opener
    from sim.errors import UserError
    from sim.scenario import load_scenario

    check_engine(engine, address)
    open_engine = opener(engine, address, jobs)
    words = scenarios or []
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    files = [word for word in words if word not in overrides]
    if pool is not None and not words:
        from sim.channel.pool import trace_benchmark

        written = trace_benchmark(pool, chunks, out, open_engine=open_engine)
    elif files and pool is None and chunks is None:
        loaded = [load_scenario(file, overrides) for file in files]

        from sim.channel.tracing import trace_scenarios

        written = trace_scenarios(loaded, out, open_engine=open_engine)
    else:
        raise UserError("trace takes either scenario files or --pool NAME")
    for path in written:
        typer.echo(path)
