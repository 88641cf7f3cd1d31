"""A progress bar on stderr, where there is a terminal to see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_of_run(name: str, duration_ns: int) -> Iterator[Callable[[int], None]]:
    """Shows how far a run has come; gives a function to call with the simulated time, ns."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=duration_ns)
        yield lambda t_ns: bar.update(task, completed=t_ns)
