"""`python -m sim reference`."""

from __future__ import annotations

import typer


def reference() -> None:
    """Print the reference page of all keys of a scenario file (Markdown)."""
    from sim.scenario.reference import reference as page

    typer.echo(page(), nl=False)
