"""The engine for a cluster: workers are Ray actors, wherever there is a core for them."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.engine import DIED, Failure, Task, WorkerFactory
from sim.errors import UserError, first_line

ATTEMPTS = 3
"""Workers that may die of a task, or while they have it, before it fails."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Ray tells nobody that it runs, and warns of nothing that does not concern us."""


class Holder:
    """Holds a worker on a node; made into an actor."""

    def __init__(self, make_worker: WorkerFactory) -> None:
        self._worker = make_worker()

    def ready(self) -> None:
        """Answers when the worker is made."""

    def perform(self, method: str, argument: Any) -> Any | Failure:
        """Call the worker; what it raises comes back in one line."""
        try:
            return getattr(self._worker, method)(argument)
        except Exception as error:
            return Failure(first_line(error))


@dataclass(eq=False, slots=True)
class Seat:
    """An actor, and what it does."""

    actor: Any
    task: Task | None = None


class RayEngine:
    """Workers on a Ray cluster, one per core of it.

    A node that is lost takes its workers with it, not what they had begun: others do it again. Workers in
    its place start as soon as there is a core for them.

    Args:
        make_worker: makes each worker, on its node: there, the project and the files of the study must be
            at the same place as here.
        address: of the cluster, as `ray.init` takes it; None: a cluster of this machine alone, for as long
            as the engine lives.
        jobs: how many workers; None: one for each core of the cluster.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(
        self, make_worker: WorkerFactory, *, address: str | None = None, jobs: int | None = None
    ) -> None:
        self._ray = ray = ray_or_error()
        self._connected = not ray.is_initialized()
        if self._connected:
            connect(ray, address, jobs)
        self.jobs = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._make_worker = ray.put(make_worker)
        self._kind = ray.remote(num_cpus=1, max_restarts=0)(Holder)
        self._free: list[Seat] = []
        self._asked: dict[Any, Seat] = {}
        for _ in range(self.jobs):
            self._seat_one()

    def map(
        self, tasks: Iterable[Task], tell: Callable[[str], None] = print
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """As `sim.engine.Engine.map`."""
        coming: Iterator[Task] | None = iter(tasks)
        again: deque[Task] = deque()
        deaths: dict[Task, int] = {}
        while True:
            while self._free and (again or coming is not None):
                task = again.popleft() if again else next(coming or iter(()), None)
                if task is None:
                    coming = None
                else:
                    self._give(self._free.pop(), task)
            if coming is None and not again and not any(seat.task for seat in self._asked.values()):
                return
            done, _ = self._ray.wait(list(self._asked), num_returns=1)
            seat = self._asked.pop(done[0])
            task, seat.task = seat.task, None
            try:
                result = self._ray.get(done[0])
            except self._ray.exceptions.RayActorError:
                self._seat_one()
                if task is None:
                    tell("a worker died before it had begun")
                    continue
                deaths[task] = deaths.get(task, 0) + 1
                if deaths[task] < ATTEMPTS:
                    tell("a worker died, or its node; what it had begun is done again")
                    again.append(task)
                else:
                    yield task, Failure(DIED)
                continue
            self._free.append(seat)
            if task is not None:
                yield task, result

    def close(self) -> None:
        """End the workers, and the connection if it was made here."""
        for seat in (*self._free, *self._asked.values()):
            self._ray.kill(seat.actor)
        self._free.clear()
        self._asked.clear()
        if self._connected:
            self._ray.shutdown()

    def _seat_one(self) -> None:
        """Have a worker made; it is free when it says that it is ready."""
        seat = Seat(self._kind.remote(self._make_worker))
        self._asked[seat.actor.ready.remote()] = seat

    def _give(self, seat: Seat, task: Task) -> None:
        seat.task = task
        self._asked[seat.actor.perform.remote(task.method, task.argument)] = seat


def ray_or_error() -> Any:
    """Ray, told to be quiet; raises UserError where it is missing."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError("the ray engine needs Ray: pip install '.[cluster]'") from error
    return ray


def connect(ray: Any, address: str | None, jobs: int | None) -> None:
    """Join the cluster at an address, or make one of this machine; raises UserError."""
    try:
        ray.init(
            address=address,
            num_cpus=jobs if address is None else None,
            include_dashboard=False if address is None else None,
            configure_logging=True,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}},
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"no Ray cluster at {address or 'this machine'}: {first_line(error)}") from error
