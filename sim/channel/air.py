"""What lies between UEs and base stations: paths turned into channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.path_table import PathTable
from models.synthesis import over_tones, path_waves, world_from_array
from sim.channel.world import radio_of
from sim.deployment import Deployment

Floats = NDArray[np.float64]

MOST_RECENT = 32
"""Positions whose waves are kept: a hundred UEs on a way come by the same one within a second."""


class Air:
    """Makes channels from paths, for the sites and the radio of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self.radio = radio_of(deployment)
        self.bs_ids = deployment.bs_ids
        antennas = self.radio.antenna_position_m()
        self._antennas = np.stack(
            [
                antennas @ world_from_array(site.position_in_world_m, deployment.boresight_in_world_m).T
                for site in deployment.sites
            ]
        )
        self._frequency_hz = self.radio.frequency_hz()
        self._recent: dict[tuple[int, int, bytes], tuple[PathTable, NDArray[np.complex64], Floats]] = {}

    @property
    def noise_variance(self) -> Floats:
        """Noise power of a resource element over the sent power at each base station, ``[num_bs]``."""
        return np.full(len(self.bs_ids), self.radio.noise_variance())

    def channel(
        self, table: PathTable, row: int, velocity_mps: NDArray[Any], clock_offset_s: NDArray[Any]
    ) -> NDArray[np.complex64]:
        """The channels (1) of one snapshot without noise, ``[num_bs, num_slots, num_ant, num_sc]``.

        Args:
            table: Paths of UE positions.
            row: Which of them.
            velocity_mps: Of the UE, ``[3]``.
            clock_offset_s: Timing offset of each link, ``[num_bs]``.
        """
        num_bs, radio = len(self.bs_ids), self.radio
        if not len(table.gain):
            return np.zeros((num_bs, radio.slots, radio.antennas, radio.subcarriers), np.complex64)
        waves, delay_s = self._waves(table, row, velocity_mps)
        result: NDArray[np.complex64] = over_tones(
            waves, delay_s, clock_offset_s, self._frequency_hz, radio.slots, radio.antennas
        )
        return result

    def _waves(
        self, table: PathTable, row: int, velocity_mps: NDArray[Any]
    ) -> tuple[NDArray[np.complex64], Floats]:
        """Waves and delays of the paths of a snapshot; those of the last few are kept, for UEs on one way."""
        key = (id(table), row, velocity_mps.tobytes())
        found = self._recent.get(key)
        if found is None or found[0] is not table:
            if len(self._recent) >= MOST_RECENT:
                del self._recent[next(iter(self._recent))]
            found = self._recent[key] = table, *self._waves_of(table, row, velocity_mps)
        return found[1:]

    def _waves_of(
        self, table: PathTable, row: int, velocity_mps: NDArray[Any]
    ) -> tuple[NDArray[np.complex64], Floats]:
        num_bs, radio = len(self.bs_ids), self.radio
        first, count = table.first[row], table.count[row]
        rank = np.arange(max(int(count.max()), 1))
        valid = rank < count[:, None]
        path = np.where(valid, first[:, None] + rank, 0)
        delay_s = table.delay_s[path]
        waves = path_waves(
            np.where(valid, table.gain[path], 0).astype(np.complex64),
            delay_s,
            table.ue_direction[path],
            table.bs_direction[path],
            self._antennas,
            np.broadcast_to(velocity_mps, (num_bs, 3)),
            radio.slot_time_s(),
            radio.carrier_hz,
        )
        return waves, delay_s
