"""Fusions of given embeddings, each different one computed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nodes import Payload, PositioningModel
from nodes.base_station import gain_on_the_wire
from nodes.fuser import Fuser
from sim.study.stations import Bank, KnowingStation

Floats = npt.NDArray[np.float64]

MOST_FUSIONS = 200_000
"""Remembered at once: about 100 MB."""

AT_ONCE = 4096
"""Gathered at once: about 80 MB."""


class Heard(NamedTuple):
    """What decides the result of a fusion, given the embeddings."""

    ue: str
    seq: int
    messages: tuple[tuple[str, int, int], ...]
    """Of each BS that was heard, in the order of the scenario: id, bits and dims."""


class Fusions:
    """Fuses each different snapshot of given embeddings once, however many points of a study need it.

    Args:
        model: fuses.
        bank: knows the messages.
        stations: any of the scenario's, for their steps.
    """

    def __init__(self, model: PositioningModel, bank: Bank, stations: Mapping[str, KnowingStation]) -> None:
        self._fuser = Fuser(model)
        self._model = model
        self._bank = bank
        self._stations = stations
        self._known: dict[Heard, tuple[Floats, Floats] | None] = {}
        self.done = 0

    def learn(self, wanted: Iterable[Heard]) -> None:
        """Fuse what is not known."""
        if len(self._known) > MOST_FUSIONS:
            self._known.clear()
        unknown = [heard for heard in dict.fromkeys(wanted) if heard not in self._known]
        self.done += len(unknown)
        for at in range(0, len(unknown), AT_ONCE):
            some = unknown[at : at + AT_ONCE]
            fused = self._fuser.fuse_latents(*self._gathered(some))
            self._known.update(
                (heard, (position_m, covariance_m2) if finite else None)
                for heard, position_m, covariance_m2, finite in zip(
                    some, fused.position_m, fused.covariance_m2, fused.finite.tolist(), strict=True
                )
            )

    def is_finite(self, heard: Heard) -> bool:
        """Whether the model gives numbers for what is known."""
        return self._known[heard] is not None

    def known(self, heard: Heard) -> tuple[Floats, Floats]:
        """Position ``[3]`` and covariance ``[3, 3]`` of what is known and finite."""
        fused = self._known[heard]
        assert fused is not None
        return fused

    def _gathered(self, wanted: list[Heard]) -> tuple[npt.NDArray[np.float32], Floats, npt.NDArray[np.bool_]]:
        shape = (len(wanted), len(self._model.bs_ids))
        latents = np.zeros((*shape, self._model.dims), np.float32)
        gain_db = np.zeros(shape)
        present = np.zeros(shape, np.bool_)
        alike: dict[tuple[str, int, int], list[tuple[int, str, int]]] = {}
        for row, (ue, seq, messages) in enumerate(wanted):
            for bs, bits, dims in messages:
                alike.setdefault((bs, bits, dims), []).append((row, ue, seq))
        for (bs, bits, dims), some in alike.items():
            column = self._model.bs_ids.index(bs)
            rows, places = [row for row, _, _ in some], [(ue, seq) for _, ue, seq in some]
            step = self._stations[bs].step(bits)
            latents[rows, column, :dims] = self._bank.latents(bs, places, Payload(bits, dims), step)
            gain_db[rows, column] = [
                gain_on_the_wire(self._bank.embedding(bs, ue, seq)) for ue, seq in places
            ]
            present[rows, column] = True
        return latents, gain_db, present
