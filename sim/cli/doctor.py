"""`python -m sim doctor`."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Say what this machine can do, and the one line that closes each gap."""
    from sim.doctor import report

    if not report():
        raise typer.Exit(1)
