"""The engine for a cluster keeps the contract of the others, and outlives the loss of a node."""

import importlib
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sim.engine import DIED, Failure, Task, make_engine, opener
from sim.errors import UserError
from sim.evaluate import evaluate
from sim.ray_engine import RayEngine, connect, ray_or_error
from sim.study.spec import load_study
from sim.study.sweep import Listener, sweep
from sim.study.work import Worker
from sim.systems import embedding_systems
from tests.sim.study.kit import small_study
from tests.sim.study.test_sweep import run_all
from tests.sim.test_engine import Clerk

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


class Sleeper(Clerk):
    """Knows on which node it is."""

    def node(self, seconds: float) -> str:
        import ray

        time.sleep(seconds)
        return str(ray.get_runtime_context().get_node_id())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each on this machine, to which this process is connected."""
    ray = ray_or_error()
    cluster_utils: Any = importlib.import_module("ray.cluster_utils")
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    cluster.add_node(num_cpus=1)
    connect(ray, cluster.address, None)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def engine(cluster: Any) -> Iterator[RayEngine]:
    engine = RayEngine(Sleeper)
    yield engine
    engine.close()


def results(engine: RayEngine, tasks: list[Task]) -> tuple[list[Any], list[str]]:
    told: list[str] = []
    done = dict(engine.map(tasks, told.append))
    return [done[task] for task in tasks], told


@pytest.mark.timeout(300)
def test_the_contract_of_engines(engine: RayEngine) -> None:
    assert engine.jobs == 2
    squares = [Task("square", number) for number in range(20)]
    assert results(engine, squares) == ([number * number for number in range(20)], [])
    mixed = [Task("square", 2), Task("refuse", "no"), Task("square", 3)]
    assert results(engine, mixed) == ([4, Failure("ValueError: no"), 9], [])
    assert results(engine, []) == ([], [])
    nodes, _ = results(engine, [Task("node", 0.5) for _ in range(4)])
    assert len(set(nodes)) == 2


@pytest.mark.timeout(300)
def test_only_what_kills_its_workers_again_and_again_fails(engine: RayEngine) -> None:
    tasks = [Task("square", 1), Task("exit", 9), Task("square", 3)]
    done, told = results(engine, tasks)
    assert done == [1, Failure(DIED), 9]
    assert len(told) == 2


@pytest.mark.timeout(300)
def test_a_study_survives_the_loss_of_a_node(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sim.study.sweep.MOST_PER_CHUNK", 2)
    study = load_study(small_study(tmp_path))
    whole = run_all(study, tmp_path / "serial").folder.table()
    doomed = cluster.add_node(num_cpus=1)
    told: list[str] = []
    lost = False

    def lose_a_node(done: int, total: int) -> None:
        nonlocal lost
        if done and not lost:
            lost = True
            cluster.remove_node(doomed, allow_graceful=False)

    engine = make_engine(partial(Worker, study), None, "ray")
    try:
        swept = sweep(study, tmp_path / "ray", engine=engine, listener=Listener(told.append, lose_a_node))
    finally:
        engine.close()
    assert lost
    assert swept.computed == 12
    assert swept.failed == 0
    timeless = [name for name in whole.column_names if name not in ("wall_time_s", "summary")]
    assert swept.folder.table().select(timeless).equals(whole.select(timeless))


@pytest.mark.timeout(300)
def test_systems_are_judged_the_same(cluster: Any) -> None:
    judged = [
        evaluate(embedding_systems(["ecc-r"]), ["random"], points=260, open_engine=open_engine)
        for open_engine in (None, opener("ray", None, None))
    ]
    assert judged[0] == judged[1]


def test_no_cluster_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        def init(self, **_: Any) -> None:
            raise ConnectionError("Could not find any running Ray instance.\nmore")

    with pytest.raises(UserError, match=r"^no Ray cluster at 10\.0\.0\.9:6379: .*Could not find"):
        connect(Nobody(), "10.0.0.9:6379", None)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install '\.\[cluster\]'"):
        make_engine(Clerk, 1, "ray")
