"""Where work is done: in this process, in a pool of processes, or on a cluster (`sim.ray_engine`).

An engine owns workers, all made by one factory. A task names one of a worker's methods and its argument; what
comes back depends neither on the worker nor on the engine nor on the order. One contract suite runs over all
engines (`tests/sim/test_engine.py`).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from sim import worker
from sim.errors import UserError, first_line

ENGINES = ("pool", "ray")

DIED = "the process that computed it died (out of memory?)"

WorkerFactory = Callable[[], Any]
"""Makes a worker, on the spot; it travels to other processes."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A call of one of a worker's methods with one argument."""

    method: str
    argument: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no result, in one line."""

    reason: str


class Engine(Protocol):
    """Does tasks with workers of its own."""

    @property
    def jobs(self) -> int:
        """How many tasks are done at once."""
        ...

    def map(
        self, tasks: Iterable[Task], tell: Callable[[str], None] = print
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """Do tasks; gives each with its result or `Failure` as soon as it is done, in any order.

        Tasks are taken from the iterable as there is room for them. A worker that dies takes nothing with it:
        what it had begun is done again, and fails only if it brings down a worker that does nothing else.

        Args:
            tasks: what to do.
            tell: called with a line when a worker has died.
        """
        ...

    def close(self) -> None:
        """Drop what has not begun, wait for nothing."""
        ...


OpenEngine = Callable[[WorkerFactory], Engine]
"""Makes an engine whose workers come from a factory."""


class SerialEngine:
    """In this process, one after the other.

    Args:
        make_worker: makes the one worker.
    """

    jobs = 1

    def __init__(self, make_worker: WorkerFactory) -> None:
        self._worker = make_worker()

    def map(
        self, tasks: Iterable[Task], tell: Callable[[str], None] = print
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """As `Engine.map`; results come in the order of the tasks."""
        for task in tasks:
            try:
                result = getattr(self._worker, task.method)(task.argument)
            except Exception as error:
                result = Failure(first_line(error))
            yield task, result

    def close(self) -> None:
        """Nothing to do."""


class PoolEngine:
    """In a pool of fresh processes.

    Args:
        make_worker: makes the worker of each process.
        jobs: how many processes.
    """

    def __init__(self, make_worker: WorkerFactory, jobs: int) -> None:
        self.jobs = jobs
        self._make_worker = make_worker
        self._pool = self._new()

    def map(
        self, tasks: Iterable[Task], tell: Callable[[str], None] = print
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """As `Engine.map`; one task more than there are processes is on its way, so none waits for us."""
        coming = iter(tasks)
        while lost := (yield from self._until_one_dies(coming, self.jobs + 1)):
            tell(f"a process died; {len(lost)} tasks that were begun are done again, one by one")
            for task in lost:
                if (yield from self._until_one_dies(iter([task]), 1)):
                    yield task, Failure(DIED)

    def close(self) -> None:
        """Stop the processes after what they are doing."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _until_one_dies(
        self, coming: Iterator[Task], at_once: int
    ) -> Generator[tuple[Task, Any | Failure], None, list[Task]]:
        """Do tasks, so many at once; gives those that were lost with a process, nothing at the end of all."""
        running: dict[Future[Any], Task] = {}
        while True:
            while len(running) < at_once and (task := next(coming, None)) is not None:
                running[self._submit(task)] = task
            if not running:
                return []
            done = wait(running, return_when=FIRST_COMPLETED).done
            if any(map(was_lost, done)):
                break
            for future in done:
                yield running.pop(future), result_of(future)
        wait(running)  # a pool that has lost a process gives up all the others' tasks
        for future, task in running.items():
            if not was_lost(future):
                yield task, result_of(future)
        self._renew()
        return [task for future, task in running.items() if was_lost(future)]

    def _submit(self, task: Task) -> Future[Any]:
        try:
            return self._pool.submit(worker.perform, task.method, task.argument)
        except BrokenProcessPool:  # a process died while it had nothing to do
            self._renew()
            return self._pool.submit(worker.perform, task.method, task.argument)

    def _renew(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        # Fresh processes: a fork would copy locks that ONNX Runtime or Arrow may hold.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.jobs, context, worker.begin, (self._make_worker,))


def make_engine(
    make_worker: WorkerFactory, jobs: int | None = None, kind: str = "pool", address: str | None = None
) -> Engine:
    """An engine by its name.

    Args:
        make_worker: makes its workers.
        jobs: how many; None: one for each core. A pool of one is this process alone.
        kind: one of `ENGINES`.
        address: of the Ray cluster; None: one of this machine alone.

    Raises:
        UserError: Ray is wanted, but missing or not to be reached.
    """
    check_engine(kind, address)
    if kind == "ray":
        from sim.ray_engine import RayEngine

        return RayEngine(make_worker, address=address, jobs=jobs)
    jobs = cores() if jobs is None else jobs
    return SerialEngine(make_worker) if jobs == 1 else PoolEngine(make_worker, jobs)


def opener(kind: str, address: str | None, jobs: int | None) -> OpenEngine:
    """Makes engines as `make_engine` does; without jobs, a pool of one: for what fills all cores anyway."""
    return partial(
        make_engine, jobs=1 if jobs is None and kind == "pool" else jobs, kind=kind, address=address
    )


def check_engine(kind: str, address: str | None) -> None:
    """Refuse an engine that there is not with a UserError."""
    if kind not in ENGINES:
        raise UserError(f"unknown engine '{kind}'; one of {', '.join(ENGINES)}")
    if address is not None and kind != "ray":
        raise UserError(f"an address is for the engine ray, not for {kind}")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def was_lost(future: Future[Any]) -> bool:
    """Whether a task ended with its process."""
    return isinstance(future.exception(), BrokenProcessPool)


def result_of(future: Future[Any]) -> Any | Failure:
    """What a task that was done has come to."""
    error = future.exception()
    return future.result() if error is None else Failure(first_line(error))
