"""What the base stations hear: channels made from paths, with the clocks' errors and noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from broker.streams import Streams
from models.estimation import pilot_symbols
from models.path_table import PathTable
from sim.channel.air import Air
from sim.channel.errors import ChannelError
from sim.channel.tracing import Report, find_paths, say
from sim.channel.world import world_of
from sim.scenario import Scenario
from sim.scenario.scenario import Clock

__all__ = ["Channel", "ChannelError", "open_channel", "world_of"]

Floats = NDArray[np.float64]


class PathsOfSnapshots(Protocol):
    """A whole path table, or one that is read as it is needed."""

    def at(self, index: int, /) -> tuple[PathTable, int]:
        """A table that has a snapshot's paths, and which of its rows they are."""
        ...


class Channel:
    """Pilots heard by all base stations, snapshot by snapshot; the same for the same arguments.

    Args:
        air: Sites and radio.
        clock: How well the clocks of UE and base stations agree.
        seed: Of clock errors and noise; what one link draws does not depend on which others there are.
        paths: Of each UE, one row per snapshot.
        velocity_mps: Of each UE, ``[n, 3]``.
    """

    def __init__(
        self,
        air: Air,
        clock: Clock,
        seed: int,
        paths: Mapping[str, PathsOfSnapshots],
        velocity_mps: Mapping[str, Floats],
    ) -> None:
        self._air, self._clock = air, clock
        self._streams = Streams(seed)
        self._paths, self._velocity_mps = paths, velocity_mps
        self._symbols = pilot_symbols(air.radio.subcarriers)
        self._noise_scale = np.float32((air.radio.noise_variance() / 2) ** 0.5)
        self._noise = np.empty(0, np.float32)

    @property
    def noise_variance(self) -> Floats:
        """Noise power of a resource element over the sent power at each base station, ``[num_bs]``."""
        return self._air.noise_variance

    def paths(self, ue: str, index: int) -> tuple[PathTable, int]:
        """A table that has a snapshot's paths, and which of its rows they are."""
        return self._paths[ue].at(index)

    def channel(self, ue: str, index: int) -> NDArray[np.complex64]:
        """Channel (1) without noise, ``[num_bs, num_slots, num_ant, num_sc]``."""
        table, row = self.paths(ue, index)
        return self._air.channel(table, row, self._velocity_mps[ue][index], self.clock_offset_s(ue, index))

    def clock_offset_s(self, ue: str, index: int) -> Floats:
        """Timing offset of each link in one snapshot: the UE's, common to all, plus each base station's."""
        if self._clock.kind == "synchronised":
            return np.zeros(len(self._air.bs_ids))
        draws = self._streams.at
        common = draws("clock", ue, index).uniform(-1, 1) * self._clock.ue_offset
        own = [draws("clock", f"{bs}/{ue}", index).standard_normal() for bs in self._air.bs_ids]
        return common + np.array(own) * self._clock.bs_sync

    def pilots(self, ue: str, index: int) -> NDArray[np.complex64]:
        """Received pilots (2), ``[num_bs, num_slots, num_ant, num_sc]``: symbols times channel plus noise."""
        heard = self.channel(ue, index)
        heard *= self._symbols
        if self._noise.shape != (*heard.shape, 2):
            self._noise = np.empty((*heard.shape, 2), np.float32)
        for number, bs in enumerate(self._air.bs_ids):
            draws = self._streams.at("noise", f"{bs}/{ue}", index)
            draws.standard_normal(out=self._noise[number], dtype=np.float32)
        self._noise *= self._noise_scale
        heard += self._noise.view(np.complex64)[..., 0]
        return heard


def open_channel(scenario: Scenario, report: Report = say, *, may_trace: bool = True) -> Channel:
    """The channel of a scenario, traced now where no stored trace has it.

    Raises:
        ChannelError: Its paths cannot be had.
    """
    velocity_mps = {
        ue: scenario.trajectory(ue).velocity_in_world_mps(scenario.sample_times_ns(ue) * 1e-9)
        for ue in scenario.ue_ids
    }
    return Channel(
        Air(scenario.deployment),
        scenario.clock,
        scenario.seed,
        find_paths(scenario, report, may_trace=may_trace),
        velocity_mps,
    )
