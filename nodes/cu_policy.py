"""What the central unit waits for, and what becomes of what comes too late."""

from dataclasses import dataclass
from typing import Literal, get_args

Late = Literal["drop", "retrodict"]


@dataclass(frozen=True, slots=True)
class CuPolicy:
    """When a snapshot closes and what it takes to make a fix of it.

    Raises:
        ValueError: for a value out of the range given here.
    """

    deadline_ns: int = 50_000_000
    """A snapshot closes so long after its sample time if not all BSs have arrived; not negative."""
    min_bs: int = 1
    """A snapshot with fewer BSs gives no fix; at least 1."""
    late: Late = "drop"
    """``drop`` counts late frames; ``retrodict`` fuses their snapshot once more and takes the new fix into
    the track at its place in time."""
    horizon_ns: int = 1_000_000_000
    """So long after its deadline a snapshot is remembered: later frames are dropped whatever the policy."""
    lead_ns: int = 1_000_000_000
    """A frame sampled so long after its arrival, or longer, is refused: its clock is wrong."""
    processing_ns: int = 0
    """From the closing of a snapshot to its fix; not negative."""

    def __post_init__(self) -> None:
        for name, least in (
            ("deadline_ns", 0),
            ("min_bs", 1),
            ("horizon_ns", 0),
            ("lead_ns", 1),
            ("processing_ns", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.late not in get_args(Late):
            raise ValueError(f"late must be one of {', '.join(get_args(Late))}, not {self.late!r}")
