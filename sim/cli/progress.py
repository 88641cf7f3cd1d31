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


@contextmanager
def progress_of_points(name: str) -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """Shows how far a study has come; gives functions to show a line, and to call with points done and all.

    Without a terminal a line every ten seconds says the same.
    """
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began = told = time.monotonic()
    first: int | None = None
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def progress(done: int, total: int) -> None:
            nonlocal told, first
            bar.update(task, completed=done, total=total)
            first = done if first is None else first
            now = time.monotonic()
            if console.is_terminal or now - told < 10 or done == first:
                return
            told = now
            left_s = (now - began) / (done - first) * (total - done)
            console.print(f"{name}: {done} of {total} points, {left_s:.0f} s left")

        yield (lambda line: console.print(line)), progress
