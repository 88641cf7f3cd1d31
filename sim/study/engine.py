"""Where chunks are computed: in this process, or in a pool of processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Protocol

from sim.study import work
from sim.study.spec import Study


class Engine(Protocol):
    """Calls functions of `sim.study.work` with one argument, somewhere."""

    jobs: int

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Future[Any]:
        """Begin a call."""
        ...

    def renew(self) -> None:
        """Go on after a process has died."""
        ...

    def close(self) -> None:
        """Drop what has not begun, wait for nothing."""
        ...


class SerialEngine:
    """In this process, one after the other."""

    jobs = 1

    def __init__(self, study: Study) -> None:
        work.begin_here(study)

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Future[Any]:
        """Call it now."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(argument))
        except Exception as error:
            future.set_exception(error)
        return future

    def renew(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class PoolEngine:
    """In a pool of fresh processes.

    Args:
        study: whose points are computed.
        jobs: how many processes.
    """

    def __init__(self, study: Study, jobs: int) -> None:
        self.jobs = jobs
        self._study = study
        self._pool = self._new()

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Future[Any]:
        """Begin a call in one of the processes."""
        return self._pool.submit(function, argument)

    def renew(self) -> None:
        """Start a new pool."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._new()

    def close(self) -> None:
        """Stop the processes after what they are doing."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _new(self) -> ProcessPoolExecutor:
        # Fresh processes: a fork would copy locks that ONNX Runtime or Arrow may hold.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.jobs, context, work.begin, (self._study,))
