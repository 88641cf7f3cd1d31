"""Link: one segment of the fronthaul under its law. It owns no clock: it is given the time.

A frame waits in the queue, is sent at the capacity, is lost or not as its last bit leaves, and travels.
At one and the same nanosecond arrivals at the far end come first, then the end of sending, then changes of
the link, then cross traffic, then offers.
"""

from collections import Counter
from collections.abc import Iterator
from enum import Enum
from heapq import heappop, heappush

from broker.counts import Counts
from broker.law import (
    NANOBITS,
    Capacity,
    CapacityTrace,
    CrossTraffic,
    FronthaulLaw,
    Loss,
    NoJitter,
    NoLoss,
    whole_bps,
)
from broker.packet import LINK_DOWN, LOSS, QUEUE_FULL, Fate, Packet, in_order
from broker.queue import Carried, queue_for
from broker.streams import Draws, stream


class Unchanged(Enum):
    """Stands for "leave it as it is" where None has a meaning of its own."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
NEVER = 1 << 63
_GAPS_AT_ONCE = 512


class FronthaulLink:
    """One segment, driven by `offer`, `advance` and `change` with times that never go back.

    What a frame meets (loss, jitter) is drawn from (seed, name of the link, bs, ue, seq) alone.
    """

    def __init__(self, name: str, law: FronthaulLaw, seed: int) -> None:
        self.name = name
        self.law = law
        self._due_ns: int | None = None
        self._now_ns = 0
        self._queue = queue_for(law)
        self._sending: Carried | None = None
        self._sent_until_ns = 0
        """Up to here `_nanobits_left` of the packet being sent is true."""
        self._nanobits_left = 0
        self._bucket_nanobits = 8 * law.burst_bytes * NANOBITS
        self._saved_nanobits = 0
        """What the idle link had saved at `_saved_at_ns`; it saves on, up to what the bucket holds."""
        self._saved_at_ns = 0
        self._finish_ns = NEVER
        self._travelling: list[tuple[int, int, Carried]] = []
        self._departures = 0
        self._fates: list[Fate] = []

        self._jitter = None if isinstance(law.jitter, NoJitter) else law.jitter
        self._jitter_draws = Draws(seed, "jitter", name)
        self._loss_draws = Draws(seed, "loss", name)
        self._latency_ns = law.latency_ns
        self._last_arrival_ns = 0
        self._loss = law.loss
        self._loses = False
        self._bad = False
        self._set_loss(law.loss)

        self._is_up = True
        self._in_outage = False
        self._edges = iter([edge for outage in law.outages for edge in outage])
        self._edge_ns = next(self._edges, NEVER)
        self._capacity_bps: int | None = None
        self._trace: CapacityTrace | None = None
        self._piece_ends_ns = NEVER
        self._boundary_ns = NEVER
        self._set_capacity(law.capacity_bps, 0)

        self._cross_times = _cross_times_ns(law.cross_traffic, seed, name)
        self._cross_ns = next(self._cross_times, NEVER)

        self._sent = self._delivered = self._sent_bits = self._delivered_bits = 0
        self._dropped: Counter[str] = Counter()
        self._inside = 0
        self._busy_ns = self._cross_bits = 0

        self._run(0)

    def __repr__(self) -> str:
        return f"FronthaulLink({self.name!r}, now={self._now_ns} ns, in flight={self._inside})"

    def offer(self, packet: Packet, t_ns: int, queued_ns: int = 0) -> list[Fate]:
        """Give a packet to the link at a time; returns the drops known at once, of this or a waiting packet.

        queued_ns: time it has waited on earlier segments. Raises ValueError for a time before the last one.
        """
        self._run(t_ns)
        known = len(self._fates)
        self._sent += 1
        self._sent_bits += packet.size_bits
        self._inside += 1
        self._admit(Carried(packet, packet.size_bits, t_ns, queued_ns), t_ns)
        drops = self._fates[known:]
        if drops:
            del self._fates[known:]
        self._due_ns = None
        return drops

    def advance(self, t_ns: int) -> list[Fate]:
        """Give everything that happened up to and including a time, in order."""
        self._run(t_ns)
        fates, self._fates = self._fates, []
        self._due_ns = None
        if len(fates) > 1:
            fates.sort(key=in_order)
        return fates

    def catch_up(self, t_ns: int) -> None:
        """Work through what happened up to a time; its fates are kept for the next `advance`."""
        self._run(max(t_ns, self._now_ns))
        self._due_ns = None

    @property
    def due_ns(self) -> int:
        """No fate comes before this time: until then `advance` may be left out."""
        if self._due_ns is None:
            self._due_ns = self._look_ahead()
        return self._due_ns

    def next_event_ns(self) -> int | None:
        """Give a time before which no fate will come, or None when none comes by itself.

        It is a lower bound: `advance` at this time may return nothing.
        """
        return None if self.due_ns == NEVER else self.due_ns

    def change(
        self,
        t_ns: int,
        *,
        capacity_bps: Capacity | Unchanged = UNCHANGED,
        latency_ns: int | None = None,
        up: bool | None = None,
        loss: Loss | None = None,
    ) -> None:
        """Change the link from a time on; what this drops comes out of the next `advance`.

        A capacity applies to the bits still to be sent, also of the frame being sent. Latency and loss apply
        to frames whose sending ends later. Down drops what waits and what is being sent; the rest arrives.
        """
        self._run(t_ns)
        if capacity_bps is not UNCHANGED:
            self._set_capacity(capacity_bps, t_ns)
        if latency_ns is not None:
            if latency_ns < 0:
                raise ValueError(f"latency_ns is {latency_ns}, must not be negative")
            self._latency_ns = latency_ns
        if loss is not None:
            self._set_loss(loss)
            if self._sending is not None:
                self._draw(self._sending)
        if up is not None:
            self._is_up = up
            self._cut_if_down(t_ns)
        self._due_ns = None

    @property
    def is_up(self) -> bool:
        """Whether the link carries anything at the time it has reached."""
        return self._is_up and not self._in_outage

    @property
    def capacity_bps(self) -> int | None:
        """The capacity at the time it has reached; None takes no time to send."""
        return self._capacity_bps

    @property
    def unclaimed(self) -> int:
        """How many fates have happened that `advance` has not returned yet."""
        return len(self._fates)

    def counts(self) -> Counts:
        """Count the frames (cross traffic left out); those in flight are looked up where they are."""
        in_flight = len(self._travelling)
        in_flight += sum(carried.packet is not None for carried in self._queue.waiting)
        in_flight += self._sending is not None and self._sending.packet is not None
        dropped = dict(sorted(self._dropped.items()))
        return Counts(self._sent, self._delivered, in_flight, dropped, self._sent_bits, self._delivered_bits)

    @property
    def queued_bits(self) -> int:
        """Bits that wait, cross traffic included, the packet being sent not included."""
        return self._queue.bits

    @property
    def cross_bits(self) -> int:
        """Bits of cross traffic sent so far."""
        return self._cross_bits

    def utilisation(self) -> float:
        """Give the fraction of the time so far in which the link was sending, cross traffic included."""
        busy_ns = self._busy_ns
        if self._sending is not None:
            busy_ns += self._now_ns - self._sending.since_ns
        return busy_ns / self._now_ns if self._now_ns else 0.0

    # What happens inside, in order of time.

    def _run(self, t_ns: int) -> None:
        if t_ns < self._now_ns:
            raise ValueError(f"link {self.name} is at {self._now_ns} ns, cannot go back to {t_ns} ns")
        while True:
            arrival_ns = self._travelling[0][0] if self._travelling else NEVER
            soonest_ns = arrival_ns
            if self._finish_ns < soonest_ns:
                soonest_ns = self._finish_ns
            if self._boundary_ns < soonest_ns:
                soonest_ns = self._boundary_ns
            if self._cross_ns < soonest_ns:
                soonest_ns = self._cross_ns
            if soonest_ns > t_ns:
                break
            if soonest_ns == arrival_ns:
                self._arrive()
            elif soonest_ns == self._finish_ns:
                self._finish(soonest_ns)
            elif soonest_ns == self._boundary_ns:
                self._pass_boundary(soonest_ns)
            else:
                self._admit_cross_traffic(soonest_ns)
        self._now_ns = t_ns

    def _look_ahead(self) -> int:
        """Find out when the next fate can come, as things stand."""
        if self._fates:
            return self._fates[0].t_ns  # they were noted as they happened
        first_ns = self._travelling[0][0] if self._travelling else NEVER
        carried = self._sending
        if carried is None or self._inside == len(self._travelling):
            return first_ns
        due_ns = self._finish_ns
        if self._inside == len(self._travelling) + 1 and carried.packet is not None and due_ns != NEVER:
            lost, _ = self._loss.draw(self._bad, *carried.loss_draws)
            due_ns = due_ns if lost else self._arrival_ns(carried, due_ns)
        return min(first_ns, due_ns, self._boundary_ns)

    def _admit(self, carried: Carried, t_ns: int) -> None:
        if not (self._is_up and not self._in_outage):
            self._drop(carried, t_ns, LINK_DOWN)
        elif self._sending is not None:
            fell_out = self._queue.put(carried)
            if fell_out is not None:
                dropped, cause = fell_out
                dropped.queued_ns += t_ns - dropped.since_ns
                self._drop(dropped, t_ns, cause)
        elif self._capacity_bps is None:
            self._draw(carried)
            self._depart(carried, t_ns)
        else:
            saved = self._saved_by(t_ns) if self._bucket_nanobits else 0
            must_wait = self._bucket_nanobits and saved < carried.size_bits * NANOBITS
            if must_wait and not self._queue.has_room(carried.size_bits):
                self._drop(carried, t_ns, QUEUE_FULL)
            else:
                self._send(carried, t_ns, saved)

    def _save(self, t_ns: int, nanobits: int) -> None:
        """Note what an idle link has in its bucket."""
        self._saved_nanobits = min(nanobits, self._bucket_nanobits)
        self._saved_at_ns = t_ns

    def _saved_by(self, t_ns: int) -> int:
        """What an idle link has saved by a time."""
        if self._capacity_bps is None:
            return self._bucket_nanobits
        saved = self._saved_nanobits + self._capacity_bps * (t_ns - self._saved_at_ns)
        return min(saved, self._bucket_nanobits)

    def _send(self, carried: Carried, t_ns: int, ahead_nanobits: int) -> None:
        """Begin to send.

        ahead_nanobits: what the link could already send in the nanosecond that ends now, or has saved.
        """
        carried.queued_ns += t_ns - carried.since_ns
        carried.since_ns = t_ns
        self._draw(carried)
        self._sending = carried
        if self._bucket_nanobits:  # nobody is sent bit by bit: it waits until the bucket has enough for it
            self._queue.head_bits = carried.size_bits
        self._nanobits_left = carried.size_bits * NANOBITS - ahead_nanobits
        self._sent_until_ns = t_ns
        self._finish_ns = self._finish_from(t_ns)

    def _finish_from(self, t_ns: int) -> int:
        if self._nanobits_left <= 0:
            return t_ns
        if not self._capacity_bps:
            return NEVER
        return t_ns - (-self._nanobits_left // self._capacity_bps)

    def _finish(self, t_ns: int) -> None:
        carried = self._sending
        assert carried is not None
        assert self._capacity_bps is not None
        ahead_nanobits = self._capacity_bps * (t_ns - self._sent_until_ns) - self._nanobits_left
        self._busy_ns += t_ns - carried.since_ns
        self._sending = None
        self._queue.head_bits = 0
        self._finish_ns = NEVER
        self._depart(carried, t_ns)
        following = self._queue.get()
        if following is not None:
            self._send(following, t_ns, ahead_nanobits)
        elif self._bucket_nanobits:
            self._save(t_ns, ahead_nanobits)

    def _draw(self, carried: Carried) -> None:
        """Draw what the packet will meet; the link's laws at the end of sending decide what it means."""
        packet = carried.packet
        if packet is None or (self._jitter is None and not self._loses):
            return
        name = f"{packet.bs}/{packet.ue}/{packet.seq}"
        if self._loses:
            carried.loss_draws = self._loss_draws.at(name)
        if self._jitter is not None:
            carried.jitter_draw = self._jitter_draws.at(name)

    def _arrival_ns(self, carried: Carried, t_ns: int) -> int:
        """Give when a packet arrives whose sending ends at a time."""
        if self._jitter is None:
            arrival_ns = t_ns + self._latency_ns
        else:
            arrival_ns = t_ns + self._jitter.delay_ns(carried.jitter_draw[0], self._latency_ns)
        return max(arrival_ns, self._last_arrival_ns) if self.law.keep_order else arrival_ns

    def _depart(self, carried: Carried, t_ns: int) -> None:
        packet = carried.packet
        if packet is None:
            self._cross_bits += carried.size_bits
            return
        lost, self._bad = self._loss.draw(self._bad, *carried.loss_draws)
        if lost:
            self._drop(carried, t_ns, LOSS)
            return
        self._last_arrival_ns = arrival_ns = self._arrival_ns(carried, t_ns)
        self._departures += 1
        heappush(self._travelling, (arrival_ns, self._departures, carried))

    def _arrive(self) -> None:
        t_ns, _, carried = heappop(self._travelling)
        packet = carried.packet
        assert packet is not None
        self._inside -= 1
        self._delivered += 1
        self._delivered_bits += packet.size_bits
        self._fates.append(Fate("delivered", packet, t_ns, None, self.name, carried.queued_ns))

    def _drop(self, carried: Carried, t_ns: int, cause: str) -> None:
        packet = carried.packet
        if packet is None:
            return
        self._inside -= 1
        self._dropped[cause] += 1
        self._fates.append(Fate("dropped", packet, t_ns, cause, self.name, carried.queued_ns))

    def _admit_cross_traffic(self, t_ns: int) -> None:
        traffic = self.law.cross_traffic
        assert traffic is not None
        self._admit(Carried(None, traffic.packet_bits, t_ns), t_ns)
        self._cross_ns = next(self._cross_times, NEVER)

    # Changes of the link itself.

    def _pass_boundary(self, t_ns: int) -> None:
        if t_ns == self._edge_ns:
            self._in_outage = not self._in_outage
            self._edge_ns = next(self._edges, NEVER)
            self._cut_if_down(t_ns)
        if t_ns == self._piece_ends_ns:
            self._set_capacity(self._trace, t_ns)
        self._boundary_ns = min(self._edge_ns, self._piece_ends_ns)

    def _cut_if_down(self, t_ns: int) -> None:
        if self._is_up and not self._in_outage:
            return
        if self._sending is not None:
            self._busy_ns += t_ns - self._sending.since_ns
            done = (self._capacity_bps or 0) * (t_ns - self._sent_until_ns) - self._nanobits_left
            self._save(t_ns, self._sending.size_bits * NANOBITS + done)
            self._drop(self._sending, t_ns, LINK_DOWN)
            self._sending = None
            self._queue.head_bits = 0
            self._finish_ns = NEVER
        self._empty_queue(t_ns, down=True)

    def _empty_queue(self, t_ns: int, *, down: bool) -> None:
        while (carried := self._queue.get()) is not None:
            carried.queued_ns += t_ns - carried.since_ns
            if down:
                self._drop(carried, t_ns, LINK_DOWN)
            else:
                self._draw(carried)
                self._depart(carried, t_ns)

    def _set_capacity(self, capacity: Capacity, t_ns: int) -> None:
        whole = None if isinstance(capacity, CapacityTrace) else whole_bps(capacity)
        if self._sending is not None:
            self._nanobits_left -= (self._capacity_bps or 0) * (t_ns - self._sent_until_ns)
            self._sent_until_ns = t_ns
        else:
            self._save(t_ns, self._saved_by(t_ns))
        self._trace = capacity if isinstance(capacity, CapacityTrace) else None
        self._piece_ends_ns = NEVER
        if isinstance(capacity, CapacityTrace):
            piece = capacity.piece_at(t_ns)
            self._capacity_bps = capacity.capacities_bps[piece]
            if piece + 1 < len(capacity.times_ns):
                self._piece_ends_ns = capacity.times_ns[piece + 1]
        else:
            self._capacity_bps = whole
        self._boundary_ns = min(self._edge_ns, self._piece_ends_ns)
        if self._sending is None:
            return
        if self._capacity_bps is not None:
            self._finish_ns = self._finish_from(t_ns)
            return
        carried, self._sending, self._finish_ns = self._sending, None, NEVER
        self._queue.head_bits = 0
        self._busy_ns += t_ns - carried.since_ns
        self._save(t_ns, self._bucket_nanobits)
        self._depart(carried, t_ns)
        self._empty_queue(t_ns, down=False)

    def _set_loss(self, loss: Loss) -> None:
        self._loss = loss
        self._loses = not isinstance(loss, NoLoss)
        self._bad = loss.first_state(self._loss_draws.at("first state")[0])


def _cross_times_ns(traffic: CrossTraffic | None, seed: int, name: str) -> Iterator[int]:
    """Give the arrival times of cross traffic, without end; none for None."""
    if traffic is None:
        return
    work = traffic.packet_bits * NANOBITS
    draws = stream(seed, "cross traffic", name)
    if traffic.kind == "constant":
        k, phase = 0, int(draws.integers(work // traffic.rate_bps, endpoint=True))
        while True:
            yield phase + k * work // traffic.rate_bps
            k += 1
    mean_gap_ns = work / traffic.rate_bps
    t_ns = 0.0
    while True:
        for gap in draws.standard_exponential(_GAPS_AT_ONCE).tolist():
            t_ns += gap * mean_gap_ns
            yield round(t_ns)
