"""Packet and fate: what the fronthaul law is given and what it says became of it."""

from typing import Literal, NamedTuple

LOSS = "loss"
QUEUE_FULL = "queue_full"
SUPERSEDED = "superseded"
LINK_DOWN = "link_down"
LAW_CAUSES = (LOSS, QUEUE_FULL, SUPERSEDED, LINK_DOWN)
"""The causes a fronthaul law drops for."""


class Packet(NamedTuple):
    """One frame as the law sees it: whose it is, how large, and a body the law never looks into."""

    bs: str
    ue: str
    seq: int
    size_bits: int
    """Bits on the wire, transport overhead included; at least 1."""
    t_sample_ns: int
    deadline_ns: int | None = None
    """When the frame stops being useful; carried along for disciplines and drivers that care."""
    body: object = None


class Fate(NamedTuple):
    """What became of a packet, when, and where."""

    kind: Literal["delivered", "dropped"]
    packet: Packet
    t_ns: int
    """When it arrived behind the last segment, or when it was dropped."""
    cause: str | None
    """One of LAW_CAUSES for a drop, None for a delivery."""
    segment: str
    """Where it was dropped, or the last segment it crossed."""
    queued_ns: int
    """Time spent waiting in queues, all segments together; serving and travelling not included."""


def in_order(fate: Fate) -> tuple[int, str, str, int]:
    """Give the order of fates: by time, then by the packet's name."""
    packet = fate.packet
    return fate.t_ns, packet.bs, packet.ue, packet.seq
