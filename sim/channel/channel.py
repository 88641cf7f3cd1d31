"""What the base stations hear: paths from a stored trace or the ray tracer, turned into noisy pilots."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.streams import stream
from models.estimation import pilot_symbols
from models.path_table import PathTable, PathTableError, concatenate, read_path_table, write_path_table
from models.synthesis import Radio, synthesise, world_from_array
from sim.channel.tracer import SolverSettings, Tracer, TracingUnavailable, World
from sim.deployment import Deployment
from sim.errors import UserError
from sim.scenario import Scenario

GRID_M = 1e-4
"""Positions are looked up on this grid, so that rounding in the last digit finds the same trace."""

SHIPPED_TRACES = Path(__file__).resolve().parents[2] / "scenarios" / "traces"


class ChannelError(UserError):
    """The paths of a scenario cannot be had; the message says why and what to do."""


def world_of(deployment: Deployment) -> World:
    """What shapes the paths of a deployment."""
    return World(
        scene=deployment.scene,
        carrier_hz=deployment.radio.carrier_hz,
        bs_ids=deployment.bs_ids,
        bs_position_m=tuple(site.position_in_world_m for site in deployment.sites),
        boresight_m=deployment.boresight_in_world_m,
        element=deployment.radio.element,
        polarisation=deployment.radio.polarisation,
        solver=SolverSettings(),
    )


def radio_of(deployment: Deployment) -> Radio:
    """The air interface of a deployment."""
    radio = deployment.radio
    return Radio(
        carrier_hz=radio.carrier_hz,
        subcarrier_spacing_hz=radio.subcarrier_spacing_hz,
        full_subcarriers=radio.num_subcarriers,
        subcarrier_stride=radio.keep_every,
        slots=radio.num_slots,
        slot_s=radio.slot_interval_s,
        rows=radio.array_rows,
        columns=radio.array_columns,
        ue_power_dbm=radio.ue_power_dbm,
        noise_figure_db=radio.noise_figure_db,
    )


def traces_cache() -> Path:
    """Where traces made on this machine are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "fronthaul-sim" / "traces"


def trace_folders(scenario_folder: Path | None) -> list[Path]:
    """Where traces are looked for: beside the scenario, among the shipped ones, in the cache."""
    beside = [scenario_folder / "traces"] if scenario_folder is not None else []
    unique = dict.fromkeys([*beside, SHIPPED_TRACES, traces_cache()])
    return [folder for folder in unique if folder.is_dir()]


def on_grid(position_m: NDArray[Any]) -> NDArray[np.int64]:
    """Positions as whole multiples of the grid, ``[n, 3]``."""
    result: NDArray[np.int64] = np.rint(np.asarray(position_m) / GRID_M).astype(np.int64)
    return result


def position_digest(position_m: NDArray[Any]) -> str:
    """Name of a set of positions, 12 hexadecimal digits."""
    return hashlib.sha256(on_grid(position_m).tobytes()).hexdigest()[:12]


def scenario_positions(scenario: Scenario) -> dict[str, NDArray[np.float64]]:
    """Position of each UE at each of its snapshots, on the grid, ``{ue: [n, 3]}``, m."""
    positions = {
        ue: scenario.trajectory(ue).position_in_world_m(scenario.sample_times_ns(ue) * 1e-9)
        for ue in scenario.ue_ids
    }
    return {ue: on_grid(position_m).astype(np.float64) * GRID_M for ue, position_m in positions.items()}


class TraceLibrary:
    """All stored paths of one world, found by position."""

    def __init__(self, world: World, folders: list[Path]) -> None:
        self.world = world
        self._tables: list[PathTable] = []
        self._where: dict[tuple[int, ...], tuple[int, int]] = {}
        for path in self._files(folders):
            self.add(read_path_table(path))

    def _files(self, folders: list[Path]) -> Iterator[Path]:
        for folder in folders:
            yield from sorted(folder.glob(f"*{self.world.key()}.h5"))

    def add(self, table: PathTable) -> None:
        """Take in one more table."""
        if table.world_key != self.world.key():
            raise PathTableError(f"a path table of world {table.world_key}, expected {self.world.key()}")
        number = len(self._tables)
        self._tables.append(table)
        for row, place in enumerate(map(tuple, on_grid(table.position_m).tolist())):
            self._where.setdefault(place, (number, row))

    def missing(self, position_m: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the positions ``[n, 3]`` no table holds."""
        return np.array(
            [tuple(place) not in self._where for place in on_grid(position_m).tolist()], dtype=bool
        )

    def paths(self, position_m: NDArray[Any]) -> PathTable:
        """One table with a row per position, in order; all must be there."""
        found = [self._where[tuple(place)] for place in on_grid(position_m).tolist()]
        numbers = np.array([number for number, _ in found])
        rows = np.array([row for _, row in found])
        used = np.unique(numbers)
        parts = [self._tables[number].select(rows[numbers == number]) for number in used]
        order = np.concatenate([np.flatnonzero(numbers == number) for number in used])
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return concatenate(parts).select(back)


def find_paths(scenario: Scenario, *, may_trace: bool = True) -> dict[str, PathTable]:
    """Paths of every snapshot of every UE, traced now where no stored trace has them.

    Raises:
        ChannelError: A trace is damaged, or one is missing and the ray tracer cannot run here.
    """
    world = world_of(scenario.deployment)
    wanted = scenario_positions(scenario)
    try:
        library = TraceLibrary(world, trace_folders(scenario.folder))
        everything = np.concatenate(list(wanted.values()))
        missing = np.unique(everything[library.missing(everything)], axis=0)
        if len(missing):
            library.add(
                trace_now(world, missing, scenario.name)
                if may_trace
                else cannot_trace(len(missing), "tracing is off")
            )
    except PathTableError as error:
        raise ChannelError(str(error)) from error
    return {ue: library.paths(position) for ue, position in wanted.items()}


def cannot_trace(count: int, why: str) -> PathTable:
    """Say that paths are missing."""
    raise ChannelError(
        f"no stored trace has {count} of the scenario's positions, and {why} "
        '(to trace: pip install "fronthaul-sim[rt]", and on a CPU LLVM 16 or newer, e.g. '
        "apt-get install libllvm19)"
    )


def trace_now(world: World, position_m: NDArray[Any], name: str) -> PathTable:
    """Trace positions and keep them in the cache."""
    try:
        tracer = Tracer(world)
    except TracingUnavailable as error:
        return cannot_trace(len(position_m), str(error))
    table = tracer.trace(position_m)
    folder = traces_cache()
    folder.mkdir(parents=True, exist_ok=True)
    write_path_table(table, folder / f"{name}-{position_digest(position_m)}-{world.key()}.h5")
    return table


class Channel:
    """Pilots heard by all base stations, snapshot by snapshot; the same for the same scenario and seed."""

    def __init__(self, scenario: Scenario, paths: dict[str, PathTable]) -> None:
        deployment = scenario.deployment
        self._scenario = scenario
        self._paths = paths
        self._radio = radio_of(deployment)
        self._velocity = {
            ue: scenario.trajectory(ue).velocity_in_world_mps(scenario.sample_times_ns(ue) * 1e-9)
            for ue in scenario.ue_ids
        }
        antennas = self._radio.antenna_position_m()
        self._antennas = np.stack(
            [
                antennas @ world_from_array(site.position_in_world_m, deployment.boresight_in_world_m).T
                for site in deployment.sites
            ]
        )
        self._symbols = pilot_symbols(self._radio.subcarriers)
        self._slot_time = self._radio.slot_time_s()
        self._frequency = self._radio.frequency_hz()

    @property
    def noise_variance(self) -> NDArray[np.float64]:
        """Noise power of a resource element over the sent power at each base station, ``[num_bs]``."""
        return np.full(len(self._scenario.bs_ids), self._radio.noise_variance())

    def channel(self, ue: str, index: int) -> NDArray[np.complex64]:
        """Channel (1) without noise, ``[num_bs, num_slots, num_ant, num_sc]``."""
        table = self._paths[ue]
        first, count = table.first[index], table.count[index]
        rank = np.arange(max(int(count.max()), 1))
        valid = rank < count[:, None]
        row = np.where(valid, first[:, None] + rank, 0)
        if not len(table.gain):
            shape = (len(count), self._radio.slots, self._radio.antennas, self._radio.subcarriers)
            return np.zeros(shape, np.complex64)
        velocity = np.broadcast_to(self._velocity[ue][index], (len(count), 3))
        result: NDArray[np.complex64] = synthesise(
            np.where(valid, table.gain[row], 0).astype(np.complex64),
            table.delay_s[row],
            table.ue_direction[row],
            table.bs_direction[row],
            self._antennas,
            velocity,
            self.clock_offset_s(ue, index),
            self._slot_time,
            self._frequency,
            self._radio.carrier_hz,
        )
        return result

    def clock_offset_s(self, ue: str, index: int) -> NDArray[np.float64]:
        """Timing offset of each link in one snapshot: the UE's, common to all, plus the base station's own."""
        clock = self._scenario.clock
        bs_ids = self._scenario.bs_ids
        if clock.kind == "synchronised":
            return np.zeros(len(bs_ids))
        common = stream(self._scenario.seed, "clock", ue, index).uniform(-1, 1) * clock.ue_offset
        own = [stream(self._scenario.seed, "clock", f"{bs}/{ue}", index).standard_normal() for bs in bs_ids]
        return common + np.array(own) * clock.bs_sync

    def pilots(self, ue: str, index: int) -> NDArray[np.complex64]:
        """Received pilots (2), ``[num_bs, num_slots, num_ant, num_sc]``: symbols times channel plus noise."""
        heard = self.channel(ue, index) * self._symbols
        scale = np.float32((self._radio.noise_variance() / 2) ** 0.5)
        for number, bs in enumerate(self._scenario.bs_ids):
            draws = stream(self._scenario.seed, "noise", f"{bs}/{ue}", index)
            noise = draws.standard_normal((*heard.shape[1:], 2), dtype=np.float32) * scale
            heard[number] += noise.view(np.complex64)[..., 0]
        return heard


def open_channel(scenario: Scenario, *, may_trace: bool = True) -> Channel:
    """The channel of a scenario.

    Raises:
        ChannelError: Its paths cannot be had.
    """
    return Channel(scenario, find_paths(scenario, may_trace=may_trace))
