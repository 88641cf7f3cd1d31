"""Base stations that know already what they will hear: only quantisation is left to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt

from broker.bus import Arrival
from broker.frame import Frame, frame_parts, wire_bits
from models.quantiser import dequantise, quantise
from nodes import BaseStation, Payload, PositioningModel
from nodes.base_station import Alone, Place, gain_on_the_wire
from nodes.positioning_model import Embedding
from sim.scenario import Scenario
from sim.study.embeddings import Embeddings
from sim.wire import Parts
from sim.world import run_id, snapshots_of, station_of


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """An embedding out of the cache."""

    latent: npt.NDArray[np.float32]
    gain_db: float


@dataclass(frozen=True, slots=True, eq=False)
class Messages:
    """Frames of one BS about one UE, of one size, by their numbers."""

    bits: list[int]
    """On the wire, without the transport's overhead."""
    payloads: list[bytes]


PACKED_TOGETHER = 256
"""Messages that are quantised at once, if there are as many."""

MessageKey = tuple[str, str, Payload, int]
"""BS, UE, size of the message, and time of processing in ns."""


class Bank:
    """Embeddings of one scenario and the messages made of them, kept from point to point of a study."""

    def __init__(self, bs_ids: Sequence[str], embeddings: Embeddings) -> None:
        self._column = {bs: column for column, bs in enumerate(bs_ids)}
        self._latent = embeddings.latent
        self._known = {
            (bs, ue): [
                Known(latents[index, column], float(embeddings.gain_db[ue][index, column]))
                for index in range(len(latents))
            ]
            for ue, latents in embeddings.latent.items()
            for bs, column in self._column.items()
        }
        self._names = {
            (bs, ue): [f"{bs}/{ue}#{seq}" for seq in range(len(known))]
            for (bs, ue), known in self._known.items()
        }
        self._packed: dict[tuple[str, Payload, float], dict[str, list[bytes]]] = {}
        self._following = dict(pairwise(self._latent))
        self._messages: dict[MessageKey, Messages] = {}
        self._places: dict[tuple[str, str], list[Place | None]] = {}
        self._truth: dict[str, npt.NDArray[np.float64]] = {}
        self.csi_shape = embeddings.csi_shape

    def embedding(self, bs: str, ue: str, seq: int) -> Embedding:
        """What a BS makes of a snapshot."""
        return self._known[bs, ue][seq]

    def latents(
        self, bs: str, places: Sequence[tuple[str, int]], size: Payload, step: float
    ) -> npt.NDArray[np.float32]:
        """What the central unit makes of messages, by UE and number, ``[len(places), size.dims]``."""
        column = self._column[bs]
        latents = np.empty((len(places), size.dims), np.float32)
        for row, (ue, seq) in enumerate(places):
            latents[row] = self._latent[ue][seq, column, : size.dims]
        for row in range(0, len(latents), PACKED_TOGETHER):  # few enough to stay near the processor
            some = latents[row : row + PACKED_TOGETHER]
            some[:] = dequantise(quantise(some, size.bits, step), size.bits, step)
        return latents

    def payload(self, bs: str, ue: str, seq: int, size: Payload, step: float) -> bytes:
        """The bytes of its message: all of the UE, and some of others, are packed in one go."""
        packed = self._packed.setdefault((bs, size, step), {})
        if ue not in packed:
            self._pack(bs, ue, size, step, packed)
        return packed[ue][seq]

    def _pack(self, bs: str, ue: str, size: Payload, step: float, packed: dict[str, list[bytes]]) -> None:
        """Pack messages of a UE, and of those that follow until there is enough to do."""
        together: list[str] = []
        count = 0
        following: str | None = ue
        while following is not None and count < PACKED_TOGETHER:
            if following not in packed:
                together.append(following)
                count += len(self._latent[following])
            following = self._following.get(following)
        parts = [self._latent[one][:, self._column[bs], : size.dims] for one in together]
        every = iter(pack_many(quantise(np.concatenate(parts), size.bits, step), size.bits))
        for one in together:
            packed[one] = list(islice(every, len(self._latent[one])))

    def names(self, bs: str, ue: str) -> list[str]:
        """Of frames, as in events."""
        return self._names[bs, ue]

    def messages(self, key: MessageKey, make: Callable[[int], Frame]) -> Messages:
        """All messages of a BS about a UE that have the same size: the same in all points.

        Args:
            key: tells them from others.
            make: a frame of one of them, from its number, where they are not known yet.
        """
        known = self._messages.get(key)
        if known is None:
            frames = [make(seq) for seq in range(len(self._known[key[0], key[1]]))]
            known = self._messages[key] = Messages(
                [wire_bits(frame_parts(frame), 0) for frame in frames], [frame.payload for frame in frames]
            )
        return known

    def places(self, bs: str, ue: str, alone: Callable[[], Alone]) -> list[Place | None]:
        """Where a UE is at its sample times by one BS alone."""
        known = self._places.get((bs, ue))
        if known is None:
            latents = self._latent[ue][:, self._column[bs]]
            gain_db = np.array([gain_on_the_wire(one) for one in self._known[bs, ue]])
            known = self._places[bs, ue] = alone().places(latents, gain_db)
        return known

    def truth(self, scenario: Scenario, ue: str) -> npt.NDArray[np.float64]:
        """Where a UE is at its sample times, ``[n, 3]``: the same in all points."""
        known = self._truth.get(ue)
        if known is None:
            known = self._truth[ue] = np.array([one.position_m for one in snapshots_of(scenario, ue)])
        return known


def pack_many(indices: npt.NDArray[np.uint16], bits: int) -> list[bytes]:
    """`models.quantiser.pack` of each row of ``[num, dims]``."""
    num, dims = indices.shape
    as_bits = np.unpackbits(indices.astype(">u2").view(np.uint8), axis=1).reshape(num, dims, 16)
    packed = np.packbits(as_bits[:, :, 16 - bits :].reshape(num, dims * bits), axis=1)
    return [row.tobytes() for row in packed]


class KnowingStation(BaseStation):
    """A base station that looks up in a `Bank` what it would compute."""

    bank: Bank

    def size(self, ue: str, seq: int, t_sample_ns: int) -> Payload | None:
        """How large its message about a snapshot is; None for silence."""
        return self._chosen(ue, seq, t_sample_ns, self.bank.embedding(self.bs_id, ue, seq))

    def messages(self, ue: str, size: Payload, times_ns: Sequence[int], processing_ns: int) -> Messages:
        """All its messages of a size.

        Args:
            ue: about whom.
            size: of each message.
            times_ns: when the UE is heard.
            processing_ns: from then to the publication.
        """

        def make(seq: int) -> Frame:
            embedding = self.bank.embedding(self.bs_id, ue, seq)
            t_ns = times_ns[seq]
            return self._framed(ue, seq, t_ns, embedding, t_ns + processing_ns, size)

        return self.bank.messages((self.bs_id, ue, size, processing_ns), make)

    def _embed(
        self, ue: str, seq: int, pilots: npt.NDArray[np.complex64], noise_variance: float
    ) -> Embedding:
        return self.bank.embedding(self.bs_id, ue, seq)

    def _locate(self, ue: str, seq: int, embedding: Embedding) -> Place | None:
        return self.bank.places(self.bs_id, ue, partial(Alone, self.bs_id, self._model))[seq]

    def _pack(self, ue: str, seq: int, embedding: Embedding, payload: Payload, step: float) -> bytes:
        return self.bank.payload(self.bs_id, ue, seq, payload, step)


def knowing_stations(
    scenario: Scenario, model: PositioningModel, bank: Bank, run: str | None = None
) -> dict[str, KnowingStation]:
    """The scenario's base stations, as `sim.world.base_stations`; raises UserError like it.

    Args:
        scenario: names them.
        model: encodes.
        bank: what they hear.
        run: identity of the run in their frames, if it does not matter; None: that of the scenario.
    """
    run = run_id(scenario) if run is None else run
    stations: dict[str, KnowingStation] = {}
    for bs in scenario.bs_ids:
        station = station_of(scenario, bs, model, run, None, KnowingStation)
        station.bank = bank
        stations[bs] = station
    return stations


class SilentChannel:
    """Pilots of the right shape; nobody listens."""

    def __init__(self, num_bs: int, csi_shape: tuple[int, int, int]) -> None:
        self.noise_variance = np.ones(num_bs)
        self._pilots = np.broadcast_to(np.zeros(1, np.complex64), (num_bs, *csi_shape))

    def pilots(self, ue: str, index: int, /) -> npt.NDArray[np.complex64]:
        """Zeros, [num_bs, num_slots, num_ant, num_sc]."""
        return self._pilots


class DirectWire:
    """A wire without sockets: what is sent is there."""

    def to_law(self, frames: Sequence[tuple[str, Parts]]) -> None:
        """Nothing to do."""

    def to_central_unit(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """The same arrivals."""
        return list(arrivals)
