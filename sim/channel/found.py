"""Paths as a search finds them, before they become a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Found:
    """``R`` paths between UE positions and base stations, in any order.

    Attributes:
        ue: Which position each path leads to, ``[R]``.
        bs: Which base station it comes from, ``[R]``.
        delay_s: ``[R]``, s.
        gain: Without the carrier phase, ``[R]``.
        ue_direction: Unit vectors from the UE along the paths, ``[R, 3]``.
        bs_direction: Unit vectors from the base station along the paths, ``[R, 3]``.
        vertices_m: Interaction points from the base station on, ``[depth, R, 3]``, m.
        kinds: What happens there, ``[depth, R]``, see :mod:`sim.channel.unfold`; 0 = nothing.
    """

    ue: Array
    bs: Array
    delay_s: Array
    gain: Array
    ue_direction: Array
    bs_direction: Array
    vertices_m: Array
    kinds: Array

    @staticmethod
    def nothing(depth: int) -> Found:
        """No path at all."""
        none = np.zeros(0, np.int64)
        return Found(
            none,
            none,
            np.zeros(0),
            np.zeros(0, np.complex64),
            np.zeros((0, 3)),
            np.zeros((0, 3)),
            np.zeros((depth, 0, 3)),
            np.zeros((depth, 0), np.int64),
        )

    def __len__(self) -> int:
        return len(self.delay_s)

    @property
    def power(self) -> Array:
        """Squared gains, ``[R]``."""
        power: Array = np.abs(self.gain.astype(np.complex128)) ** 2
        return power

    def take(self, rows: Array) -> Found:
        """Some of the paths."""
        return Found(
            self.ue[rows],
            self.bs[rows],
            self.delay_s[rows],
            self.gain[rows],
            self.ue_direction[rows],
            self.bs_direction[rows],
            self.vertices_m[:, rows],
            self.kinds[:, rows],
        )


def united(searches: Sequence[Found]) -> Found:
    """What any of several searches found, each path once.

    Two paths that differ in their gain alone are two: over an edge that two pairs of faces share.
    """
    if len(searches) == 1:
        return searches[0]
    everything = Found(
        np.concatenate([found.ue for found in searches]),
        np.concatenate([found.bs for found in searches]),
        np.concatenate([found.delay_s for found in searches]),
        np.concatenate([found.gain for found in searches]),
        np.concatenate([found.ue_direction for found in searches]),
        np.concatenate([found.bs_direction for found in searches]),
        np.concatenate([found.vertices_m for found in searches], axis=1),
        np.concatenate([found.kinds for found in searches], axis=1),
    )
    depth = len(everything.kinds)
    identity = np.column_stack(
        [
            everything.ue,
            everything.bs,
            everything.delay_s,
            everything.gain.real,
            everything.gain.imag,
            everything.kinds.T,
            everything.vertices_m.transpose(1, 0, 2).reshape(len(everything), 3 * depth),
        ]
    )
    _, first = np.unique(identity, axis=0, return_index=True)
    return everything.take(np.sort(first))


def by_link(found: Found) -> Found:
    """Sorted by position and base station, in each link the strongest first."""
    return found.take(np.lexsort((found.delay_s, -found.power, found.bs, found.ue)))


def cut(found: Found, kept_paths: int, floor_db: float) -> Found:
    """The strongest paths of each link, so many at most, and none so far below the strongest.

    Args:
        found: As :func:`by_link` sorts it.
        kept_paths: Most paths kept of a link.
        floor_db: Paths this far below the strongest of the link are left out.
    """
    starts = np.flatnonzero(np.r_[True, (np.diff(found.ue) != 0) | (np.diff(found.bs) != 0)][: len(found)])
    lengths = np.diff(np.r_[starts, len(found)])
    rank = np.arange(len(found)) - np.repeat(starts, lengths)
    strongest = np.repeat(found.power[starts], lengths)
    floor = strongest * 10 ** (-floor_db / 10)
    return found.take(np.flatnonzero((rank < kept_paths) & (found.power >= floor) & (found.power > 0)))


def energy(found: Found, shape: tuple[int, int]) -> Array:
    """Sum of the power of all paths of each link, ``[P, L]``."""
    total: Array = np.zeros(shape)
    np.add.at(total, (found.ue, found.bs), found.power)
    return total
