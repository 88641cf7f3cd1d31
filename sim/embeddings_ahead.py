"""What base stations will hear, encoded ahead of time: many snapshots in one go, on other cores if wanted.

What a base station makes of a snapshot depends on nothing that happens in the run. So it need not be computed
when its time comes; only whether it is sent, how long, and what becomes of it is decided then.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from broker.frame import Frame
from nodes import BaseStation, Payload, PositioningModel, SendPolicy, Snapshot
from nodes.encoding import Encoded, encode_array
from nodes.positioning_model import Embedding
from sim.errors import UserError
from sim.foresight import Fate, Foreseen, Foresight, Messages
from sim.interruption import interruption_in_charge
from sim.scenario import Scenario
from sim.world import Channel, run_id, station_of

TOGETHER = 64
"""Snapshots encoded in one go."""
CHUNKS_AHEAD = 3
"""Chunks under way for each process."""
CHUNKS_REMEMBERED = 8
"""Chunks whose foreseen fixes are kept for when they are wanted, a deadline after their snapshots."""
WORTH_A_PROCESS = 4_000
"""Snapshots from which a process is started that encodes: it needs a second or two to start."""

Place = tuple[str, int]
"""UE and number of a snapshot."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Embeddings of some snapshots: ``latent [n, num_bs, dims]`` and ``gain_db [n, num_bs]``.

    ``foreseen`` is what becomes of them if nothing comes in between, where that can be told. From another
    process ``latent`` is empty then: messages are all that is wanted as a rule.
    """

    latent: npt.NDArray[np.float32]
    gain_db: npt.NDArray[np.float64]
    csi_shape: tuple[int, int, int]
    foreseen: Foreseen | None = None


def encode_chunk(
    channel: Channel,
    model: PositioningModel,
    bs_ids: Sequence[str],
    places: Sequence[Place],
    foresight: Foresight | None = None,
    heard: Sequence[bool] = (),
) -> Chunk:
    """Encode snapshots at every BS; numbers are those of encoding one by one.

    Args:
        channel: what the BSs hear.
        model: encodes.
        bs_ids: the BSs.
        places: the snapshots.
        foresight: foresees their fixes.
        heard: from which BSs the central unit will hear.
    """
    pilots = heard_together(channel, places)
    latent = np.empty((len(places), len(bs_ids), model.dims), np.float32)
    gain_db = np.empty((len(places), len(bs_ids)))
    for column, bs in enumerate(bs_ids):
        noise_variance = float(channel.noise_variance[column])
        latent[:, column], gain_db[:, column] = encode_array(model, bs, pilots[column], noise_variance)
    slots, antennas, subcarriers = pilots.shape[2:]
    foreseen = None if foresight is None else foresight.of(latent, gain_db, heard)
    return Chunk(latent, gain_db, (slots, antennas, subcarriers), foreseen)


def heard_together(channel: Channel, places: Sequence[Place]) -> npt.NDArray[np.complex64]:
    """Pilots of snapshots, base station by base station: ``[num_bs, n, num_slots, num_ant, num_sc]``."""
    pilots = np.empty(0, np.complex64)
    for row, (ue, index) in enumerate(places):
        heard = channel.pilots(ue, index)
        if not row:
            pilots = np.empty((len(heard), len(places), *heard.shape[1:]), np.complex64)
        pilots[:, row] = heard
    return pilots


def in_order_of_time(scenario: Scenario) -> list[Place]:
    """All snapshots of a scenario, as a run takes them."""
    times_ns = [scenario.sample_times_ns(ue) for ue in scenario.ue_ids]
    ues = np.repeat(np.arange(len(times_ns)), [len(own) for own in times_ns])
    indices = np.concatenate([np.arange(len(own)) for own in times_ns])
    order = np.argsort(np.concatenate(times_ns), kind="stable")
    names = scenario.ue_ids
    return [
        (names[ue], index) for ue, index in zip(ues[order].tolist(), indices[order].tolist(), strict=True)
    ]


class EmbeddingsAhead:
    """Embeddings of a scenario's snapshots in order of time, as a channel on which nobody has to listen.

    Args:
        scenario: whose snapshots.
        channel: what the BSs hear.
        model: encodes.
        processes: encode in so many processes beside this one, which must be able to make channel and model
            anew from the scenario; 0: in this one.
        foresee: work out the fixes as well, in so far as each BS sends what the scenario says.
    """

    def __init__(
        self,
        scenario: Scenario,
        channel: Channel,
        model: PositioningModel,
        processes: int = 0,
        *,
        foresee: bool = False,
    ) -> None:
        self._bs_ids = scenario.bs_ids
        self._channel, self._model = channel, model
        self._foresight = Foresight(scenario, model) if foresee else None
        self.heard: tuple[bool, ...] = (True,) * len(scenario.bs_ids)
        """From which BSs the central unit is thought to hear next."""
        self._times_ns = {ue: scenario.sample_times_ns(ue) for ue in scenario.ue_ids} if foresee else {}
        self._foreseen: deque[dict[tuple[str, int], Fate]] = deque(maxlen=CHUNKS_REMEMBERED)
        places = in_order_of_time(scenario)
        self._chunks = iter([places[at : at + TOGETHER] for at in range(0, len(places), TOGETHER)])
        self._under_way: deque[tuple[list[Place], Future[Chunk]]] = deque()
        self._row: Mapping[Place, int] = {}
        self._chunk: Chunk | None = None
        self._pool = _pool(scenario, processes, foresee) if processes else None
        self._most_under_way = CHUNKS_AHEAD * processes
        if self._pool is not None:
            self._hand_out()  # they take a second or two to start, which need not be waited for
        self.noise_variance = channel.noise_variance
        """As of the channel."""
        self._silence: npt.NDArray[np.complex64] | None = None

    def pilots(self, ue: str, index: int, /) -> npt.NDArray[np.complex64]:
        """Silence of the right shape: what was heard is encoded already."""
        if self._silence is None:
            self._find((ue, index))
            assert self._chunk is not None
            shape = (len(self._bs_ids), *self._chunk.csi_shape)
            self._silence = np.broadcast_to(np.zeros(1, np.complex64), shape)
        return self._silence

    def embedding(self, column: int, ue: str, index: int) -> Embedding:
        """What a BS, told by its place in the scenario, makes of a snapshot; to be asked in order of time."""
        row = self._find((ue, index))
        assert self._chunk is not None
        if not len(self._chunk.latent):  # nobody foresaw that it would be wanted
            again = encode_chunk(self._channel, self._model, self._bs_ids, list(self._row))
            self._chunk = replace(again, foreseen=self._chunk.foreseen)
        return Encoded(self._chunk.latent[row, column], float(self._chunk.gain_db[row, column]))

    def message(self, column: int, ue: str, index: int) -> tuple[Messages, int] | None:
        """The messages foreseen for a BS, if any, and which of them is that of a snapshot."""
        row = self._find((ue, index))
        assert self._chunk is not None
        return None if self._chunk.foreseen is None else (self._chunk.foreseen.messages[column], row)

    def fused(self, snapshot: Snapshot) -> tuple[npt.NDArray[Any], npt.NDArray[Any], bool] | None:
        """Position, covariance and whether they are finite, if just what arrived was foreseen."""
        for fates in self._foreseen:
            fate = fates.get((snapshot.ue, snapshot.t_sample_ns))
            if fate is not None:
                return fate.of(snapshot)
        return None

    def _find(self, place: Place) -> int:
        while place not in self._row:
            places, self._chunk = self._next_chunk()
            self._row = {place: row for row, place in enumerate(places)}
            if self._chunk.foreseen is not None:
                self._foreseen.append(
                    {
                        (ue, int(self._times_ns[ue][index])): Fate(self._chunk.foreseen, row)
                        for row, (ue, index) in enumerate(places)
                    }
                )
        return self._row[place]

    def chunks(self) -> Iterator[tuple[list[Place], Chunk]]:
        """All snapshots with their embeddings, in order of time; instead of asking for them one by one."""
        while True:
            try:
                following = self._next_chunk()
            except StopIteration:
                return
            yield following

    def _next_chunk(self) -> tuple[list[Place], Chunk]:
        """Raises StopIteration after the last one."""
        if self._pool is None:
            return self._encoded_here()
        try:
            return self._next_of_pool()
        except BrokenProcessPool as error:
            interruption = interruption_in_charge()
            if interruption is not None:
                interruption.look()  # a signal to all processes of the run is no lack of memory
            raise UserError("a process that encodes ahead has died; is memory short?") from error

    def _next_of_pool(self) -> tuple[list[Place], Chunk]:
        self._hand_out()
        if not self._under_way:
            raise StopIteration
        while not self._under_way[0][1].done():
            # Rather than wait, lend a hand.
            try:
                places, chunk = self._encoded_here()
            except StopIteration:
                break
            done: Future[Chunk] = Future()
            done.set_result(chunk)
            self._under_way.append((places, done))
        places, future = self._under_way.popleft()
        return places, future.result()

    def _encoded_here(self) -> tuple[list[Place], Chunk]:
        places = next(self._chunks)
        return places, encode_chunk(
            self._channel, self._model, self._bs_ids, places, self._foresight, self.heard
        )

    def _hand_out(self) -> None:
        """Keep the processes busy."""
        assert self._pool is not None
        while sum(not future.done() for _, future in self._under_way) < self._most_under_way:
            places = next(self._chunks, None)
            if places is None:
                return
            self._under_way.append((places, self._pool.submit(_encode_there, places, self.heard)))

    def close(self) -> None:
        """End the processes; what is under way is given up."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EarlyStation(BaseStation):
    """A base station whose embeddings were made ahead."""

    ahead: EmbeddingsAhead
    column: int
    _usual: tuple[Messages | None, Payload | None, bool] = (None, None, False)
    """The messages looked at last, with the size that was sent then, and whether they are of that size."""

    def _embed(
        self, ue: str, seq: int, pilots: npt.NDArray[np.complex64], noise_variance: float
    ) -> Embedding:
        return self.ahead.embedding(self.column, ue, seq)

    def snapshot(
        self,
        ue: str,
        seq: int | None,
        t_sample_ns: int,
        pilots: npt.NDArray[np.complex64],
        noise_variance: float,
        t_publish_ns: int,
    ) -> Frame | None:
        """As of any station; what was foreseen only needs its times."""
        if self._policy is None and self.up and seq is not None:
            found = self.ahead.message(self.column, ue, seq)
            if found is not None:
                messages, row = found
                if self._is_as_usual(messages):
                    self._next_seq[ue] = seq + 1
                    return Frame(
                        self.run, self.bs_id, ue, seq, t_sample_ns, t_publish_ns,
                        messages.dims, messages.bits, messages.step,
                        messages.gain_db[row], self._model.digest, messages.payload[row],
                    )  # fmt: skip
        return super().snapshot(ue, seq, t_sample_ns, pilots, noise_variance, t_publish_ns)

    def _is_as_usual(self, messages: Messages) -> bool:
        """Whether messages are of the size that is sent."""
        if messages is not self._usual[0] or self._payload is not self._usual[1]:
            payload = self._payload
            same = (messages.dims, messages.bits, messages.step) == (
                payload.dims, payload.bits, self.step(payload.bits),
            )  # fmt: skip
            self._usual = messages, payload, same
        return self._usual[2]

    def _pack(self, ue: str, seq: int, embedding: Embedding, payload: Payload, step: float) -> bytes:
        found = self.ahead.message(self.column, ue, seq)
        if found is not None:
            messages, row = found
            if (messages.dims, messages.bits, messages.step) == (payload.dims, payload.bits, step):
                return messages.payload[row]
        return super()._pack(ue, seq, embedding, payload, step)


def early_stations(
    scenario: Scenario, model: PositioningModel, ahead: EmbeddingsAhead, policy: SendPolicy | None = None
) -> dict[str, BaseStation]:
    """The scenario's base stations, as `sim.world.base_stations`; raises UserError like it."""
    run = run_id(scenario)
    stations: dict[str, BaseStation] = {}
    for column, bs in enumerate(scenario.bs_ids):
        station = station_of(scenario, bs, model, run, policy, EarlyStation)
        station.ahead, station.column = ahead, column
        stations[bs] = station
    return stations


def processes_worth_it(scenario: Scenario) -> int:
    """How many processes to encode in: all cores but the run's own if there is much to encode, else none."""
    snapshots = sum(len(scenario.sample_times_ns(ue)) for ue in scenario.ue_ids)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, snapshots // WORTH_A_PROCESS)


def _pool(scenario: Scenario, processes: int, foresee: bool) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_get_ready, initargs=(scenario, foresee)
    )


_here: tuple[Channel, PositioningModel, tuple[str, ...], Foresight | None]
"""In a process that encodes: what with."""


def _get_ready(scenario: Scenario, foresee: bool) -> None:
    from sim.api import channel_of, model_of

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends this process
    global _here
    model = model_of(scenario)
    foresight = Foresight(scenario, model) if foresee else None
    _here = channel_of(scenario), model, scenario.bs_ids, foresight


def _encode_there(places: list[Place], heard: tuple[bool, ...]) -> Chunk:
    channel, model, bs_ids, foresight = _here
    chunk = encode_chunk(channel, model, bs_ids, places, foresight, heard)
    return chunk if chunk.foreseen is None else replace(chunk, latent=chunk.latent[:0])
