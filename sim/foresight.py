"""What becomes of snapshots if nothing comes in between: messages and fixes worked out ahead, many together.

Nobody relies on it: what was foreseen is used where just that has happened, and worked out anew where not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from broker.frame import Frame
from models.quantiser import dequantise, pack_many, quantise
from nodes import PositioningModel, Snapshot
from nodes.fuser import Fused, Fuser
from sim.scenario import Scenario
from sim.world import base_stations

Floats = npt.NDArray[np.float64]

SEVERAL = 3


@dataclass(frozen=True, slots=True)
class Message:
    """What a base station sends of a snapshot."""

    dims: int
    bits: int
    step: float
    gain_db: float
    payload: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Messages:
    """What a base station sends of some snapshots, all in the same size."""

    dims: int
    bits: int
    step: float
    gain_db: list[float]
    payload: list[bytes]

    def __getitem__(self, row: int) -> Message:
        """That of one snapshot."""
        return Message(self.dims, self.bits, self.step, self.gain_db[row], self.payload[row])

    def are_in(self, row: int, frame: Frame) -> bool:
        """Whether a frame holds the message of a snapshot."""
        return (
            self.payload[row] == frame.payload
            and self.gain_db[row] == frame.gain_db
            and self.dims == frame.dims
            and self.bits == frame.bits
            and self.step == frame.step
        )


@dataclass(frozen=True, slots=True, eq=False)
class Foreseen:
    """What becomes of some snapshots.

    Attributes:
        messages: of each BS, by its place in the scenario.
        bs_heard: from which BSs the central unit hears.
        columns: their places in the scenario.
        fused: what it makes of that.
    """

    messages: dict[int, Messages]
    bs_heard: tuple[str, ...]
    columns: tuple[int, ...]
    fused: Fused


@dataclass(frozen=True, slots=True, eq=False)
class Fate:
    """What becomes of one snapshot."""

    foreseen: Foreseen
    row: int

    def of(self, snapshot: Snapshot) -> tuple[Floats, Floats, bool] | None:
        """Position, covariance and whether they are finite, if just what was foreseen has arrived."""
        foreseen, row = self.foreseen, self.row
        if tuple([arrival.frame.bs for arrival in snapshot.arrivals]) != foreseen.bs_heard:
            return None
        for column, arrival in zip(foreseen.columns, snapshot.arrivals, strict=True):
            if not foreseen.messages[column].are_in(row, arrival.frame):
                return None
        fused = foreseen.fused
        return fused.position_m[row], fused.covariance_m2[row], bool(fused.finite[row])


class Foresight:
    """Works out messages and fixes of snapshots whose embeddings are known.

    Args:
        scenario: says what base stations send.
        model: fuses.
    """

    def __init__(self, scenario: Scenario, model: PositioningModel) -> None:
        self._stations = tuple(base_stations(scenario, model).values())
        self._column = [list(model.bs_ids).index(station.bs_id) for station in self._stations]
        self._num_bs = len(model.bs_ids)
        self._fuser = Fuser(model)

    def of(self, latent: npt.NDArray[np.float32], gain_db: Floats, heard: Sequence[bool]) -> Foreseen:
        """What becomes of snapshots.

        Args:
            latent: ``[n, num_bs, dims]``, in the order of the scenario's BSs.
            gain_db: ``[n, num_bs]``.
            heard: from which BSs the central unit hears.
        """
        num = len(latent)
        arrived = np.zeros((num, self._num_bs, latent.shape[2]), np.float32)
        gains, present = np.zeros((num, self._num_bs)), np.zeros((num, self._num_bs), np.bool_)
        messages = {}
        for at, (station, column) in enumerate(zip(self._stations, self._column, strict=True)):
            payload, step = station.payload, station.step(station.payload.bits)
            indices = quantise(latent[:, at, : payload.dims], payload.bits, step)
            gain = gain_db[:, at].astype(np.float32).astype(np.float64)
            packed = pack_many(indices, payload.bits)
            messages[at] = Messages(payload.dims, payload.bits, step, gain.tolist(), packed)
            if heard[at]:
                arrived[:, column, : payload.dims] = dequantise(indices, payload.bits, np.array([[step]]))
                gains[:, column], present[:, column] = gain, True
        # In the order of the model, as the central unit has them.
        columns = sorted((at for at, is_heard in enumerate(heard) if is_heard), key=self._column.__getitem__)
        bs_heard = tuple(self._stations[at].bs_id for at in columns)
        return Foreseen(messages, bs_heard, tuple(columns), self._fuser.fuse_latents(arrived, gains, present))


class Oracle(Protocol):
    """Knows what was foreseen."""

    heard: tuple[bool, ...]

    def fused(self, snapshot: Snapshot, /) -> tuple[Any, Any, bool] | None:
        """Position, covariance and whether they are finite, if just what arrived was foreseen."""
        ...


class ForesightedFuser(Fuser):
    """Fuses what was not foreseen, and tells what arrives, so that foresight learns who is heard.

    Args:
        model: fuses.
        oracle: knows what was foreseen.
        bs_ids: the scenario's base stations.
    """

    def __init__(self, model: PositioningModel, oracle: Oracle, bs_ids: Sequence[str]) -> None:
        super().__init__(model)
        self._oracle, self._bs_ids = oracle, tuple(bs_ids)
        self.foreseen = 0
        """Snapshots that needed no fusion any more."""
        self._others: list[tuple[str, ...]] = []

    def fuse(self, snapshots: Sequence[Snapshot]) -> Fused:
        """As `Fuser.fuse`."""
        known = [self._oracle.fused(snapshot) for snapshot in snapshots]
        unknown = [snapshot for snapshot, fused in zip(snapshots, known, strict=True) if fused is None]
        self.foreseen += len(snapshots) - len(unknown)
        for snapshot, fused in zip(snapshots, known, strict=True):
            self._learn(snapshot.bs_used, was_foreseen=fused is not None)
        if len(unknown) == len(snapshots):
            return super().fuse(snapshots)
        anew = super().fuse(unknown)
        late = iter(zip(anew.position_m, anew.covariance_m2, anew.finite, strict=True))
        rows = [next(late) if found is None else found for found in known]
        position_m, covariance_m2, finite = zip(*rows, strict=True)
        return Fused(np.array(position_m), np.array(covariance_m2), np.array(finite, np.bool_))

    def _learn(self, bs_used: tuple[str, ...], *, was_foreseen: bool) -> None:
        """If other base stations are heard several times running, they will be."""
        if was_foreseen or (self._others and self._others[-1] != bs_used):
            self._others.clear()
        if not was_foreseen:
            self._others.append(bs_used)
        if len(self._others) >= SEVERAL and bs_used:
            self._oracle.heard = tuple([bs in bs_used for bs in self._bs_ids])
