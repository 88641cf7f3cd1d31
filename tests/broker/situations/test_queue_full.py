from broker import FronthaulLaw
from tests.broker.situations.story import MBPS, Story


def test_the_last_to_come_is_dropped() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS, queue_bytes=250))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0", "bs1/ue3#0", "bs1/ue4#0")
    story.offer(1, "bs1/ue5#0")
    assert story.told() == [
        "0 ms bs1/ue4#0 queue_full at bs1",
        "1 ms bs1/ue1#0 arrives",
        "2 ms bs1/ue2#0 arrives",
        "3 ms bs1/ue3#0 arrives",
        "4 ms bs1/ue5#0 arrives",
    ]


def test_one_too_large_for_the_queue_can_still_be_sent_at_once() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS, queue_bytes=10))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0")
    assert story.told() == ["0 ms bs1/ue2#0 queue_full at bs1", "1 ms bs1/ue1#0 arrives"]
