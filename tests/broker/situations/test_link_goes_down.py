from broker import FronthaulLaw
from tests.broker.situations.story import MBPS, MS, Story


def test_what_waits_and_what_is_being_sent_is_dropped_and_what_travels_arrives() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS, latency_ns=5 * MS))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0", "bs1/ue3#0")
    story.change(1.5, "bs1", up=False)
    story.offer(2, "bs1/ue1#1")
    story.change(3, "bs1", up=True)
    story.offer(3, "bs1/ue1#2")
    assert story.told() == [
        "1.5 ms bs1/ue2#0 link_down at bs1",
        "1.5 ms bs1/ue3#0 link_down at bs1",
        "2 ms bs1/ue1#1 link_down at bs1",
        "6 ms bs1/ue1#0 arrives",
        "9 ms bs1/ue1#2 arrives",
    ]


def test_sending_in_vain_was_sending_too() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS))
    story.offer(0, "bs1/ue1#0")
    story.change(0.5, "bs1", up=False)
    story.told(until_ms=2)
    assert story.fronthaul.utilisation()["bs1"] == 0.25


def test_a_frame_whose_last_bit_leaves_as_the_link_goes_down_has_made_it() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS))
    story.offer(0, "bs1/ue1#0")
    story.change(1, "bs1", up=False)
    assert story.told() == ["1 ms bs1/ue1#0 arrives"]


def test_the_neighbours_link_stays_up() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS))
    story.change(0, "bs1", up=False)
    story.offer(1, "bs1/ue1#0", "bs2/ue1#0")
    assert story.told() == ["1 ms bs1/ue1#0 link_down at bs1", "2 ms bs2/ue1#0 arrives"]
