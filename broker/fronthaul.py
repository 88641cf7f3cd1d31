"""Fronthaul: the tree of segments between the base stations and the central unit, in one direction."""

from collections import Counter
from collections.abc import Mapping

from broker.counts import Counts
from broker.law import Capacity, FronthaulLaw, Loss
from broker.link import NEVER, UNCHANGED, FronthaulLink, Unchanged
from broker.packet import Fate, Packet, in_order


class _Segment:
    """A link, what comes into it from other segments, and where it leads."""

    __slots__ = ("arriving", "link", "parent")

    def __init__(self, link: FronthaulLink) -> None:
        self.link = link
        self.parent: _Segment | None = None
        self.arriving: list[Fate] = []


class Fronthaul:
    """Carries packets from base stations over a tree of links to the central unit.

    tree: {segment: (law, parent segment or None for one that ends at the central unit)}.
    attach: {bs: segment it is attached to}. Raises ValueError for an unknown segment or a tree with a cycle.

    Times never go back: of `advance` and `change` none lies before another or before an offer, and no offer
    before them. So advance to the time of an offer before it is made, as far as there is anything to advance.
    """

    def __init__(
        self,
        tree: Mapping[str, tuple[FronthaulLaw, str | None]],
        attach: Mapping[str, str],
        seed: int,
    ) -> None:
        self._segments = {name: _Segment(FronthaulLink(name, law, seed)) for name, (law, _) in tree.items()}
        for name, (_, parent) in tree.items():
            self._segments[name].parent = None if parent is None else self._segment(parent)
        outermost_first = sorted(tree, key=lambda name: (-_depth(tree, name), name))
        self._outermost_first = [self._segments[name] for name in outermost_first]
        self._links = [segment.link for segment in self._outermost_first]
        self._first_of_bs = {bs: self._segment(segment) for bs, segment in attach.items()}
        self._now_ns = 0
        self._fates: list[Fate] = []
        self._sent = self._delivered = self._sent_bits = self._delivered_bits = 0
        self._dropped: Counter[str] = Counter()

    def offer(self, packet: Packet, t_ns: int) -> list[Fate]:
        """Give a packet to its base station's first segment; returns the drops known at once, there.

        Raises ValueError for a base station that is not attached or a time already passed.
        """
        segment = self._first_of_bs.get(packet.bs)
        if segment is None:
            raise ValueError(f"{packet.bs} is attached to no segment")
        if t_ns < self._now_ns:
            raise ValueError(f"the fronthaul is at {self._now_ns} ns, cannot go back to {t_ns} ns")
        drops = segment.link.offer(packet, t_ns)
        self._sent += 1
        self._sent_bits += packet.size_bits
        for drop in drops:
            self._count(drop)
        return drops

    def advance(self, t_ns: int) -> list[Fate]:
        """Give everything that happened up to and including a time, ordered by (t_ns, bs, ue, seq)."""
        self._collect(t_ns)
        if not self._fates:
            return []
        fates, self._fates = self._fates, []
        if len(fates) > 1:
            fates.sort(key=in_order)
        return fates

    def next_event_ns(self) -> int | None:
        """Give a time before which no fate will come, or None when none comes by itself.

        It is a lower bound: `advance` at this time may return nothing, and then gives a later one.
        """
        if self._fates:
            return min(fate.t_ns for fate in self._fates)
        due_ns = min([link.due_ns for link in self._links], default=NEVER)
        return None if due_ns == NEVER else due_ns

    def change(
        self,
        segment: str,
        t_ns: int,
        *,
        capacity_bps: Capacity | Unchanged = UNCHANGED,
        latency_ns: int | None = None,
        up: bool | None = None,
        loss: Loss | None = None,
    ) -> None:
        """Change a segment from a time on; what this drops comes out of the next `advance`.

        `link(segment).law` keeps what the segment began with, to change it back.
        """
        link = self._segment(segment).link
        self._collect(t_ns)
        link.change(t_ns, capacity_bps=capacity_bps, latency_ns=latency_ns, up=up, loss=loss)

    def advance_clock(self, t_ns: int) -> None:
        """Move to a time; what happened up to it comes out of the next `advance`."""
        self._collect(t_ns)

    def link(self, segment: str) -> FronthaulLink:
        """Give a segment's link, to look at."""
        link = self._segment(segment).link
        link.catch_up(self._now_ns)
        return link

    @property
    def segments(self) -> tuple[str, ...]:
        """The names of the segments, those furthest from the central unit first."""
        return tuple(link.name for link in self._links)

    def link_counts(self) -> dict[str, Counts]:
        """Count the frames of each segment."""
        return {link.name: link.counts() for link in self._links}

    def counts(self) -> Counts:
        """Count the frames of the whole fronthaul; each frame once, however many segments it crosses."""
        in_flight = sum(link.counts().in_flight + link.unclaimed for link in self._links)
        dropped = dict(sorted(self._dropped.items()))
        return Counts(self._sent, self._delivered, in_flight, dropped, self._sent_bits, self._delivered_bits)

    def utilisation(self) -> dict[str, float]:
        """Give, for each segment, the fraction of the time so far in which it was sending."""
        return {name: self.link(name).utilisation() for name in self.segments}

    def _segment(self, name: str) -> _Segment:
        if name not in self._segments:
            raise ValueError(f"no segment {name!r}, there are {', '.join(self._segments)}")
        return self._segments[name]

    def _collect(self, t_ns: int) -> None:
        """Advance the segments from the outermost in, so that each knows all that reaches it."""
        if t_ns < self._now_ns:
            raise ValueError(f"the fronthaul is at {self._now_ns} ns, cannot go back to {t_ns} ns")
        self._now_ns = t_ns
        for segment in self._outermost_first:
            link = segment.link
            if segment.arriving:
                for fate in sorted(segment.arriving, key=in_order):
                    for drop in link.offer(fate.packet, fate.t_ns, fate.queued_ns):
                        self._settle(drop)
                segment.arriving.clear()
            if link.due_ns > t_ns:
                continue
            for fate in link.advance(t_ns):
                if fate.cause is None and segment.parent is not None:
                    segment.parent.arriving.append(fate)
                else:
                    self._settle(fate)

    def _settle(self, fate: Fate) -> None:
        self._count(fate)
        self._fates.append(fate)

    def _count(self, fate: Fate) -> None:
        if fate.cause is None:
            self._delivered += 1
            self._delivered_bits += fate.packet.size_bits
        else:
            self._dropped[fate.cause] += 1


def _depth(tree: Mapping[str, tuple[FronthaulLaw, str | None]], name: str) -> int:
    """Count the segments between this one and the central unit."""
    depth, parent = 0, tree[name][1]
    while parent is not None:
        depth, parent = depth + 1, tree[parent][1]
        if depth > len(tree):
            raise ValueError(f"segment {name!r} leads in a circle")
    return depth
