from broker import FronthaulLaw
from tests.broker.situations.story import MS, Story


def test_a_shorter_way_lets_a_frame_overtake() -> None:
    story = Story(FronthaulLaw(latency_ns=5 * MS))
    story.offer(0, "bs1/ue1#0")
    story.change(1, "bs1", latency_ns=1 * MS)
    story.offer(1, "bs1/ue1#1")
    assert story.told() == ["2 ms bs1/ue1#1 arrives", "5 ms bs1/ue1#0 arrives"]


def test_unless_order_is_kept() -> None:
    story = Story(FronthaulLaw(latency_ns=5 * MS, keep_order=True))
    story.offer(0, "bs1/ue1#0")
    story.change(1, "bs1", latency_ns=1 * MS)
    story.offer(1, "bs1/ue1#1")
    story.offer(6, "bs1/ue1#2")
    assert story.told() == [
        "5 ms bs1/ue1#0 arrives",
        "5 ms bs1/ue1#1 arrives",
        "7 ms bs1/ue1#2 arrives",
    ]
