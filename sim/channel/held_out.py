"""The held-out snapshots of the ``munich6`` benchmark: where models are judged, and what is heard there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from broker.streams import stream
from models.path_table import PathTable, PathTableError, read_path_table
from sim.channel.air import Air
from sim.channel.benchmark import POOLS, clear_of, square_of
from sim.channel.channel import Channel
from sim.channel.errors import ChannelError
from sim.channel.pool import munich_heights, pool_positions
from sim.channel.traces import SHIPPED_TRACES
from sim.channel.tracing import find_paths
from sim.channel.world import world_of
from sim.deployment import MUNICH6
from sim.scenario import Scenario, load_scenario
from sim.scenario.scenario import Clock

Split = Literal["random", "blocked", "trajectory"]
SPLITS: tuple[Split, ...] = get_args(Split)
POOL_OF = {"random": "test-random", "blocked": "test-blocked"}
TRAJECTORIES = ("spiral", "street", "many_users")
"""Shipped scenarios whose paths are the split ``trajectory``."""

TOP_SPEED_MPS = 3.0
SERVED_BY = 3
SERVED_AT_DB = 0.0
"""A point is served where so many base stations hear it so loud or louder, per resource element."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One split: snapshots that no model was trained on, none of them near a training point.

    Attributes:
        split: Its name.
        channel: What is heard.
        snapshots: UE and index of each snapshot, ``n`` of them.
        position_m: The truth, ``[n, 3]``.
        served: Whether enough base stations hear the snapshot well enough, ``[n]``.
        sites_in_sight: How many base stations have a line of sight, ``[n]``.
        group: What a bootstrap must draw together, ``[n]``: all snapshots of one UE on its way have the same
            number, and so have all points of one held-out square, for they are not independent.
    """

    split: Split
    channel: Channel
    snapshots: tuple[tuple[str, int], ...]
    position_m: Floats
    served: NDArray[np.bool_]
    sites_in_sight: NDArray[np.int64]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.snapshots)

    def pilots(self, rows: NDArray[Any]) -> NDArray[np.complex64]:
        """Received pilots of some snapshots, ``[n, num_bs, num_slots, num_ant, num_sc]``."""
        return np.stack([self.channel.pilots(*self.snapshots[row]) for row in rows])

    def thinned(self, points: int) -> HeldOut:
        """So many of its snapshots, evenly spread; all if there are not as many."""
        if points >= len(self):
            return self
        rows = np.arange(points) * len(self) // points
        return self.take(rows)

    def take(self, rows: NDArray[Any]) -> HeldOut:
        """Some of its snapshots."""
        return replace(
            self,
            snapshots=tuple(self.snapshots[row] for row in rows),
            position_m=self.position_m[rows],
            served=self.served[rows],
            sites_in_sight=self.sites_in_sight[rows],
            group=self.group[rows],
        )


def held_out(split: Split, *, clock: Clock, seed: int = 1) -> HeldOut:
    """The snapshots of a split.

    Args:
        split: ``random``, ``blocked`` (squares never trained on) or ``trajectory`` (of shipped scenarios).
        clock: How well the clocks of UE and base stations agree.
        seed: Of velocities, clock errors and noise.

    Raises:
        ChannelError: Its traces are missing or damaged.
    """
    if split == "trajectory":
        paths, velocity_mps = on_the_way()
    else:
        pool = POOL_OF[split]
        paths = {pool: shipped_pool(pool)}
        velocity_mps = {pool: random_velocities(pool, len(paths[pool]), seed)}
    everything = _snapshots(split, Channel(Air(MUNICH6), clock, seed, paths, velocity_mps), paths)
    trained = pool_positions(POOLS["train"], munich_heights())
    return everything.take(np.flatnonzero(clear_of(everything.position_m, trained)))


def _snapshots(split: Split, channel: Channel, paths: Mapping[str, PathTable]) -> HeldOut:
    tables = list(paths.values())
    snr_db = 10 * np.log10(
        np.concatenate([table.power() for table in tables]) / channel.noise_variance + 1e-30
    )
    counts = [len(table) for table in tables]
    position_m = np.concatenate([table.position_m for table in tables])
    group = {
        "random": np.arange(sum(counts)),
        "blocked": square_of(position_m),
        "trajectory": np.repeat(np.arange(len(tables)), counts),
    }[split]
    return HeldOut(
        split=split,
        channel=channel,
        snapshots=tuple((ue, index) for ue, table in paths.items() for index in range(len(table))),
        position_m=position_m,
        served=(snr_db >= SERVED_AT_DB).sum(axis=1) >= SERVED_BY,
        sites_in_sight=np.concatenate([table.sites_in_sight() for table in tables]),
        group=group,
    )


def shipped_pool(pool: str) -> PathTable:
    """The shipped paths of a pool of test points; raises ChannelError."""
    folder = SHIPPED_TRACES / "benchmark"
    path = folder / f"{pool}-{world_of(MUNICH6).key()}.h5"
    if not path.is_file():
        again = f"python -m sim trace --pool {pool} --out {folder}"
        raise ChannelError(f"{path}: no such path table; to trace it again: {again}")
    try:
        return read_path_table(path)
    except PathTableError as error:
        raise ChannelError(str(error)) from error


def random_velocities(pool: str, count: int, seed: int) -> Floats:
    """Velocities spread evenly over a ball, ``[count, 3]``, m/s."""
    draws = stream(seed, "velocity", pool)
    direction = draws.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    result: Floats = direction * TOP_SPEED_MPS * draws.random((count, 1)) ** (1 / 3)
    return result


def on_the_way() -> tuple[dict[str, PathTable], dict[str, Floats]]:
    """Paths and velocities of every UE of the shipped scenarios; raises ChannelError."""
    paths: dict[str, PathTable] = {}
    velocity_mps: dict[str, Floats] = {}
    for scenario in map(shipped_scenario, TRAJECTORIES):
        for ue, stored in find_paths(scenario).items():
            name = f"{scenario.name}/{ue}"
            t_s = scenario.sample_times_ns(ue) * 1e-9
            paths[name] = stored.whole()
            velocity_mps[name] = scenario.trajectory(ue).velocity_in_world_mps(t_s)
    return paths, velocity_mps


def shipped_scenario(name: str) -> Scenario:
    """A scenario that comes with the project."""
    folder: Path = SHIPPED_TRACES.parent
    return load_scenario(folder / f"{name}.yaml")
