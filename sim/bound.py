"""How near to the truth lines of sight alone can bring a fix at the held-out points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bound import Delay, position_information, root_mean_square_m
from models.path_table import PathTable
from models.synthesis import world_from_array
from sim.channel.held_out import HeldOut
from sim.channel.world import radio_of
from sim.deployment import MUNICH6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Clocks:
    """What is known about time, in words and in numbers."""

    label: str
    delay: Delay
    bs_sync_s: float = 0.0


CLOCKS = (
    Clocks("synchronised", "synchronised"),
    Clocks("UE unknown, BSs exact", "ue_unknown"),
    Clocks("UE unknown, BSs 5 ns", "ue_unknown", 5e-9),
    Clocks("delay deleted", "deleted"),
)


def line_of_sight_snr(table: PathTable, noise_variance: Floats) -> Floats:
    """Power of the direct path of each link over the noise of a resource element, 0 if there is none.

    Args:
        table: Paths of ``P`` positions.
        noise_variance: Over the sent power, ``[num_bs]``.

    Returns:
        ``[P, num_bs]``.
    """
    power = np.abs(table.gain.astype(np.complex128)) ** 2 * table.line_of_sight
    cumulated = np.concatenate([[0.0], np.cumsum(power)])
    direct = cumulated[table.first + table.count] - cumulated[table.first]
    seen = np.concatenate([[0], np.cumsum(table.line_of_sight)])
    result: Floats = np.where(
        seen[table.first + table.count] > seen[table.first], direct / noise_variance, 0.0
    )
    return result


def bounds_m(snapshots: HeldOut, clocks: Clocks) -> Floats:
    """Least root mean square 3D error at each snapshot, ``[n]``, m; infinite where it is not bounded."""
    site = np.array([site.position_in_world_m for site in MUNICH6.sites])
    rotation = np.stack([world_from_array(one, MUNICH6.boresight_in_world_m) for one in site])
    snr = np.stack(
        [
            line_of_sight_snr(table.select(np.array([row])), snapshots.channel.noise_variance)[0]
            for table, row in (snapshots.channel.paths(ue, index) for ue, index in snapshots.snapshots)
        ]
    )
    information = position_information(
        snapshots.position_m, site, rotation, snr, radio_of(MUNICH6), clocks.delay, clocks.bs_sync_s
    )
    return root_mean_square_m(information)


def by_sites_in_sight(
    snapshots: HeldOut, clocks: Sequence[Clocks] = CLOCKS
) -> list[tuple[int, int, list[float]]]:
    """For each number of base stations in sight: that number, points, and the median bound of each clock."""
    bounds = [bounds_m(snapshots, one) for one in clocks]
    rows = []
    for number in range(len(MUNICH6.sites) + 1):
        chosen = snapshots.sites_in_sight == number
        medians = [float(np.median(bound[chosen])) if chosen.any() else float("nan") for bound in bounds]
        rows.append((number, int(chosen.sum()), medians))
    return rows
