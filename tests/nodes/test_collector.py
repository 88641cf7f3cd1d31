"""One situation per test: what arrives, and word by word what happens."""

from textwrap import dedent

import numpy as np
import pytest

from nodes.collector import Collector
from nodes.cu_policy import CuPolicy
from tests.nodes.stories import MS, frame, play, tell

RETRODICT = CuPolicy(late="retrodict", horizon_ns=500 * MS)


def happens(story: str, expected: str, **how: object) -> None:
    assert play(dedent(story), **how) == dedent(expected).strip()  # type: ignore[arg-type]


def test_all_arrive() -> None:
    happens(
        """
        10 bs2/ue1#0@0
        11 bs1/ue1#0@0
        14 bs3/ue1#0@0
        """,
        """
        10 bs2/ue1#0@0 accepted
        11 bs1/ue1#0@0 accepted
        14 bs3/ue1#0@0 completes
        14 ue1@0 closes: bs1,bs2,bs3
        """,
    )


def test_one_is_missing_at_the_deadline() -> None:
    happens(
        """
        10 bs2/ue1#0@0
        11 bs3/ue1#0@0
        """,
        """
        10 bs2/ue1#0@0 accepted
        11 bs3/ue1#0@0 accepted
        50 ue1@0 closes: bs2,bs3
        """,
    )


def test_one_arrives_at_the_deadline_itself() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        50 bs2/ue1#0@0
        """,
        """
        10 bs1/ue1#0@0 accepted
        50 bs2/ue1#0@0 accepted
        50 ue1@0 closes: bs1,bs2
        """,
    )


def test_one_is_late() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        51 bs2/ue1#0@0
        """,
        """
        10 bs1/ue1#0@0 accepted
        50 ue1@0 closes: bs1
        51 bs2/ue1#0@0 late
        """,
    )


def test_all_are_late() -> None:
    happens(
        """
        51 bs1/ue1#0@0
        52 bs2/ue1#0@0
        """,
        """
        51 bs1/ue1#0@0 late
        52 bs2/ue1#0@0 late
        """,
    )


def test_late_frames_retrodict() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        60 bs3/ue1#0@0
        90 bs2/ue1#0@0
        """,
        """
        10 bs1/ue1#0@0 accepted
        50 ue1@0 closes: bs1
        60 bs3/ue1#0@0 revises
        60 ue1@0 closes again (1): bs1,bs3
        90 bs2/ue1#0@0 revises
        90 ue1@0 closes again (2): bs1,bs2,bs3
        """,
        policy=RETRODICT,
    )


def test_late_frames_of_the_same_time_make_one_revision() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        60 bs3/ue1#0@0
        60 bs2/ue1#0@0
        """,
        """
        10 bs1/ue1#0@0 accepted
        50 ue1@0 closes: bs1
        60 bs3/ue1#0@0 revises
        60 bs2/ue1#0@0 revises
        60 ue1@0 closes again (1): bs1,bs2,bs3
        """,
        policy=RETRODICT,
    )


def test_all_are_late_and_retrodict() -> None:
    happens(
        """
        60 bs1/ue1#0@0
        70 bs2/ue1#0@0
        """,
        """
        60 bs1/ue1#0@0 revises
        60 ue1@0 closes: bs1
        70 bs2/ue1#0@0 revises
        70 ue1@0 closes again (1): bs1,bs2
        """,
        policy=RETRODICT,
    )


def test_beyond_the_horizon_late_frames_are_dropped_all_the_same() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        550 bs2/ue1#0@0
        551 bs3/ue1#0@0
        """,
        """
        10 bs1/ue1#0@0 accepted
        50 ue1@0 closes: bs1
        550 bs2/ue1#0@0 revises
        550 ue1@0 closes again (1): bs1,bs2
        551 bs3/ue1#0@0 late
        """,
        policy=RETRODICT,
    )


def test_a_frame_comes_twice() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        12 bs1/ue1#0@0
        70 bs1/ue1#0@0
        """,
        """
        10 bs1/ue1#0@0 accepted
        12 bs1/ue1#0@0 refused (duplicate)
        50 ue1@0 closes: bs1
        70 bs1/ue1#0@0 refused (duplicate)
        """,
        policy=RETRODICT,
    )


def test_one_is_overtaken_by_more_than_are_remembered() -> None:
    happens(
        """
        1110 bs1/ue1#1100@1100
        1111 bs1/ue1#2@2
        1112 bs1/ue1#3@1100
        1113 bs1/ue1#4@1090
        """,
        """
        1110 bs1/ue1 misses #0-1099
        1110 bs1/ue1#1100@1100 accepted
        1111 bs1/ue1#2@2 late
        1112 bs1/ue1#3@1100 refused (duplicate)
        1113 bs1/ue1#4@1090 refused (duplicate)
        1150 ue1@1100 closes: bs1
        """,
    )


def test_an_old_frame_is_replayed_under_a_new_number() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        110 bs1/ue1#1@100
        120 bs1/ue1#2@100
        130 bs1/ue1#3@0
        """,
        """
        10 bs1/ue1#0@0 accepted
        50 ue1@0 closes: bs1
        110 bs1/ue1#1@100 accepted
        120 bs1/ue1#2@100 refused (duplicate)
        130 bs1/ue1#3@0 refused (duplicate)
        150 ue1@100 closes: bs1
        """,
    )


def test_a_bs_dies_and_returns_counting_on() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        11 bs2/ue1#0@0
        110 bs1/ue1#1@100
        210 bs1/ue1#2@200
        211 bs2/ue1#1@200
        """,
        """
        10 bs1/ue1#0@0 accepted
        11 bs2/ue1#0@0 completes
        11 ue1@0 closes: bs1,bs2
        110 bs1/ue1#1@100 accepted
        150 ue1@100 closes: bs1
        210 bs1/ue1#2@200 accepted
        211 bs2/ue1#1@200 completes
        211 ue1@200 closes: bs1,bs2
        """,
        bss="bs1 bs2",
    )


def test_a_bs_dies_and_returns_counting_from_the_start() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        110 bs1/ue1#1@100
        210 bs1/ue1#0@200
        310 bs1/ue1#1@300
        """,
        """
        10 bs1/ue1#0@0 completes
        10 ue1@0 closes: bs1
        110 bs1/ue1#1@100 completes
        110 ue1@100 closes: bs1
        210 bs1/ue1#0@200 completes
        210 ue1@200 closes: bs1
        310 bs1/ue1#1@300 completes
        310 ue1@300 closes: bs1
        """,
        bss="bs1",
    )


def test_a_gap_is_told() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        310 bs1/ue1#3@300
        311 bs2/ue1#2@300
        """,
        """
        10 bs1/ue1#0@0 accepted
        50 ue1@0 closes: bs1
        310 bs1/ue1 misses #1-2
        310 bs1/ue1#3@300 accepted
        311 bs2/ue1 misses #0-1
        311 bs2/ue1#2@300 completes
        311 ue1@300 closes: bs1,bs2
        """,
        bss="bs1 bs2",
    )


def test_one_frame_overtakes_another() -> None:
    happens(
        """
        31 bs1/ue1#1@20
        32 bs1/ue1#0@0
        33 bs1/ue1#0@0
        """,
        """
        31 bs1/ue1 misses #0-0
        31 bs1/ue1#1@20 completes
        31 ue1@20 closes: bs1
        32 bs1/ue1#0@0 completes
        32 ue1@0 closes: bs1
        33 bs1/ue1#0@0 refused (duplicate)
        """,
        bss="bs1",
    )


def test_two_ues_interleaved() -> None:
    happens(
        """
        10 bs1/ue1#0@0
        11 bs1/ue2#0@5
        12 bs2/ue2#0@5
        40 bs2/ue1#0@0
        41 bs1/ue2#1@35
        """,
        """
        10 bs1/ue1#0@0 accepted
        11 bs1/ue2#0@5 accepted
        12 bs2/ue2#0@5 completes
        12 ue2@5 closes: bs1,bs2
        40 bs2/ue1#0@0 completes
        40 ue1@0 closes: bs1,bs2
        41 bs1/ue2#1@35 accepted
        85 ue2@35 closes: bs1
        """,
        bss="bs1 bs2",
    )


def test_snapshots_of_one_time_close_in_the_order_of_ue_and_sample_time() -> None:
    happens(
        """
        10 bs1/ue2#0@0
        11 bs1/ue1#0@0
        50 bs1/ue3#0@20
        50 bs1/ue3#1@40
        50 bs2/ue3#0@40
        50 bs2/ue3#1@20
        """,
        """
        10 bs1/ue2#0@0 accepted
        11 bs1/ue1#0@0 accepted
        50 bs1/ue3#0@20 accepted
        50 bs1/ue3#1@40 accepted
        50 bs2/ue3#0@40 completes
        50 bs2/ue3#1@20 refused (duplicate)
        50 ue1@0 closes: bs1
        50 ue2@0 closes: bs1
        50 ue3@40 closes: bs1,bs2
        70 ue3@20 closes: bs1
        """,
        bss="bs1 bs2",
    )


def test_an_unknown_bs_and_a_clock_far_ahead_are_refused() -> None:
    happens(
        """
        10 bs9/ue1#0@0
        11 bs1/ue1#0@1010
        12 bs1/ue1#0@1012
        """,
        """
        10 bs9/ue1#0@0 refused (unknown_bs)
        11 bs1/ue1#0@1010 completes
        11 ue1@1010 closes: bs1
        12 bs1/ue1#0@1012 refused (future)
        """,
        bss="bs1",
    )


@pytest.mark.parametrize("late", ["drop", "retrodict"])
@pytest.mark.parametrize("seed", range(5))
def test_what_closes_when_does_not_depend_on_how_often_the_driver_asks(seed: int, late: str) -> None:
    generator = np.random.default_rng(seed)
    lines = []
    for seq in range(12):
        for bs in ("bs1", "bs2", "bs3"):
            arrival = 20 * seq + int(generator.integers(1, 90))
            lines.append((arrival, f"{arrival} {bs}/ue1#{seq}@{20 * seq}"))
    story = "\n".join(text for _, text in sorted(lines))
    policy = CuPolicy(late=late)  # type: ignore[arg-type]

    def closings(every_ms: int) -> list[str]:
        return [
            line for line in play(story, policy=policy, every_ms=every_ms).splitlines() if "closes" in line
        ]

    assert closings(1) == closings(7) == closings(10**6) == closings(0)


@pytest.mark.parametrize("late", ["drop", "retrodict"])
def test_memory_does_not_grow(late: str) -> None:
    policy = CuPolicy(late=late, horizon_ns=100 * MS)  # type: ignore[arg-type]
    collector = Collector(["bs1", "bs2"], policy)
    for seq in range(500):
        bss = ("bs1", "bs2") if seq % 2 else ("bs1",)
        for bs in bss:
            collector.receive(frame(f"{bs}/ue1#{seq}@{10 * seq}"), (10 * seq + 5) * MS)
        collector.closed((10 * seq + 6) * MS)
    assert len(collector._gathering) <= 20
    assert len(collector._deadlines) <= 20
    assert len(collector._memories) <= 20
    collector.closed(10**12)
    assert not collector._gathering
    assert not collector._memories
    assert collector.next_deadline_ns() is None


def test_next_deadline_is_that_of_the_first_open_snapshot() -> None:
    collector = Collector(["bs1", "bs2"], CuPolicy())
    assert collector.next_deadline_ns() is None
    collector.receive(frame("bs1/ue1#0@20"), 21 * MS)
    collector.receive(frame("bs1/ue2#0@0"), 22 * MS)
    assert collector.next_deadline_ns() == 50 * MS
    collector.receive(frame("bs2/ue2#0@0"), 23 * MS)
    assert collector.next_deadline_ns() == 23 * MS  # closed: to be asked for at once
    assert [tell(snapshot) for snapshot in collector.closed(23 * MS)] == ["23 ue2@0 closes: bs1,bs2"]
    assert collector.next_deadline_ns() == 70 * MS


def test_open_are_those_that_have_begun_and_not_closed_yet() -> None:
    collector = Collector(["bs1", "bs2"], RETRODICT)

    def opened(t_ms: int, *words: str) -> list[int]:
        for each in words:
            collector.receive(frame(each), t_ms * MS)
        return [collector.open_at(sample_ms * MS) for sample_ms in (0, 20)]

    assert opened(10) == [0, 0]
    assert opened(10, "bs1/ue1#0@0", "bs1/ue2#0@0", "bs2/ue3#0@0") == [3, 0]
    assert opened(22, "bs2/ue1#0@0", "bs1/ue1#1@20") == [2, 1]  # ue1 is complete
    assert opened(51) == [2, 1]
    collector.closed(51 * MS)
    assert opened(51) == [0, 1]
    assert opened(60, "bs2/ue2#0@0") == [0, 1]  # which revises one that has closed
    collector.closed(10**12)
    assert opened(10**6) == [0, 0]


def test_streams_that_begin_anew_are_counted() -> None:
    collector = Collector(["bs1", "bs2"], CuPolicy())
    restarts = []
    for t_ms, words in enumerate(("bs1/ue1#0@0", "bs1/ue1#1@100", "bs1/ue1#0@200", "bs2/ue1#0@200")):
        collector.receive(frame(words), (100 * t_ms + 201) * MS)
        restarts.append(collector.restarts)
    assert restarts == [0, 0, 1, 1]


def test_what_has_closed_is_due_since_the_first_of_it_closed() -> None:
    collector = Collector(["bs1"], CuPolicy())
    for seq, t_ms in enumerate((21, 23, 26)):
        collector.receive(frame(f"bs1/ue1#{seq}@{t_ms - 10}"), t_ms * MS)
        assert collector.next_deadline_ns() == 21 * MS
    assert [snapshot.t_close_ns // MS for snapshot in collector.closed(26 * MS)] == [21, 23, 26]
    assert collector.next_deadline_ns() is None


def test_time_does_not_go_backwards() -> None:
    collector = Collector(["bs1"], CuPolicy())
    collector.closed(5)
    with pytest.raises(ValueError, match="time goes backwards: 4 ns after 5 ns"):
        collector.receive(frame("bs1/ue1#0@0"), 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deadline_ns": -1}, "deadline_ns must be at least 0, not -1"),
        ({"min_bs": 0}, "min_bs must be at least 1, not 0"),
        ({"late": "refuse"}, "late must be one of drop, retrodict, not 'refuse'"),
    ],
)
def test_policies_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CuPolicy(**changes)  # type: ignore[arg-type]
