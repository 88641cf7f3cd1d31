"""Fast over processes: the world in lock-step with a broker, base stations and a central unit of their own.

The world goes from one event to the next as it does in one process. Where it would ask a law, it grants the
part that runs the law a time, with the numbers of the frames that this time brings; the part waits for all
of them, processes them in their order, and acknowledges with a hash. A frame that does not come is a
transport loss and ends the run.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from broker.bus import Arrival
from broker.counts import Counts
from broker.frame import Frame, decode_frame
from broker.fronthaul import Fronthaul
from broker.packet import Fate, Packet
from broker.plain import counts_from_plain, plain_from_law
from broker.sequence import TransportLoss
from nodes import CentralUnit, CuCounts, Fix, Miss, Track, Verdict
from nodes.air import Air
from nodes.plain import result_from_plain, track_from_plain, verdict_from_plain
from nodes.service_cu import arrivals_digest
from sim.agenda import Moment
from sim.fix_book import Snapshot
from sim.frame_ledger import BS_DOWN, SILENT
from sim.parts import Parts
from sim.reports import BROKER, CU
from sim.wire import Parts as FrameParts
from sim.world import CSI_BITS_PER_ELEMENT, World

Key = tuple[str, str, int]
"""BS, UE and sequence number."""


class RemoteFronthaul:
    """The fronthaul law in the broker's process, as the world uses it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next_ns: int | None = None
        self._on_the_way: dict[Key, Packet] = {}
        self._dropped: deque[list[Fate]] = deque()
        self._waiting: list[Any] = []
        self._counts: dict[str, Any] = {"all": [0, 0, 0, {}, 0, 0], "links": {}, "utilisation": {}}

    def publish(
        self, t_ns: int, publish: Sequence[Key], discard: Sequence[Key]
    ) -> list[tuple[Frame, FrameParts]]:
        """Let base stations publish frames and the broker offer them, in the order given."""
        per_bs: defaultdict[str, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
        for index, keys in enumerate((publish, discard)):
            for bs, ue, seq in keys:
                per_bs[bs][index].append((ue, seq))
        requests: dict[str, tuple[str, Any]] = {bs: ("publish", lists) for bs, lists in per_bs.items()}
        if publish:
            requests[BROKER] = ("offer", (t_ns, publish))
        found = self._parts.ask(requests)
        if not publish:
            return []
        offered, self._next_ns = found[BROKER]
        published = []
        for (topic, header, payload), drops in offered:
            parts = (topic, header, payload)
            published.append((decode_frame(parts), parts))
            self._waiting.append(drops)
        return published

    def offer(self, packet: Packet, t_ns: int) -> list[Fate]:
        """What the broker's law said at once when it was offered the packet, in the order of `publish`."""
        self._on_the_way[packet.bs, packet.ue, packet.seq] = packet
        return self._fates(self._waiting.pop(0))

    def advance(self, t_ns: int) -> list[Fate]:
        """Let the law move to a time and forward what arrives."""
        fates, self._next_ns = self._parts.ask({BROKER: ("advance", t_ns)})[BROKER]
        return self._fates(fates)

    def next_event_ns(self) -> int | None:
        """As the broker last said."""
        return self._next_ns

    def change(self, segment: str, t_ns: int, **settings: Any) -> None:
        """Change a segment."""
        plain = {name: plain_from_law(value) for name, value in settings.items()}
        self._next_ns = self._parts.ask({BROKER: ("change", (segment, t_ns, plain))})[BROKER]

    def counts(self) -> Counts:
        """Of the whole fronthaul."""
        return counts_from_plain(self._look()["all"])

    def link_counts(self) -> dict[str, Counts]:
        """Of each segment."""
        return {name: counts_from_plain(counts) for name, counts in self._look()["links"].items()}

    def utilisation(self) -> dict[str, float]:
        """Of each segment."""
        return dict(self._look()["utilisation"])

    def _look(self) -> dict[str, Any]:
        """The counts; of a broker that is no more, those last seen."""
        with suppress(TransportLoss):
            self._counts = self._parts.ask({BROKER: ("counts", None)})[BROKER]
        return self._counts

    def _fates(self, plain: Sequence[Any]) -> list[Fate]:
        return [
            Fate(kind, self._on_the_way.pop((bs, ue, seq)), t_ns, cause, segment, queued_ns)
            for kind, bs, ue, seq, t_ns, cause, segment, queued_ns in plain
        ]


class RemoteUnit:
    """The central unit in its own process, as the world uses it; also the last stretch of the wire."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next_ns: int | None = None
        self._verdicts: deque[Verdict] = deque()
        self._results: list[Fix | Miss] = []
        self._granted_ns = -1
        self._counts: dict[str, Any] | None = None

    def to_law(self, frames: Sequence[tuple[str, FrameParts]]) -> None:
        """Base stations publish themselves; nothing of the world's own goes this way."""
        assert not frames

    def to_central_unit(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Grant the central unit the time of these arrivals and check what it acknowledges.

        Raises:
            TransportLoss: it received other frames than the broker forwarded.
        """
        self._grant(max(arrival.t_arrival_ns for arrival in arrivals), arrivals)
        return list(arrivals)

    def receive(self, frame: Frame, t_arrival_ns: int) -> Verdict:
        """The verdict on the next frame of the last grant."""
        return self._verdicts.popleft()

    def advance(self, t_ns: int) -> list[Fix | Miss]:
        """What has closed up to a time."""
        if t_ns > self._granted_ns:
            self._grant(t_ns, ())
        results, self._results = self._results, []
        return results

    def next_deadline_ns(self) -> int | None:
        """As the central unit last said."""
        return self._next_ns

    def track(self, ue: str, t_ns: int | None = None) -> Track | None:
        """What the central unit knows of a UE."""
        return track_from_plain(self._parts.ask({CU: ("track", (ue, t_ns))})[CU])

    @property
    def counts(self) -> CuCounts:
        """What it received and made; of one that is no more, nothing."""
        counts = self._parts.ask({CU: ("counts", None)})[CU]
        return CuCounts(**counts)

    def _grant(self, t_ns: int, arrivals: Sequence[Arrival]) -> None:
        frames = [(arrival.t_arrival_ns, decode_frame(arrival.parts)) for arrival in arrivals]
        expected = [(t_arrival_ns, frame.bs, frame.ue, frame.seq) for t_arrival_ns, frame in frames]
        answer = self._parts.ask({CU: ("grant", (t_ns, expected))})[CU]
        digest, verdicts, results, self._next_ns = answer
        if digest != arrivals_digest(arrivals):
            raise TransportLoss("the central unit received other frames than were forwarded")
        self._granted_ns = t_ns
        self._verdicts.extend(verdict_from_plain(plain) for plain in verdicts)
        self._results += [result_from_plain(plain) for plain in results]


class ProcessWorld(World):
    """A world whose base stations, fronthaul and central unit are processes.

    Args:
        parts: of the run, started.
        scenario: and all others: as for `World`; the stations tell only which are up.
    """

    def __init__(self, parts: Parts, *arguments: Any, **named: Any) -> None:
        unit = RemoteUnit(parts)
        super().__init__(*arguments, wire=unit, **named)
        self._parts = parts
        self._remote = RemoteFronthaul(parts)
        self.fronthaul = cast(Fronthaul, self._remote)
        self.centre.unit = cast(CentralUnit, unit)
        self._may_be_silent = self.scenario.bs.policy.kind != "fixed"
        self._due: defaultdict[int, list[tuple[Key, int]]] = defaultdict(list)

    def _embed(self, snapshot: Snapshot, pilots: npt.NDArray[np.complex64]) -> None:
        """Each BS that is up hears the snapshot; all embed it at the same time."""
        self.csi_bits = pilots[0].size * CSI_BITS_PER_ELEMENT
        t_sample_ns = snapshot.t_sample_ns
        t_publish_ns = t_sample_ns + self._processing_ns
        if t_publish_ns not in self._due:
            self._agenda.call(t_publish_ns, Moment.PUBLISH, self._publish)
        due = self._due[t_publish_ns]
        heard: list[str] = []
        for index, (bs, station) in enumerate(self._stations.items()):
            self.ledger.owe(bs, snapshot.ue, snapshot.seq, t_sample_ns)
            if not station.up:
                self._withhold(bs, snapshot.ue, snapshot.seq, t_sample_ns, BS_DOWN)
                continue
            noise_variance = float(self._channel.noise_variance[index])
            self._parts.air.publish(
                Air(
                    station.run,
                    bs,
                    snapshot.ue,
                    snapshot.seq,
                    t_sample_ns,
                    t_publish_ns,
                    noise_variance,
                    pilots[index],
                )
            )
            heard.append(bs)
        silent = self._silent(heard, snapshot) if self._may_be_silent else set()
        for bs in heard:
            if bs in silent:
                self._withhold(bs, snapshot.ue, snapshot.seq, t_sample_ns, SILENT)
            else:
                due.append(((bs, snapshot.ue, snapshot.seq), t_sample_ns))

    def _silent(self, heard: Sequence[str], snapshot: Snapshot) -> set[str]:
        """Base stations whose policy sends nothing of a snapshot; waits until all have looked at it."""
        asked: dict[str, tuple[str, Any]] = {bs: ("silent", [(snapshot.ue, snapshot.seq)]) for bs in heard}
        return {bs for bs, silent in self._parts.ask(asked).items() if silent}

    def _publish(self) -> None:
        """Base stations that are still up publish what they have processed."""
        now_ns = self._agenda.now_ns
        publish, discard = [], []
        for key, t_sample_ns in self._due.pop(now_ns):
            if self._stations[key[0]].up:
                publish.append(key)
            else:
                discard.append(key)
                self._withhold(*key, t_sample_ns, BS_DOWN)
        for frame, parts in self._remote.publish(now_ns, publish, discard):
            self._offer(frame, parts, now_ns)
        self._look_ahead()

    def _audit(self) -> list[str]:
        """Compare the books, unless the parts that keep them are no more."""
        return [] if self.errors else super()._audit()
