import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.sequence import Place, SequenceMonitor


def test_in_order_there_is_nothing_to_tell() -> None:
    monitor = SequenceMonitor()
    assert [monitor.see(seq, 10 * seq) for seq in range(5)] == [(Place.NEXT, None)] * 5


def test_a_hole_is_told_once_and_may_be_filled_once() -> None:
    monitor = SequenceMonitor()
    monitor.see(0, 0)
    assert monitor.see(3, 30) == (Place.NEXT, (1, 2))
    assert monitor.see(2, 20) == (Place.OVERTAKEN, None)
    assert monitor.see(2, 20) == (Place.REPLAY, None)
    assert monitor.see(4, 40) == (Place.NEXT, None)


def test_a_stream_that_does_not_begin_at_zero_has_a_hole() -> None:
    assert SequenceMonitor().see(2, 20) == (Place.NEXT, (0, 1))


def test_an_old_number_with_a_new_time_is_a_restart() -> None:
    monitor = SequenceMonitor()
    monitor.see(0, 0)
    monitor.see(9, 90)
    assert monitor.see(1, 200) == (Place.RESTART, (0, 0))
    assert monitor.see(2, 210) == (Place.NEXT, None)
    assert monitor.see(8, 80) == (Place.REPLAY, None)


def test_what_is_far_behind_is_not_remembered() -> None:
    monitor = SequenceMonitor(window=3)
    monitor.see(9, 90)
    assert monitor.see(6, 60) == (Place.OVERTAKEN, None)
    assert monitor.see(6, 60) == (Place.REPLAY, None)
    assert monitor.see(5, 50) == (Place.FORGOTTEN, None)


def test_a_number_far_ahead_neither_fills_memory_nor_blocks_the_stream() -> None:
    monitor = SequenceMonitor(window=100)
    monitor.see(0, 0)
    assert monitor.see(2**62, 10) == (Place.NEXT, (1, 2**62 - 1))
    assert monitor._missing.bit_count() <= 100
    assert monitor.see(1, 20) == (Place.RESTART, (0, 0))
    assert monitor.see(2, 30) == (Place.NEXT, None)


def test_streams_that_begin_with_a_hole_take_little_memory() -> None:
    """A base station may invent UEs: of each stream a thousand missing numbers are remembered."""
    tracemalloc.start()
    try:
        monitors = [SequenceMonitor() for _ in range(100)]
        for monitor in monitors:
            monitor.see(5_000_000, 10)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert monitors[0].see(5_000_000 - 1024, 5) == (Place.OVERTAKEN, None)
    assert taken < 100 * 1024


@given(st.permutations(range(12)))
@settings(deadline=None)
def test_each_frame_is_taken_once_in_any_order(order: list[int]) -> None:
    """What a fronthaul may do to an honest stream: any order, each frame once, then all once more."""
    monitor = SequenceMonitor()
    told: set[int] = set()
    for seq in order:
        place, gap = monitor.see(seq, 10 * seq)
        assert place in (Place.NEXT, Place.OVERTAKEN)
        if gap is not None:
            told |= set(range(gap[0], gap[1] + 1))
    assert told == {seq for at, seq in enumerate(order) if any(before > seq for before in order[:at])}
    assert not monitor._missing
    assert all(monitor.see(seq, 10 * seq)[0] is Place.REPLAY for seq in order)
