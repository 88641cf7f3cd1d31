"""What base stations will hear, encoded ahead of time: many snapshots in one go, on other cores if wanted.

What a base station makes of a snapshot depends on nothing that happens in the run. So it need not be computed
when its time comes; only whether it is sent, how long, and what becomes of it is decided then. It need not be
computed again either, if a file has it from an earlier run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from broker.frame import Frame
from nodes import BaseStation, Payload, PositioningModel, SendPolicy, Snapshot
from nodes.encoding import Encoded, encode_array
from nodes.positioning_model import Embedding
from sim.embeddings_cache import discard, not_cached, unusable
from sim.embeddings_file import EmbeddingsFile, EmbeddingsWriter
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
    process ``latent`` is empty then: messages are all that is wanted as a rule. ``trouble`` is what was wrong
    with a file that had them.
    """

    latent: npt.NDArray[np.float32]
    gain_db: npt.NDArray[np.float64]
    csi_shape: tuple[int, int, int]
    foreseen: Foreseen | None = None
    trouble: str = ""


def encode_chunk(
    channel: Channel,
    model: PositioningModel,
    bs_ids: Sequence[str],
    places: Sequence[Place],
) -> Chunk:
    """Encode snapshots at every BS; numbers are those of encoding one by one.

    Args:
        channel: what the BSs hear.
        model: encodes.
        bs_ids: the BSs.
        places: the snapshots.
    """
    pilots = heard_together(channel, places)
    latent = np.empty((len(places), len(bs_ids), model.dims), np.float32)
    gain_db = np.empty((len(places), len(bs_ids)))
    for column, bs in enumerate(bs_ids):
        noise_variance = float(channel.noise_variance[column])
        latent[:, column], gain_db[:, column] = encode_array(model, bs, pilots[column], noise_variance)
    slots, antennas, subcarriers = pilots.shape[2:]
    return Chunk(latent, gain_db, (slots, antennas, subcarriers))


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


def in_blocks(scenario: Scenario) -> list[list[Place]]:
    """All snapshots of a scenario in order of time, those together that are encoded in one go."""
    places = in_order_of_time(scenario)
    return [places[at : at + TOGETHER] for at in range(0, len(places), TOGETHER)]


class Source:
    """Makes chunks: out of a file that has them, or else by encoding.

    Args:
        channel: what the BSs hear.
        model: encodes.
        bs_ids: the BSs.
        foresight: foresees fixes.
        kept: the file, which need not be there.
    """

    def __init__(
        self,
        channel: Channel,
        model: PositioningModel,
        bs_ids: Sequence[str],
        foresight: Foresight | None,
        kept: Path | None,
    ) -> None:
        self._channel, self._model, self._bs_ids = channel, model, bs_ids
        self._foresight = foresight
        self._file: EmbeddingsFile | None = None
        self._trouble = ""
        if kept is not None and kept.exists():
            try:
                self._file = EmbeddingsFile(kept)
            except (OSError, ValueError) as error:
                self._trouble = unusable(kept, error)

    @property
    def has_file(self) -> bool:
        """Whether there is a file, which was good so far."""
        return self._file is not None

    def chunk(self, number: int, places: Sequence[Place], heard: Sequence[bool]) -> Chunk:
        """A block of snapshots, and what becomes of them if the central unit hears from these BSs."""
        chunk = self.embedded(number, places)
        if self._foresight is None:
            return chunk
        return replace(chunk, foreseen=self._foresight.of(chunk.latent, chunk.gain_db, heard))

    def embedded(self, number: int, places: Sequence[Place]) -> Chunk:
        """A block of snapshots alone."""
        chunk = self._read(number, places)
        if chunk is None:
            chunk = encode_chunk(self._channel, self._model, self._bs_ids, places)
        if self._trouble:
            chunk, self._trouble = replace(chunk, trouble=self._trouble), ""
        return chunk

    def _read(self, number: int, places: Sequence[Place]) -> Chunk | None:
        if self._file is None:
            return None
        try:
            latent, gain_db = self._file.block(number, len(places))
            if latent.shape[1:] != (len(self._bs_ids), self._model.dims):
                raise ValueError("embeddings of another size")
        except (OSError, ValueError) as error:
            self._trouble = unusable(self._file.path, error)
            self.close()
            return None
        return Chunk(latent, gain_db, self._file.csi_shape)

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None


class EmbeddingsAhead:
    """Embeddings of a scenario's snapshots in order of time, as a channel on which nobody has to listen.

    Args:
        scenario: whose snapshots.
        channel: what the BSs hear.
        model: encodes.
        processes: encode in so many processes beside this one, which must be able to make channel and model
            anew from the scenario; 0: in this one.
        foresee: work out the fixes as well, in so far as each BS sends what the scenario says.
        kept: file of embeddings; read where it is there, and else there once the last of them was asked for.
            What goes wrong with it is told in a `CacheWarning`, and costs time only.
    """

    def __init__(
        self,
        scenario: Scenario,
        channel: Channel,
        model: PositioningModel,
        processes: int = 0,
        *,
        foresee: bool = False,
        kept: Path | None = None,
    ) -> None:
        self._bs_ids = scenario.bs_ids
        foresight = Foresight(scenario, model) if foresee else None
        self._source = Source(channel, model, self._bs_ids, foresight, kept)
        self._kept = kept
        self._writer = None if kept is None or self._source.has_file else self._begin_writing(kept)
        self.heard: tuple[bool, ...] = (True,) * len(scenario.bs_ids)
        """From which BSs the central unit is thought to hear next."""
        self._times_ns = {ue: scenario.sample_times_ns(ue) for ue in scenario.ue_ids}
        self._foreseen: deque[dict[tuple[str, int], Fate]] = deque(maxlen=CHUNKS_REMEMBERED)
        blocks = in_blocks(scenario)
        self._blocks = len(blocks)
        self._chunks = iter(enumerate(blocks))
        self._under_way: deque[tuple[int, list[Place], Future[Chunk]]] = deque()
        self._number = -1
        self._row: dict[Place, int] = {}
        self._chunk: Chunk | None = None
        self._held: list[tuple[int, dict[Place, int], Chunk]] = []
        """Chunks beside the one looked at, of whose last instant the run may not have asked for all."""
        whole = self._writer is not None or not foresee
        self._pool = _pool(scenario, processes, foresee, kept, whole) if processes else None
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
            again = self._source.embedded(self._number, list(self._row))
            self._tell(again)
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
        if place not in self._row:
            self._turn_to(place)
        return self._row[place]

    def _turn_to(self, place: Place) -> None:
        """Look at the chunk of a snapshot; snapshots of one instant may be asked for in any order."""
        t_ns = self._t_ns(place)
        if self._chunk is not None:
            self._held.append((self._number, self._row, self._chunk))
        self._held = [held for held in self._held if self._t_ns(next(reversed(held[1]))) >= t_ns]
        for at, (_, row, _) in enumerate(self._held):
            if place in row:
                self._number, self._row, self._chunk = self._held.pop(at)
                return
        while place not in (read := self._read())[1]:
            if self._t_ns(next(reversed(read[1]))) >= t_ns:
                self._held.append(read)
        self._number, self._row, self._chunk = read

    def _t_ns(self, place: Place) -> int:
        ue, index = place
        return int(self._times_ns[ue][index])

    def _read(self) -> tuple[int, dict[Place, int], Chunk]:
        """The next chunk, and where in it each snapshot is."""
        number, places, chunk = self._next_chunk()
        if chunk.foreseen is not None:
            foreseen = chunk.foreseen
            self._foreseen.append(
                {(place[0], self._t_ns(place)): Fate(foreseen, row) for row, place in enumerate(places)}
            )
        return number, {place: row for row, place in enumerate(places)}, chunk

    def chunks(self) -> Iterator[tuple[list[Place], Chunk]]:
        """All snapshots with their embeddings, in order of time; instead of asking for them one by one."""
        while True:
            try:
                _, places, chunk = self._next_chunk()
            except StopIteration:
                return
            yield places, chunk

    def _next_chunk(self) -> tuple[int, list[Place], Chunk]:
        """Raises StopIteration after the last one."""
        number, places, chunk = self._made()
        self._tell(chunk)
        if self._writer is not None:
            self._write(self._writer, chunk, is_last=number == self._blocks - 1)
        return number, places, chunk

    def _tell(self, chunk: Chunk) -> None:
        """Tell what was wrong with the file when a chunk was made."""
        if chunk.trouble and self._kept is not None:
            discard(self._kept, chunk.trouble)

    def _begin_writing(self, path: Path) -> EmbeddingsWriter | None:
        try:
            return EmbeddingsWriter(path)
        except OSError as error:
            not_cached(path, error)
            return None

    def _write(self, writer: EmbeddingsWriter, chunk: Chunk, *, is_last: bool) -> None:
        try:
            writer.add(chunk.latent, chunk.gain_db)
            if is_last:
                writer.finish(chunk.csi_shape)
                self._writer = None
        except OSError as error:
            not_cached(writer.path, error)
            writer.abandon()
            self._writer = None

    def _made(self) -> tuple[int, list[Place], Chunk]:
        if self._pool is None:
            return self._made_here()
        try:
            return self._next_of_pool()
        except BrokenProcessPool as error:
            interruption = interruption_in_charge()
            if interruption is not None:
                interruption.look()  # a signal to all processes of the run is no lack of memory
            raise UserError("a process that encodes ahead has died; is memory short?") from error

    def _next_of_pool(self) -> tuple[int, list[Place], Chunk]:
        self._hand_out()
        if not self._under_way:
            raise StopIteration
        while not self._under_way[0][2].done():
            # Rather than wait, lend a hand.
            try:
                number, places, chunk = self._made_here()
            except StopIteration:
                break
            done: Future[Chunk] = Future()
            done.set_result(chunk)
            self._under_way.append((number, places, done))
        number, places, future = self._under_way.popleft()
        return number, places, future.result()

    def _made_here(self) -> tuple[int, list[Place], Chunk]:
        number, places = next(self._chunks)
        return number, places, self._source.chunk(number, places, self.heard)

    def _hand_out(self) -> None:
        """Keep the processes busy."""
        assert self._pool is not None
        while sum(not future.done() for _, _, future in self._under_way) < self._most_under_way:
            following = next(self._chunks, None)
            if following is None:
                return
            future = self._pool.submit(_make_there, *following, self.heard)
            self._under_way.append((*following, future))

    def close(self) -> None:
        """End the processes; what is under way is given up, and a file that is not complete."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        self._source.close()

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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, scenario.num_snapshots // WORTH_A_PROCESS)


def _pool(
    scenario: Scenario, processes: int, foresee: bool, kept: Path | None, whole: bool
) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        initializer=_get_ready,
        initargs=(scenario, foresee, kept, whole),
    )


_here: tuple[Source, bool]
"""In a process that encodes: what with, and whether latents are wanted beside messages."""


def _get_ready(scenario: Scenario, foresee: bool, kept: Path | None, whole: bool) -> None:
    from sim.api import channel_behind, model_of

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends this process
    global _here
    model = model_of(scenario)
    foresight = Foresight(scenario, model) if foresee else None
    _here = Source(channel_behind(scenario, kept), model, scenario.bs_ids, foresight, kept), whole


def _make_there(number: int, places: list[Place], heard: tuple[bool, ...]) -> Chunk:
    source, whole = _here
    chunk = source.chunk(number, places, heard)
    return chunk if whole else replace(chunk, latent=chunk.latent[:0])
