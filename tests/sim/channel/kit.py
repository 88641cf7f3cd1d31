"""Path tables and scenarios for tests that need no ray tracer."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.path_table import PathTable, write_path_table
from sim.channel.traces import position_digest, scenario_positions
from sim.channel.world import world_of
from sim.deployment import MUNICH6
from sim.scenario import Scenario

Array = npt.NDArray[Any]
SPEED_OF_LIGHT_MPS = 299_792_458.0


def random_table(
    position_m: Array, *, seed: int = 0, most: int = 5, world_key: str = "0" * 16, num_bs: int = 6
) -> PathTable:
    """A table of made-up paths, as many as it comes, strongest first, also none."""
    draws = np.random.default_rng(seed)
    count = draws.integers(0, most + 1, size=(len(position_m), num_bs)).astype(np.int32)
    ends = np.cumsum(count.ravel(), dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    gain = 1e-6 * (draws.standard_normal(total) + 1j * draws.standard_normal(total))
    return PathTable(
        world_key=world_key,
        bs_ids=tuple(f"bs{k}" for k in range(1, num_bs + 1)),
        position_m=np.asarray(position_m, dtype=np.float64),
        first=(ends - count.ravel()).reshape(count.shape),
        count=count,
        gain=gain.astype(np.complex64),
        delay_s=draws.uniform(1e-7, 1e-6, total),
        ue_direction=directions(draws, total),
        bs_direction=directions(draws, total),
        mirror=np.zeros((total, 3, 3), np.float32),
        image_distance_m=draws.uniform(10, 300, total).astype(np.float32),
        line_of_sight=draws.random(total) < 0.3,
        dropped_energy=np.zeros(count.shape, np.float32),
        attributes={"scene": "munich"},
    )


def directions(draws: np.random.Generator, count: int) -> Array:
    """Unit vectors, ``[count, 3]``."""
    vectors = draws.standard_normal((count, 3))
    result: Array = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return result


def positions(count: int, seed: int = 0) -> Array:
    """Distinct places, ``[count, 3]``, m."""
    result: Array = np.random.default_rng(seed).uniform(-80, 80, (count, 3))
    return result


def store_made_up_paths(scenario: Scenario, folder: Path) -> Path:
    """Give a scenario made-up paths for all its positions, in a folder of traces."""
    position_m = np.concatenate(list(scenario_positions(scenario).values()))
    key = world_of(scenario.deployment, scenario.folder).key()
    table = random_table(position_m, world_key=key, num_bs=len(scenario.bs_ids))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{scenario.name}-{position_digest(position_m)}-{key}.h5"
    write_path_table(table, path)
    return path


MUNICH_KEY = world_of(MUNICH6).key()
