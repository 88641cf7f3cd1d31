"""A story: what is done to a fronthaul, and as text what became of it. A frame takes 1 ms at 1 Mbit/s."""

from typing import Any

from broker import Fate, Fronthaul, FronthaulLaw, Packet
from broker.packet import in_order

MS = 1_000_000
MBPS = 1_000_000
BSS = ("bs1", "bs2", "bs3")


class Story:
    """Offers frames named bs/ue#seq, changes segments, and tells the fates line by line."""

    def __init__(self, law: FronthaulLaw, *, trunk: FronthaulLaw | None = None) -> None:
        """The law is that of bs1, bs2 and bs3, which share a trunk if there is one."""
        parent = None if trunk is None else "trunk"
        tree: dict[str, tuple[FronthaulLaw, str | None]] = dict.fromkeys(BSS, (law, parent))
        if trunk is not None:
            tree["trunk"] = trunk, None
        self.fronthaul = Fronthaul(tree, {bs: bs for bs in BSS}, seed=1)
        self._fates: list[Fate] = []

    def offer(self, t_ms: float, *names: str, bits: int = 1_000) -> None:
        for name in names:
            bs, rest = name.split("/")
            ue, seq = rest.split("#")
            t_ns = round(t_ms * MS)
            self._fates += self.fronthaul.offer(Packet(bs, ue, int(seq), bits, t_ns), t_ns)

    def change(self, t_ms: float, segment: str, **change: Any) -> None:
        self.fronthaul.change(segment, round(t_ms * MS), **change)

    def told(self, until_ms: float = 1_000) -> list[str]:
        """Advance and tell everything since the last time."""
        fates = [*self._fates, *self.fronthaul.advance(round(until_ms * MS))]
        self._fates = []
        assert self.fronthaul.counts().conserved
        return [_line(fate) for fate in sorted(fates, key=in_order)]


def _line(fate: Fate) -> str:
    packet = fate.packet
    what = "arrives" if fate.cause is None else f"{fate.cause} at {fate.segment}"
    return f"{fate.t_ns / MS:g} ms {packet.bs}/{packet.ue}#{packet.seq} {what}"
