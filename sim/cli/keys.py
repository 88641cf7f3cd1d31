"""`python -m sim keys`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keys(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to put them.")],
    parts: Annotated[
        list[str] | None, typer.Argument(metavar="[PART]...", help="broker, cu, and the base stations.")
    ] = None,
) -> None:
    """Make CURVE keys for a run that leaves this machine: a pair for the world and one for each part."""
    from broker.frame import is_name
    from broker.keys import KeysError, make_keys
    from sim.errors import UserError

    names = parts or ["broker", "cu", *(f"bs{number}" for number in range(1, 7))]
    for name in names:
        if not is_name(name):
            raise UserError(f"{name!r}: not the name of a part")
    try:
        made = make_keys(folder, names)
    except KeysError as error:
        raise UserError(str(error)) from error
    for path in made:
        typer.echo(f"made {path}")
    if not made:
        typer.echo("all keys are there already")
    typer.echo(f"a host needs the secrets ({folder}/NAME.key) of its own parts, and {folder}/public")
