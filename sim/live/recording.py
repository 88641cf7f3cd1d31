"""A finished run as the stream that a viewer would have seen, all at once."""

import heapq
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from broker.fronthaul import Fronthaul
from broker.law import BernoulliLoss
from broker.packet import Packet
from sim.clock import NANOSECONDS_PER_SECOND, ns_from_s
from sim.faults import Aspect, FaultEvent, Setting, normal, schedule
from sim.live.fates import tell_recorded
from sim.live.feed import Feed, LinkFeed, Sink, conclude_links, totals_value
from sim.run_folder import RunFolder
from sim.scenario import Scenario

MAX_VALUES = 4000
"""Times of one key, or snapshots of one UE; longer series are thinned, where there are many."""
MAX_IN_ALL = 300_000
"""Few series may be so long together: what is left out is missing from the ages that the page shows."""
KINDS = ("truth", "fix", "track", "fault")
_ASPECTS: Mapping[str, Aspect] = {
    "link_up": "link",
    "link_down": "link",
    "capacity": "capacity",
    "latency": "latency",
    "loss": "loss",
}

Series = dict[str, list[Mapping[str, Any]]]


def recording_of(folder: RunFolder, scenario: Scenario) -> dict[str, Any]:
    """Everything that a viewer sees of a run.

    Args:
        folder: the run, ended or broken off.
        scenario: its resolved scenario.

    Returns:
        `{"series": {key: values, oldest first}, "end_s": …, "summary": …}`.

    Raises:
        RunFolderError: a file of the run is missing or damaged.
    """
    series: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)

    def sink(key: str, value: Mapping[str, Any]) -> None:
        series[key].append(value)

    summary = folder.summary()
    last_ns = _feed(folder, Feed(scenario, sink))
    end_ns = ns_from_s(summary["sim_time_s"]) if "sim_time_s" in summary else last_ns
    links = RecordedLinks(folder, scenario, sink)
    links.look(end_ns)
    conclude_links(links.said, summary, end_ns, sink)
    tell_recorded(folder, sink, end_ns)
    if summary.get("closed", False):
        series["totals"] = list(_totals(folder, end_ns))
    in_order = {key: _in_order(values) for key, values in series.items()}
    return {"series": _thinned(in_order), "end_s": end_ns / 1e9, "summary": summary}


def _feed(folder: RunFolder, feed: Feed) -> int:
    """Give the feed what was recorded; returns the time of the last message."""
    last_ns = 0
    for message in folder.messages():
        kind = message.topic.partition("/")[0]
        if kind not in KINDS:
            continue
        last_ns = max(last_ns, message.t_arrival_ns)
        feed.take(
            message.topic,
            json.loads(message.body),
            t_sample_ns=message.t_sample_ns,
            t_ns=message.t_arrival_ns,
            seq=message.sequence,
        )
    feed.expire(last_ns)
    return last_ns


def _totals(folder: RunFolder, end_ns: int) -> Iterator[dict[str, Any]]:
    """Fixes, misses and the mean error as they were known, from the rows of which the summary is made.

    What was decided by the end and known after it counts at the end.
    """
    columns = ["t_fix_ns", "missed", "error_3d_m"]
    tables = [
        [batch.column(name).to_numpy(zero_copy_only=False) for name in columns]
        for batch in folder.batches("fixes", columns)
    ]
    if not tables:
        return
    t_ns, missed, error_m = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    order = np.argsort(t_ns, kind="stable")
    missed = missed[order].astype(bool)
    fixes, misses = np.cumsum(~missed), np.cumsum(missed)
    error_sum_m = np.cumsum(np.where(missed, 0.0, error_m[order].astype(float)))
    known_s = np.minimum(t_ns[order], end_ns) / NANOSECONDS_PER_SECOND
    for at, num_fixes in enumerate(fixes.tolist()):
        mean_m = float(error_sum_m[at]) / num_fixes if num_fixes else None
        yield totals_value(float(known_s[at]), num_fixes, int(misses[at]), mean_m)


class RecordedLinks:
    """The links of a finished run: the law is a law, given the same frames and faults it does the same again.

    Args:
        folder: the run.
        scenario: its resolved scenario.
        sink: takes `link/<segment>`.
    """

    def __init__(self, folder: RunFolder, scenario: Scenario, sink: Sink) -> None:
        self.fronthaul = Fronthaul(*scenario.fronthaul.laws(), scenario.seed)
        self._links = LinkFeed(self.fronthaul, sink)
        events: Iterator[tuple[int, int, Any]] = heapq.merge(
            ((fault.t_ns, 0, fault) for fault in _link_faults(scenario, folder.summary())),
            ((packet_ns, 1, packet) for packet_ns, packet in _offers(folder)),
            key=lambda event: event[:2],
        )
        self._groups = ((t_ns, list(together)) for t_ns, together in groupby(events, lambda event: event[0]))
        self._coming = next(self._groups, None)

    @property
    def said(self) -> Mapping[str, Mapping[str, Any]]:
        """What was last published of each link."""
        return self._links.said

    def look(self, until_ns: int) -> None:
        """Let all that happened before a time happen, and publish the state of the links meanwhile."""
        while self._coming is not None and self._coming[0] < until_ns:
            t_ns, together = self._coming
            self._pass(t_ns)
            for _, _, what in together:
                if isinstance(what, Packet):
                    self.fronthaul.offer(what, t_ns)
                else:
                    self.fronthaul.change(what.target, t_ns, **what.change)
            self._links.glance(t_ns)
            self._coming = next(self._groups, None)
        self._pass(until_ns)

    def glance(self, t_ns: int) -> None:
        """Queues are glanced at on the way."""

    def _pass(self, until_ns: int) -> None:
        """Look at the links whenever it is time, up to but not at a time."""
        while (next_ns := min(self._links.due_ns, self._links.glance_ns)) < until_ns:
            self.fronthaul.advance(next_ns)
            self._links.glance(next_ns)
            self._links.look(next_ns)


def _offers(folder: RunFolder) -> list[tuple[int, Packet]]:
    columns = ["bs", "ue", "seq", "t_sample_ns", "t_publish_ns", "wire_bits"]
    offers = []
    for batch in folder.batches("frames", columns):
        for row in batch.to_pylist():
            if row["t_publish_ns"] is not None and row["wire_bits"] > 0:
                packet = Packet(row["bs"], row["ue"], row["seq"], row["wire_bits"], row["t_sample_ns"])
                offers.append((row["t_publish_ns"], packet))
    return sorted(offers, key=lambda offer: (offer[0], offer[1][:3]))


def _link_faults(scenario: Scenario, summary: Mapping[str, Any]) -> list[FaultEvent]:
    """What happened to links: as recorded, those that viewers made included."""
    if "faults" not in summary:
        return [fault for fault in schedule(scenario) if fault.aspect != "bs"]
    tree, _ = scenario.fronthaul.laws()
    faults = []
    for entry in summary["faults"]:
        aspect = _ASPECTS.get(entry["kind"])
        if aspect is None or entry["target"] not in tree:
            continue
        setting = _setting(entry["kind"], entry["detail"], normal(aspect, entry["target"], tree))
        faults.append(FaultEvent(ns_from_s(entry["t_s"]), aspect, entry["target"], setting))
    return sorted(faults, key=lambda fault: fault.t_ns)


def _setting(kind: str, detail: str, otherwise: Setting) -> Setting:
    """The setting that `FaultEvent.detail` tells."""
    if kind in ("link_up", "link_down"):
        return kind == "link_up"
    if detail == "unlimited":
        return None
    if kind == "loss":
        law, _, rate = detail.partition(" ")
        return BernoulliLoss(float(rate)) if law == "bernoulli" else otherwise
    return int(detail) if detail.isdigit() else otherwise


def _in_order(values: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """By the time at which they held; in real time they were written down as they became known."""
    return sorted(values, key=lambda value: float(value["t"]))


def _thinned(series: Series) -> Series:
    """No more than so many times of each key, the last among them; of a UE the same snapshots everywhere."""
    times: defaultdict[str, set[float]] = defaultdict(set)
    for key, values in series.items():
        times[_owner(key)].update(map(_sampled_s, values))
    most = max(MAX_VALUES, MAX_IN_ALL // max(len(series), 1))
    kept = {}
    for owner, all_s in times.items():
        step = -(-len(all_s) // (most - 1)) if len(all_s) > most else 1
        kept[owner] = set(sorted(all_s)[::step])
    return {
        key: [value for value in values[:-1] if _sampled_s(value) in kept[_owner(key)]] + values[-1:]
        for key, values in series.items()
    }


def _owner(key: str) -> str:
    """The UE of which a key tells, or the key itself."""
    kind, _, ue = key.partition("/")
    return f"ue/{ue}" if kind in ("truth", "fix", "track") else key


def _sampled_s(value: Mapping[str, Any]) -> float:
    return float(value.get("s", value["t"]))
