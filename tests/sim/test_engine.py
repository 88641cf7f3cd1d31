"""One contract for all engines."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sim.engine import DIED, Engine, Failure, PoolEngine, SerialEngine, Task


class Clerk:
    """A worker that needs no study."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def exit(self, code: int) -> None:
        os._exit(code)

    def square(self, number: int) -> int:
        return number * number

    def refuse(self, text: str) -> None:
        raise ValueError(f"{text}\nand more")

    def die(self, _: object) -> None:
        assert os.getpid() != int(os.environ["FRONTHAUL_TEST_PID"])
        os._exit(9)

    def die_once(self, token: str) -> str:
        if not Path(token).exists():
            Path(token).touch()
            self.die(None)
        return "done"


ENGINES: dict[str, Callable[[], Engine]] = {
    "serial": lambda: SerialEngine(Clerk),
    "pool": lambda: PoolEngine(Clerk, 2),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = ENGINES[request.param]()
    yield engine
    engine.close()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("FRONTHAUL_TEST_PID", str(os.getpid()))
    engine = PoolEngine(Clerk, 2)
    yield engine
    engine.close()


def test_each_task_comes_back_once_with_its_result(engine: Engine) -> None:
    tasks = [Task("square", number) for number in range(20)]
    done = dict(engine.map(tasks))
    assert [done[task] for task in tasks] == [number * number for number in range(20)]


def test_what_fails_is_one_line_and_the_rest_goes_on(engine: Engine) -> None:
    tasks = [Task("square", 2), Task("refuse", "no"), Task("square", 3)]
    done = dict(engine.map(tasks))
    assert [done[task] for task in tasks] == [4, Failure("ValueError: no"), 9]


def test_nothing_to_do_is_done_at_once_and_an_engine_is_used_again(engine: Engine) -> None:
    assert list(engine.map([])) == []
    assert [result for _, result in engine.map([Task("square", 5)])] == [25]
    assert [result for _, result in engine.map([Task("square", 6)])] == [36]


def test_tasks_are_taken_as_there_is_room(engine: Engine) -> None:
    taken = []

    def tasks() -> Iterator[Task]:
        for number in range(50):
            taken.append(number)
            yield Task("square", number)

    coming = engine.map(tasks())
    next(coming)
    assert len(taken) <= engine.jobs + 2
    assert sum(1 for _ in coming) == 49


def results(engine: Engine, tasks: list[Task]) -> tuple[list[Any], list[str]]:
    told: list[str] = []
    done = dict(engine.map(tasks, told.append))
    return [done[task] for task in tasks], told


def test_a_process_that_dies_takes_nothing_with_it(pool: Engine, tmp_path: Path) -> None:
    tasks = [Task("square", 1), Task("die_once", str(tmp_path / "token")), Task("square", 3)]
    done, told = results(pool, tasks)
    assert done == [1, "done", 9]
    assert len(told) == 1
    assert told[0].startswith("a process died; ")


def test_only_what_kills_a_process_that_does_nothing_else_fails(pool: Engine) -> None:
    tasks = [Task("square", 1), Task("die", None), *(Task("square", number) for number in range(2, 8))]
    done, _ = results(pool, tasks)
    assert done == [1, Failure(DIED), 4, 9, 16, 25, 36, 49]
