"""What the page is told of fixes and misses, however late the world hears of them."""

from collections.abc import Mapping
from typing import Any

import pytest

from sim.live.feed import KEPT, Feed
from tests.sim.kit import scenario_of

MS = 1_000_000
CLOSING_NS = 55 * MS
"""Deadline and processing of the scenario: a fix in time is known by then."""
NOBODY = {"covariance_m2": [0.0] * 9, "bs_used": ["bs1"]}


class Told:
    """A feed, and the latest value of each key."""

    def __init__(self, report_ns: int = 0) -> None:
        self.values: dict[str, list[Mapping[str, Any]]] = {}
        self.feed = Feed(scenario_of({}), self._take, report_ns)

    def _take(self, key: str, value: Mapping[str, Any]) -> None:
        self.values.setdefault(key, []).append(value)

    def totals(self) -> tuple[int, int, float | None]:
        """Fixes, misses and mean error, as last told."""
        last = self.values["totals"][-1]
        return last["fixes"], last["missed"], last["mean"]

    def truth(self, t_sample_ns: int) -> None:
        """The UE is at 0."""
        self._say("truth", {"position_m": dict.fromkeys("xyz", 0.0)}, t_sample_ns, t_sample_ns)

    def fix(self, t_sample_ns: int, t_ns: int, error_m: float) -> None:
        """A fix so far from it."""
        content = {"position_m": {"x": error_m, "y": 0.0, "z": 0.0}, **NOBODY}
        self._say("fix", content, t_sample_ns, t_ns)

    def track(self, t_sample_ns: int, t_ns: int, error_m: float) -> None:
        """A track so far from it."""
        place = {"x": error_m, "y": 0.0, "z": 0.0}
        content = {"position_m": place, "covariance": [0.0] * 36, "coasting": True}
        self._say("track", content, t_sample_ns, t_ns)

    def _say(self, kind: str, content: dict[str, Any], t_sample_ns: int, t_ns: int) -> None:
        self.feed.take(f"{kind}/ue1/", content, t_sample_ns=t_sample_ns, t_ns=t_ns, seq=0)


def test_a_fix_that_is_reported_late_takes_its_miss_back() -> None:
    told = Told()
    told.truth(0)
    told.truth(100 * MS)
    assert told.totals() == (0, 1, None), "the time of the first has passed"
    told.fix(100 * MS, 130 * MS, 3.0)
    told.fix(0, 30 * MS, 1.0)
    assert told.totals() == (2, 0, 2.0)
    assert [value["e"] for value in told.values["fix/ue1"]] == [3.0, 1.0], "it is in the plot, too"
    times_s = [value["t"] for value in told.values["totals"]]
    assert times_s == sorted(times_s), "what is known now was not known then"


def test_the_same_fix_counts_once_however_often_it_is_revised() -> None:
    told = Told()
    told.truth(0)
    told.fix(0, 30 * MS, 1.0)
    told.fix(0, 40 * MS, 9.0)
    told.truth(100 * MS)
    assert told.totals() == (1, 0, 1.0)


def test_a_fix_of_frames_after_the_deadline_leaves_the_miss_that_it_revises() -> None:
    told = Told()
    told.truth(0)
    told.truth(100 * MS)
    told.fix(0, CLOSING_NS + 1, 1.0)
    assert told.totals() == (0, 1, None)


def test_a_report_has_time_to_come() -> None:
    told = Told(report_ns=500 * MS)
    for t_ns in range(0, 600 * MS, 100 * MS):
        told.truth(t_ns)
    assert "totals" not in told.values
    told.truth(600 * MS)
    assert told.totals() == (0, 1, None)


def test_a_track_that_is_reported_late_has_its_error() -> None:
    told = Told()
    told.truth(0)
    told.truth(100 * MS)
    told.track(0, CLOSING_NS, 2.0)
    assert told.values["track/ue1"][-1]["e"] == 2.0


def test_what_is_kept_for_late_reports_is_bounded() -> None:
    told = Told()
    for number in range(KEPT + 10):
        told.truth(number * 100 * MS)
    assert len(told.feed._sampled) == KEPT + 1
    told.fix(0, CLOSING_NS, 1.0)
    assert told.totals()[0] == 0, "too late to be compared with the truth"


@pytest.mark.parametrize("summary", [{}, {"fixes": 7, "fixes_missed": 2, "fix_error_3d_mean_m": 0.51234}])
def test_the_summary_has_the_last_word(summary: dict[str, Any]) -> None:
    told = Told()
    told.truth(0)
    told.fix(0, 30 * MS, 1.0)
    told.feed.conclude(summary, 20 * MS)
    assert told.totals() == ((7, 2, 0.5123) if summary else (1, 0, 1.0))
    assert told.values["totals"][-1]["t"] == 0.03
