from broker import CapacityTrace, FronthaulLaw
from tests.broker.situations.story import MBPS, MS, Story


def test_the_bits_that_are_left_go_at_the_new_capacity() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0")
    story.change(0.25, "bs1", capacity_bps=MBPS / 10)
    story.change(5.25, "bs1", capacity_bps=10 * MBPS)
    assert story.told() == ["5.275 ms bs1/ue1#0 arrives", "5.375 ms bs1/ue2#0 arrives"]


def test_a_trace_does_it_by_itself() -> None:
    trace = CapacityTrace((0, MS // 4, 21 * MS // 4), (MBPS, MBPS // 10, 10 * MBPS))
    story = Story(FronthaulLaw(capacity_bps=trace))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0")
    assert story.told() == ["5.275 ms bs1/ue1#0 arrives", "5.375 ms bs1/ue2#0 arrives"]


def test_without_capacity_it_holds_its_breath() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0")
    story.change(0.5, "bs1", capacity_bps=0)
    assert story.told(until_ms=60) == []
    assert story.fronthaul.next_event_ns() is None
    story.change(60, "bs1", capacity_bps=MBPS)
    assert story.told() == ["60.5 ms bs1/ue1#0 arrives", "61.5 ms bs1/ue2#0 arrives"]


def test_with_endless_capacity_everything_goes_at_once() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0")
    story.change(0.5, "bs1", capacity_bps=None)
    story.offer(0.7, "bs1/ue1#1")
    story.change(0.8, "bs1", capacity_bps=MBPS)
    story.offer(0.8, "bs1/ue1#2")
    assert story.told() == [
        "0.5 ms bs1/ue1#0 arrives",
        "0.5 ms bs1/ue2#0 arrives",
        "0.7 ms bs1/ue1#1 arrives",
        "1.8 ms bs1/ue1#2 arrives",
    ]


def test_a_trace_can_be_put_back_after_a_fault() -> None:
    trace = CapacityTrace((0, 10 * MS), (MBPS, 2 * MBPS))
    story = Story(FronthaulLaw(capacity_bps=trace))
    story.change(1, "bs1", capacity_bps=100)
    story.change(20, "bs1", capacity_bps=story.fronthaul.link("bs1").law.capacity_bps)
    story.offer(20, "bs1/ue1#0")
    assert story.told() == ["20.5 ms bs1/ue1#0 arrives"]
