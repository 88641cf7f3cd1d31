"""No test of the channel sees the user's cache of traces; those that trace share one ray tracer."""

from pathlib import Path

import pytest

from sim.channel.tracer import Tracer, TracingUnavailableError, require_ray_tracer
from sim.channel.world import world_of
from sim.deployment import MUNICH6


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of traces."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "fronthaul-sim" / "traces"


@pytest.fixture(scope="session")
def ray_tracer() -> None:
    """Skip a test where the ray tracer cannot run, and say why."""
    try:
        require_ray_tracer()
    except TracingUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def munich(ray_tracer: None) -> Tracer:
    """The benchmark's sites in its scene."""
    return Tracer(world_of(MUNICH6))
