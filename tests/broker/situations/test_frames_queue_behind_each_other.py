from broker import FronthaulLaw
from tests.broker.situations.story import MBPS, MS, Story


def test_each_waits_for_the_one_before() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS, latency_ns=2 * MS))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0", "bs1/ue3#0")
    story.offer(10, "bs1/ue1#1")
    assert story.told() == [
        "3 ms bs1/ue1#0 arrives",
        "4 ms bs1/ue2#0 arrives",
        "5 ms bs1/ue3#0 arrives",
        "13 ms bs1/ue1#1 arrives",
    ]


def test_waiting_is_told_apart_from_sending_and_travelling() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS, latency_ns=2 * MS))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0")
    waits = [fate.queued_ns for fate in story.fronthaul.advance(9 * MS)]
    assert waits == [0, 1 * MS]
