"""From what a run records to what a page shows: short values with plain numbers, by UE and link."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from broker.counts import Counts
from broker.fronthaul import Fronthaul
from broker.law import CapacityTrace
from sim.centre import XYZ
from sim.clock import NANOSECONDS_PER_SECOND, ns_from_s
from sim.scenario import Scenario

WATCHED_UES = 32
"""More are not drawn; they count in the totals."""
LINK_EVERY_NS = 100_000_000
GLANCE_EVERY_NS = 5_000_000
FAULTS_SHOWN = 50
KEPT = 4096
"""Snapshots that are closed and of which the truth is kept, for reports that come late."""

Sink = Callable[[str, Mapping[str, Any]], None]


@dataclass(slots=True)
class _Sampled:
    """A snapshot: where the UE was, until when there should be a fix, and what became of it so far."""

    key: tuple[str, int]
    true_m: list[float]
    closing_ns: int
    fixed: bool = False
    missed: bool = False


class Feed:
    """Turns recorded messages into values for the page, in the order in which they come.

    Args:
        scenario: names the UEs, and says until when there should be a fix.
        sink: takes key and value; keys are `truth/<ue>`, `fix/<ue>`, `track/<ue>`, `totals` and `faults`.
        report_ns: so long a fix may be on its way to whoever writes it down.
    """

    def __init__(self, scenario: Scenario, sink: Sink, report_ns: int = 0) -> None:
        self._sink = sink
        self._report_ns = report_ns
        self._watched = set(scenario.ue_ids[:WATCHED_UES])
        self._patience_ns = ns_from_s(scenario.cu.deadline) + ns_from_s(scenario.cu.processing)
        self._sampled: dict[tuple[str, int], _Sampled] = {}
        self._closing: deque[_Sampled] = deque()
        self._closed: deque[tuple[str, int]] = deque()
        self._freshest_s: dict[str, float] = {}
        self._faults: deque[Mapping[str, Any]] = deque(maxlen=FAULTS_SHOWN)
        self._down: set[str] = set()
        self._lost: set[str] = set()
        self._counts = Counter[str]()
        self._error_sum_m = 0.0
        self._told_s = self._failed_s = 0.0

    def take(self, topic: str, content: Mapping[str, Any], *, t_sample_ns: int, t_ns: int, seq: int) -> None:
        """Take a message as it goes into `bus.mcap`: a truth, fix, track or fault.

        Args:
            topic: `<kind>/<ue or target>/`.
            content: what is recorded.
            t_sample_ns: the sample time.
            t_ns: when it is known.
            seq: number of the snapshot.
        """
        kind, name, _ = topic.split("/")
        t_s, sample_s = t_ns / NANOSECONDS_PER_SECOND, t_sample_ns / NANOSECONDS_PER_SECOND
        match kind:
            case "truth":
                self._truth(name, content, t_sample_ns, sample_s)
            case "fix":
                self._fix(name, content, t_ns, t_sample_ns, sample_s)
            case "track":
                self._track(name, content, t_s, t_sample_ns, sample_s)
            case "fault":
                self._fault(content)

    def expire(self, t_ns: int) -> None:
        """Count snapshots as missed of which a fix should be known before a time."""
        missed = self._counts["missed"]
        while self._closing and self._closing[0].closing_ns + self._report_ns < t_ns:
            snapshot = self._closing.popleft()
            snapshot.missed = not snapshot.fixed
            self._counts["missed"] += snapshot.missed
            self._closed.append(snapshot.key)
            if len(self._closed) > KEPT:
                self._sampled.pop(self._closed.popleft(), None)
        if self._counts["missed"] != missed:
            self._totals(t_ns / NANOSECONDS_PER_SECOND)

    def conclude(self, summary: Mapping[str, Any], t_ns: int) -> None:
        """The run is over: its summary has the last word."""
        if "fixes" in summary:
            fixes, missed = summary["fixes"], summary["fixes_missed"]
            mean_m = summary.get("fix_error_3d_mean_m")
            t_s = max(self._told_s, t_ns / NANOSECONDS_PER_SECOND)
            self._sink("totals", totals_value(t_s, fixes, missed, mean_m))

    def _truth(self, ue: str, content: Mapping[str, Any], t_sample_ns: int, t_s: float) -> None:
        self.expire(t_sample_ns)
        true_m = _vector(content["position_m"])
        snapshot = _Sampled((ue, t_sample_ns), true_m, t_sample_ns + self._patience_ns)
        self._sampled[snapshot.key] = snapshot
        self._closing.append(snapshot)
        if ue in self._watched:
            self._sink(f"truth/{ue}", {"t": t_s, "p": _short(true_m)})

    def _fix(self, ue: str, content: Mapping[str, Any], t_ns: int, t_sample_ns: int, sample_s: float) -> None:
        t_s = t_ns / NANOSECONDS_PER_SECOND
        snapshot = self._sampled.get((ue, t_sample_ns))
        position_m = _vector(content["position_m"])
        error_m = None if snapshot is None else _distance(position_m, snapshot.true_m)
        freshest_s = self._freshest_s.get(ue)
        self._freshest_s[ue] = sample_s if freshest_s is None else max(freshest_s, sample_s)
        # One of frames that came after the deadline revises a miss, which remains one.
        if snapshot is not None and not snapshot.fixed and t_ns <= snapshot.closing_ns:
            snapshot.fixed = True
            self._counts["fixes"] += 1
            self._counts["missed"] -= snapshot.missed
            self._error_sum_m += error_m or 0.0
            self._totals(t_s)
        if ue in self._watched:
            value = {
                "t": t_s,
                "s": sample_s,
                "p": _short(position_m),
                "c": _upper(content["covariance_m2"], 3),
                "bs": list(content["bs_used"]),
                "e": _rounded(error_m),
                "age": None if freshest_s is None else round(t_s - freshest_s, 4),
            }
            self._sink(f"fix/{ue}", value)

    def _track(
        self, ue: str, content: Mapping[str, Any], t_s: float, t_sample_ns: int, sample_s: float
    ) -> None:
        if ue not in self._watched:
            return
        snapshot = self._sampled.get((ue, t_sample_ns))
        position_m = _vector(content["position_m"])
        error_m = None if snapshot is None else _distance(position_m, snapshot.true_m)
        value = {
            "t": t_s,
            "s": sample_s,
            "p": _short(position_m),
            "c": _upper(content["covariance"], 6),
            "e": _rounded(error_m),
            "coasting": content["coasting"],
        }
        self._sink(f"track/{ue}", value)

    def _fault(self, content: Mapping[str, Any]) -> None:
        self._faults.append(content)
        if content["kind"] == "bs_down":
            self._down.add(content["target"])
        elif content["kind"] == "bs_up":
            self._down.discard(content["target"])
        elif content["kind"] == f"{content['target']}_lost":
            self._lost.add(content["target"])
        elif content["kind"] == f"{content['target']}_back":
            self._lost.discard(content["target"])
        self._failed_s = max(self._failed_s, content["t_s"])
        entries = [dict(entry) for entry in self._faults]
        self._sink(
            "faults",
            {
                "t": self._failed_s,
                "entries": entries,
                "down": sorted(self._down),
                "lost": sorted(self._lost),
            },
        )

    def _totals(self, t_s: float) -> None:
        fixes = self._counts["fixes"]
        mean_m = self._error_sum_m / fixes if fixes else None
        self._told_s = max(self._told_s, t_s)  # a report that comes late changes what is known now
        self._sink("totals", totals_value(self._told_s, fixes, self._counts["missed"], mean_m))


class LinkFeed:
    """Looks at the links of a fronthaul now and then; what the links do does not depend on it.

    Args:
        fronthaul: the law.
        sink: takes `link/<segment>`.
    """

    def __init__(self, fronthaul: Fronthaul, sink: Sink) -> None:
        self._fronthaul = fronthaul
        self._sink = sink
        self._next_ns = LINK_EVERY_NS
        self._last_ns = 0
        self._busy_ns: dict[str, float] = {}
        self.glance_ns = 0
        """When to glance at the queues next."""
        self._queued: dict[str, int] = {}
        self.said: dict[str, Mapping[str, Any]] = {}
        """What was last published of each link."""

    @property
    def due_ns(self) -> int:
        """When to look next."""
        return self._next_ns

    def struck(self, entry: Mapping[str, Any]) -> None:
        """Something has failed, or works again: what is known of the links, as they are now."""
        for name, value in self.said.items():
            link = self._fronthaul.link(name)
            now = {"t": entry["t_s"], "up": link.is_up, "capacity": link.capacity_bps}
            self.said[name] = {**value, **now}
            self._sink(f"link/{name}", self.said[name])

    def glance(self, t_ns: int) -> None:
        """Take note of the queues, as far as the links have come; UEs beat in step, and so do queues."""
        if t_ns < self.glance_ns:
            return
        self.glance_ns = t_ns + GLANCE_EVERY_NS
        for name in self._fronthaul.segments:
            queued = self._fronthaul.link(name).queued_bits
            self._queued[name] = max(self._queued.get(name, 0), queued)

    def look(self, t_ns: int) -> None:
        """Publish the state of each link, if it is time to: its load and its longest queue since last time.

        Args:
            t_ns: everything before and at this time has happened.
        """
        if t_ns < self._next_ns:
            return
        self._next_ns = (t_ns // LINK_EVERY_NS + 1) * LINK_EVERY_NS
        passed_ns = t_ns - self._last_ns
        self._last_ns = t_ns
        self._fronthaul.advance_clock(t_ns)
        for name in self._fronthaul.segments:
            link = self._fronthaul.link(name)
            busy_ns = link.utilisation() * t_ns
            load = (busy_ns - self._busy_ns.get(name, 0.0)) / passed_ns
            self._busy_ns[name] = busy_ns
            counts = link.counts()
            value = {
                "t": t_ns / NANOSECONDS_PER_SECOND,
                "load": round(min(max(load, 0.0), 1.0), 4),
                "queue": max(self._queued.pop(name, 0), link.queued_bits) // 8,
                "up": link.is_up,
                "capacity": link.capacity_bps,
                "sent": counts.sent,
                "delivered": counts.delivered,
                "dropped": sum(counts.dropped.values()),
                "causes": dict(counts.dropped),
            }
            self.said[name] = value
            self._sink(f"link/{name}", value)


class RemoteLinks(Protocol):
    """A fronthaul law in another process, of which only the counts are known here."""

    def link_counts(self) -> Mapping[str, Counts]:
        """Of each segment."""
        ...

    def utilisation(self) -> Mapping[str, float]:
        """Of each segment: the share of the time so far in which it was sending."""
        ...


class CountFeed:
    """Links of a law in another process: from its counts, and from what was changed.

    Args:
        links: the law.
        scenario: says how the links are without faults.
        sink: takes `link/<segment>`.
        every_ns: how often to look.
    """

    def __init__(self, links: RemoteLinks, scenario: Scenario, sink: Sink, every_ns: int) -> None:
        self._links = links
        self._sink = sink
        self._every_ns = every_ns
        self._next_ns = every_ns
        self._tree, _ = scenario.fronthaul.laws()
        self._capacity = {name: law.capacity_bps for name, (law, _) in self._tree.items()}
        self._cut: set[str] = set()
        self._last: dict[str, tuple[int, float]] = {}
        self.said: dict[str, Mapping[str, Any]] = {}
        """What was last published of each link."""

    def struck(self, entry: Mapping[str, Any]) -> None:
        """Something has failed, or works again."""
        name, kind, detail = entry["target"], entry["kind"], entry["detail"]
        if name not in self._tree:
            return
        if kind in ("link_down", "link_up"):
            (self._cut.add if kind == "link_down" else self._cut.discard)(name)
        elif kind == "capacity":
            otherwise = None if detail == "unlimited" else self._tree[name][0].capacity_bps
            self._capacity[name] = int(detail) if detail.isdigit() else otherwise
        t_ns = ns_from_s(entry["t_s"])
        for other, value in self.said.items():
            capacity_bps = self._capacity_bps(other, t_ns)
            now = {"t": entry["t_s"], "up": other not in self._cut, "capacity": capacity_bps}
            self.said[other] = {**value, **now}
            self._sink(f"link/{other}", self.said[other])

    def _capacity_bps(self, name: str, t_ns: int) -> float | None:
        capacity = self._capacity[name]
        if isinstance(capacity, CapacityTrace):
            return capacity.capacities_bps[capacity.piece_at(t_ns)]
        return capacity

    def glance(self, t_ns: int) -> None:
        """Queues cannot be seen from here."""

    def look(self, t_ns: int) -> bool:
        """Publish the state of each link; what is under way stands for its queue. Whether it was time to."""
        if t_ns < self._next_ns:
            return False
        self._next_ns = (t_ns // self._every_ns + 1) * self._every_ns
        utilisation = self._links.utilisation()
        for name, counts in self._links.link_counts().items():
            busy_ns = utilisation.get(name, 0.0) * t_ns
            last_ns, last_busy_ns = self._last.get(name, (0, 0.0))
            self._last[name] = (t_ns, busy_ns)
            mean_bits = counts.sent_bits / counts.sent if counts.sent else 0.0
            value = {
                "t": t_ns / NANOSECONDS_PER_SECOND,
                "load": round(min(max((busy_ns - last_busy_ns) / (t_ns - last_ns), 0.0), 1.0), 4),
                "queue": round(counts.in_flight * mean_bits / 8),
                "up": name not in self._cut,
                "capacity": self._capacity_bps(name, t_ns),
                "sent": counts.sent,
                "delivered": counts.delivered,
                "dropped": sum(counts.dropped.values()),
                "causes": dict(counts.dropped),
            }
            self.said[name] = value
            self._sink(f"link/{name}", value)
        return True


def conclude_links(
    said: Mapping[str, Mapping[str, Any]], summary: Mapping[str, Any], t_ns: int, sink: Sink
) -> None:
    """The run is over: what its links counted after they were last looked at.

    Args:
        said: what was last published of each link.
        summary: has the last word.
        t_ns: the end of the run.
        sink: takes `link/<segment>`.
    """
    for name, counts in summary.get("links", {}).items():
        if name in said:
            dropped = counts["dropped"]
            value = {
                "t": max(said[name]["t"], t_ns / NANOSECONDS_PER_SECOND),
                "sent": counts["sent"],
                "delivered": counts["delivered"],
                "dropped": sum(dropped.values()),
                "causes": dict(dropped),
            }
            sink(f"link/{name}", {**said[name], **value})


def totals_value(t_s: float, fixes: int, missed: int, mean_m: float | None) -> dict[str, Any]:
    """How many snapshots had a fix or none until a time, and the mean error of fixes, for the page."""
    return {"t": t_s, "fixes": fixes, "missed": missed, "mean": _rounded(mean_m)}


def _vector(place: Mapping[str, float]) -> list[float]:
    return [place[axis] for axis in XYZ]


def _short(position_m: list[float]) -> list[float]:
    return [round(value, 3) for value in position_m]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _distance(one_m: list[float], other_m: list[float]) -> float:
    return float(sum((a - b) ** 2 for a, b in zip(one_m, other_m, strict=True)) ** 0.5)


def _upper(flat: list[float], size: int) -> list[float]:
    """The elements xx, xy, xz, yy, yz, zz of a flat `[size, size]` covariance."""
    return [
        round(flat[row * size + column], 5)
        for row, column in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    ]
