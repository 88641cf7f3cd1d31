"""Every frame a BS owes the CU, from snapshot to fate: one row each, written as soon as it is known."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from broker.frame import Frame
from sim.metrics import FrameCounts

BS_DOWN = "bs_down"
SILENT = "silent"
LATE = "late"

FrameKey = tuple[str, str, int]
"""BS, UE and sequence number."""


@dataclass(slots=True)
class FrameRow:
    """One row of `frames.parquet`, its fields in the order of the columns."""

    bs: str
    ue: str
    seq: int
    t_sample_ns: int
    t_publish_ns: int | None = None
    t_arrival_ns: int | None = None
    fate: str = "in_flight"
    cause: str | None = None
    payload_bits: int = 0
    wire_bits: int = 0
    gain_db: float | None = None
    used: bool = False

    @property
    def values(self) -> tuple[Any, ...]:
        """The row of the table."""
        return (
            self.bs,
            self.ue,
            self.seq,
            self.t_sample_ns,
            self.t_publish_ns,
            self.t_arrival_ns,
            self.fate,
            self.cause,
            self.payload_bits,
            self.wire_bits,
            self.gain_db,
            self.used,
        )


class FrameLedger:
    """Knows where each frame is that has no final fate yet; memory is bounded by what is on the way.

    Each snapshot makes each BS owe one frame: that is a frame sent. It is dropped at once if the BS is down
    or its policy keeps silent; it is in flight until the law has carried or dropped it; it is delivered when
    it arrives in time to be used, and dropped as `late` otherwise.

    Args:
        write: takes a finished row.
    """

    def __init__(self, write: Callable[[tuple[Any, ...]], None]) -> None:
        self._write = write
        self._on_the_way: dict[FrameKey, FrameRow] = {}
        self._at_cu: defaultdict[tuple[str, int], list[FrameRow]] = defaultdict(list)
        self._owed = 0
        self._finished = FrameCounts()

    def owe(self, bs: str, ue: str, seq: int, t_sample_ns: int) -> None:
        """A BS has heard a snapshot, or would have if it were up."""
        self._owed += 1
        self._on_the_way[bs, ue, seq] = FrameRow(bs, ue, seq, t_sample_ns)

    def publish(self, frame: Frame, wire_bits: int) -> None:
        """A frame leaves its BS."""
        row = self._on_the_way[frame.bs, frame.ue, frame.seq]
        row.t_publish_ns = frame.t_publish_ns
        row.payload_bits = frame.payload_bits
        row.wire_bits = wire_bits
        row.gain_db = frame.gain_db

    def recall(self, recorded: FrameRow) -> None:
        """A frame on its way left its BS as a recording says; of others nothing is taken over."""
        row = self._on_the_way.get((recorded.bs, recorded.ue, recorded.seq))
        if row is not None:
            row.t_publish_ns = recorded.t_publish_ns
            row.payload_bits = recorded.payload_bits
            row.wire_bits = recorded.wire_bits
            row.gain_db = recorded.gain_db

    def drop(self, key: FrameKey, cause: str) -> None:
        """A frame is dropped before it arrives."""
        row = self._on_the_way.pop(key)
        row.fate, row.cause = "dropped", cause
        self._finish(row)

    def arrive(self, key: FrameKey, t_arrival_ns: int) -> None:
        """A frame arrives and the CU keeps it."""
        row = self._on_the_way.pop(key)
        row.fate, row.t_arrival_ns = "delivered", t_arrival_ns
        self._at_cu[row.ue, row.t_sample_ns].append(row)

    def refuse(self, key: FrameKey, t_arrival_ns: int, cause: str) -> None:
        """A frame arrives and the CU drops it, mostly as `late`."""
        row = self._on_the_way.pop(key)
        row.t_arrival_ns = t_arrival_ns
        row.fate, row.cause = "dropped", cause
        self._finish(row)

    def close(self, ue: str, t_sample_ns: int, bs_used: Iterable[str] = ()) -> None:
        """The CU has fused what it has of a snapshot, or given it up."""
        used = set(bs_used)
        for row in self._at_cu.pop((ue, t_sample_ns), ()):
            row.used = row.bs in used
            self._finish(row)

    def finish(self) -> None:
        """The run is over: what is on its way stays in flight, what is at the CU is delivered."""
        for ue, t_sample_ns in list(self._at_cu):
            self.close(ue, t_sample_ns)
        for row in self._on_the_way.values():
            self._finish(row)
        self._on_the_way.clear()

    @property
    def counts(self) -> FrameCounts:
        """All frames by fate; `sent` is counted when they are owed, the others one by one."""
        waiting = sum(map(len, self._at_cu.values()))
        return FrameCounts(
            sent=self._owed,
            delivered=self._finished.delivered + waiting,
            in_flight=self._finished.in_flight + len(self._on_the_way),
            dropped=dict(self._finished.dropped),
        )

    def _finish(self, row: FrameRow) -> None:
        self._finished.add(row.fate, row.cause)
        self._write(row.values)
