from broker import FronthaulLaw
from tests.broker.situations.story import MBPS, MS, Story


def test_down_from_start_until_before_stop() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS, outages=((5 * MS, 7 * MS), (9 * MS, 10 * MS))))
    story.offer(4, "bs1/ue1#0")
    story.offer(5, "bs1/ue1#1")
    story.offer(6.999, "bs1/ue1#2")
    story.offer(7, "bs1/ue1#3")
    story.offer(8.5, "bs1/ue1#4")
    story.offer(10, "bs1/ue1#5")
    assert story.told() == [
        "5 ms bs1/ue1#0 arrives",
        "5 ms bs1/ue1#1 link_down at bs1",
        "6.999 ms bs1/ue1#2 link_down at bs1",
        "8 ms bs1/ue1#3 arrives",
        "9 ms bs1/ue1#4 link_down at bs1",
        "11 ms bs1/ue1#5 arrives",
    ]


def test_a_link_brought_up_by_hand_waits_for_the_outage_to_end() -> None:
    story = Story(FronthaulLaw(outages=((0, 2 * MS),)))
    story.change(1, "bs1", up=True)
    story.offer(1, "bs1/ue1#0")
    story.offer(2, "bs1/ue1#1")
    assert story.told() == ["1 ms bs1/ue1#0 link_down at bs1", "2 ms bs1/ue1#1 arrives"]
