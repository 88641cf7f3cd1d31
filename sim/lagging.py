"""A world whose central unit lags behind: what arrives within some milliseconds is handed over together.

Nothing that the central unit concludes changes what is sent. So frames that the fronthaul law has delivered
may wait, with their times, until there are many: they cross the bus in one go, their fixes are fused and
tracked together. What happens is the same, and it is written down in the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from heapq import heapify, heappop, heapreplace
from itertools import count
from typing import Any

import simpy

from broker.bus import Arrival
from broker.frame import Frame
from sim.agenda import Moment
from sim.centre import Centre
from sim.faults import FaultEvent
from sim.fingerprint import Event
from sim.fix_book import Snapshot
from sim.scenario import Scenario
from sim.world import CSI_BITS_PER_ELEMENT, MOST_AT_ONCE, Sent, World, sent_in

LAG_NS = 128_000_000

AT_ONCE, ARRIVED, CLOSED, GIVEN_UP = range(4)
"""The order of what is written down of one nanosecond."""


def may_lag(scenario: Scenario) -> bool:
    """Whether what the central unit makes of a snapshot can wait: late frames do not change it any more."""
    return scenario.cu.late == "drop"


class Backlog:
    """What has happened and is to be written down, in the order in which it happened."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, int, Callable[..., None], tuple[Any, ...]]] = []

    def note(self, t_ns: int, moment: int, action: Callable[..., None], *arguments: Any) -> None:
        """Have something done when all before it has been."""
        self._entries.append((t_ns, moment, len(self._entries), action, arguments))

    def clear(self) -> None:
        """Do what was noted, by time, moment and the order of the notes."""
        entries, self._entries = self._entries, []
        entries.sort()  # the number tells any two apart
        for _, _, _, action, arguments in entries:
            action(*arguments)


class LaggingCentre(Centre):
    """A central unit that is told of many arrivals at a time, with its books."""

    def begin(self, backlog: Backlog) -> None:
        """Take the list of what is to be written down."""
        self._backlog = backlog
        self._closing: deque[Snapshot] = deque()

    def expect(self, snapshot: Snapshot) -> None:
        """A UE has been sampled: there should be a fix by the deadline."""
        self._backlog.note(snapshot.t_sample_ns, AT_ONCE, self._open, snapshot)
        self._closing.append(snapshot)

    def catch_up(self, arrivals: Sequence[Arrival], sent: Sequence[Sent], t_ns: int) -> None:
        """Take in all that arrived before a time, and close what closed.

        Args:
            arrivals: in order of time.
            sent: what was sent.
            t_ns: up to but not including it.
        """
        note = self._backlog.note
        sent_as = {one.parts[1]: one for one in sent}
        for arrival in arrivals:
            frame = self._read(arrival, sent_as.get(arrival.parts[1]))
            verdict = self.unit.receive(frame, arrival.t_arrival_ns)
            note(arrival.t_arrival_ns, ARRIVED, self._book_arrival, frame, arrival, verdict)
        for result in self.unit.advance(t_ns - 1):
            note(result.t_fix_ns - self.policy.processing_ns, CLOSED, self._book, result)
        deadline_ns = self.policy.deadline_ns
        while self._closing and self._closing[0].t_sample_ns + deadline_ns < t_ns:
            snapshot = self._closing.popleft()
            note(snapshot.t_sample_ns + deadline_ns, GIVEN_UP, self._give_up, snapshot)

    def _read(self, arrival: Arrival, sent: Sent | None) -> Frame:
        """The frame in what arrived; where the very bytes have come that were made of it here, that one."""
        if sent is not None and arrival.parts == sent.parts and sent.frame.model in self._known_models:
            return sent.frame
        return self._decoded(arrival)


class LaggingWorld(World):
    """A world that hands over what has arrived, and writes down what has happened, every few milliseconds.

    Args:
        scenario: and all others: as for `World`; `may_lag` holds.
        unbroken: nothing should interrupt what is done in this context.
    """

    centre: LaggingCentre

    def __init__(
        self,
        scenario: Scenario,
        *,
        unbroken: Callable[[], AbstractContextManager[None]] = nullcontext,
        **named: Any,
    ) -> None:
        assert may_lag(scenario)
        super().__init__(scenario, centre=LaggingCentre, **named)
        self._backlog = Backlog()
        self.centre.begin(self._backlog)
        self._unbroken = unbroken
        self._rush_ns = self._settled_ns = 0
        """How far everything is being brought, and how far it has been."""
        self._coming: list[tuple[int, int, Snapshot, Iterator[Snapshot]]] = []
        self._turns = count(len(scenario.ue_ids))
        self._processed: deque[Frame] = deque()

    def run(self, progress: Callable[[int], None] | None = None) -> None:
        """As for any world; of a run that is interrupted, too, all that has happened is written down."""
        try:
            super().run(progress)
        except KeyboardInterrupt:
            self._break_off()
            raise

    @property
    def now_ns(self) -> int:
        """How far the run has come."""
        return max(super().now_ns, self._settled_ns)

    def _break_off(self) -> None:
        """Bring everything to where nobody has been heard yet: no farther, and not less far."""
        t_ns = min(self._rush_ns, self._coming[0][0]) if self._coming else self._rush_ns
        if t_ns > self._settled_ns:
            self._conclude(t_ns)
        self._backlog.clear()

    def _begin(self) -> None:
        """Wake up every few milliseconds, and take the snapshots of all UEs in order of time."""
        for number, ue in enumerate(self.scenario.ue_ids):
            snapshots = self._snapshots(ue)
            first = next(snapshots, None)
            if first is not None:
                self._coming.append((first.t_sample_ns, number, first, snapshots))
        heapify(self._coming)
        self._agenda.process(self._wake())

    def _wake(self) -> Generator[simpy.Event, Any, None]:
        for t_ns in count(LAG_NS, LAG_NS):
            yield self._agenda.at(t_ns, Moment.FAULT)

    def _look_ahead(self) -> None:
        """Nobody needs to be woken: fates are asked for when it is time to settle."""

    def _pass(self, t_ns: int) -> None:
        self._settle(t_ns)

    def _reach(self, end_ns: int) -> None:
        self._settle(end_ns)

    def _settle(self, t_ns: int) -> None:
        """Bring everything to a time, itself not included."""
        if t_ns <= self._settled_ns:
            return
        self._rush_ns = t_ns
        self._sample(t_ns)
        with self._unbroken():
            self._conclude(t_ns)

    def _conclude(self, t_ns: int) -> None:
        """What follows of all that was heard before a time."""
        self._settled_ns = t_ns  # should it break off nevertheless, nothing is of later than is said
        processed = self._processed
        due = []
        while processed and processed[0].t_publish_ns < t_ns:
            due.append(processed.popleft())
        self._hand_over(due)
        delivered, sent = [], []
        for fate in self.fronthaul.advance(t_ns - 1):
            if fate.kind == "delivered":
                sent.append(sent_in(fate.packet))
                delivered.append(Arrival(sent[-1].parts, fate.t_ns))
            else:
                self._lose(fate)
        arrived: list[Arrival] = []
        for first in range(0, len(delivered), MOST_AT_ONCE):
            arrived += self._wire.to_central_unit(delivered[first : first + MOST_AT_ONCE])
        self.centre.catch_up(arrived, sent, t_ns)
        self._backlog.clear()
        self.events.advance(t_ns)

    def _sample(self, t_ns: int) -> None:
        """Have UEs heard up to a time; of those heard at the same time, those first that were so before."""
        coming, turn = self._coming, self._turns
        while coming and coming[0][0] < t_ns:
            at_ns, _, snapshot, following = coming[0]
            self.events.add(Event(at_ns, "sample", f"{snapshot.ue}#{snapshot.seq}"))
            self.centre.expect(snapshot)
            pilots = self._channel.pilots(snapshot.ue, snapshot.seq)
            self.csi_bits = pilots[0].size * CSI_BITS_PER_ELEMENT
            self._processed += self._frames(snapshot, pilots, at_ns + self._processing_ns)
            after = next(following, None)
            if after is None:
                heappop(coming)
            else:
                heapreplace(coming, (after.t_sample_ns, next(turn), after, following))

    def _drop(
        self, bs: str, ue: str, seq: int, t_sample_ns: int, t_ns: int, cause: str, parts: Sequence[bytes]
    ) -> None:
        self._backlog.note(t_ns, AT_ONCE, super()._drop, bs, ue, seq, t_sample_ns, t_ns, cause, parts)

    def _record_fault(self, fault: FaultEvent, entry: dict[str, Any]) -> None:
        self._backlog.note(fault.t_ns, AT_ONCE, super()._record_fault, fault, entry)
