"""What became of frames: by fronthaul, central unit and base stations, as the ledger has it."""

from collections.abc import Iterator
from typing import Any, Protocol

from sim.clock import NANOSECONDS_PER_SECOND
from sim.live.feed import LINK_EVERY_NS, Sink
from sim.metrics import FrameCounts
from sim.run_folder import RunFolder

KEY = "frames"


class Ledger(Protocol):
    """The books about all frames of a run."""

    @property
    def counts(self) -> FrameCounts:
        """All frames so far, by fate."""
        ...


class FateFeed:
    """Tells now and then what became of frames so far.

    Args:
        ledger: of the run.
        sink: takes `frames`.
        every_ns: how often to look.
    """

    def __init__(self, ledger: Ledger, sink: Sink, every_ns: int = LINK_EVERY_NS) -> None:
        self._ledger = ledger
        self._sink = sink
        self._every_ns = every_ns
        self._next_ns = every_ns

    def look(self, t_ns: int) -> None:
        """Publish the counts if it is time to."""
        if t_ns < self._next_ns:
            return
        self._next_ns = (t_ns // self._every_ns + 1) * self._every_ns
        self.tell(t_ns)

    def tell(self, t_ns: int) -> None:
        """Publish the counts."""
        self._sink(KEY, _value(t_ns, self._ledger.counts))


def tell_recorded(folder: RunFolder, sink: Sink, end_ns: int) -> None:
    """The same of a finished run, all at once.

    Args:
        folder: the run.
        sink: takes `frames`.
        end_ns: where the run ended.
    """
    counts = FrameCounts()
    next_ns = LINK_EVERY_NS
    for t_ns, cause in sorted(_happened(folder)):
        while next_ns < min(t_ns, end_ns):
            sink(KEY, _value(next_ns, counts))
            next_ns += LINK_EVERY_NS
        if cause:
            counts.dropped[cause] = counts.dropped.get(cause, 0) + 1
        else:
            counts.sent += 1
    sink(KEY, _value(end_ns, counts))


def _happened(folder: RunFolder) -> Iterator[tuple[int, str]]:
    """When each frame was owed, with no cause, and when it was lost: as late as anything is known of it."""
    times = ["t_sample_ns", "t_publish_ns", "t_arrival_ns"]
    for batch in folder.batches("frames", [*times, "cause"]):
        for row in batch.to_pylist():
            yield row["t_sample_ns"], ""
            if row["cause"] is not None:
                yield max(row[name] or 0 for name in times), row["cause"]


def _value(t_ns: int, counts: FrameCounts) -> dict[str, Any]:
    return {
        "t": t_ns / NANOSECONDS_PER_SECOND,
        "sent": counts.sent,
        "dropped": sum(counts.dropped.values()),
        "causes": dict(counts.dropped),
    }
