"""The command line: `python -m sim COMMAND`. What a command needs is imported when it is called."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from sim.cli.chaos import chaos
from sim.cli.doctor import doctor
from sim.cli.evaluate import evaluate
from sim.cli.keys import keys
from sim.cli.reference import reference
from sim.cli.replay import replay
from sim.cli.report import report
from sim.cli.run import run
from sim.cli.sweep import sweep
from sim.cli.trace import trace
from sim.cli.train import train
from sim.cli.validate import validate
from sim.cli.view import view
from sim.errors import CacheWarning, UserError

USER_ERROR = 2


class Commands(TyperGroup):
    """Commands that show a user's mistake as one line on stderr and exit with 2, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", CacheWarning)
                warnings.showwarning = partial(shown, warnings.showwarning)
                return super().invoke(ctx)
        except Exception as error:
            if not is_user_error(error):
                raise
            typer.echo(str(error), err=True)
            raise typer.Exit(USER_ERROR) from error


def shown(usual: Callable[..., None], message: Warning | str, *about: Any, **named: Any) -> None:
    """Show what is wrong with the user's cache as one line; other warnings as usual."""
    if isinstance(message, CacheWarning):
        typer.echo(str(message), err=True)
    else:
        usual(message, *about, **named)


def is_user_error(error: Exception) -> bool:
    """Whether the user can put it right; `models`, which imports nothing of ours, has its own such errors."""
    return isinstance(error, UserError) or type(error).__module__.startswith("models.")


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Cooperative positioning over a modelled fronthaul, simulated end to end.",
)
for command in (
    run,
    chaos,
    keys,
    replay,
    report,
    sweep,
    view,
    validate,
    reference,
    trace,
    train,
    evaluate,
    doctor,
):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name="python -m sim")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    finally:
        gc.freeze()  # Python looks through all there is before it ends: a fifth of a second for nothing
