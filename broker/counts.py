"""Counts: where the frames given to a link, or to all of them, are."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Frames and bits by what became of them, at one moment."""

    sent: int
    delivered: int
    in_flight: int
    dropped: Mapping[str, int]
    """Frames by cause; causes that did not occur are left out."""
    sent_bits: int
    delivered_bits: int

    @property
    def conserved(self) -> bool:
        """Whether sent = delivered + dropped by cause + in flight."""
        return self.sent == self.delivered + sum(self.dropped.values()) + self.in_flight
