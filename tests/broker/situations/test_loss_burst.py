from broker import BernoulliLoss, FronthaulLaw
from tests.broker.situations.story import MBPS, Story


def test_a_lost_frame_has_taken_its_time_on_the_link() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS, loss=BernoulliLoss(1.0)))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0")
    story.change(1.5, "bs1", loss=BernoulliLoss(0.0))
    assert story.told() == ["1 ms bs1/ue1#0 loss at bs1", "2 ms bs1/ue2#0 arrives"]


def test_a_burst_begins_and_ends() -> None:
    story = Story(FronthaulLaw())
    story.offer(0, "bs1/ue1#0")
    story.change(1, "bs1", loss=BernoulliLoss(1.0))
    story.offer(1, "bs1/ue1#1")
    story.offer(2, "bs1/ue1#2")
    story.change(3, "bs1", loss=story.fronthaul.link("bs1").law.loss)
    story.offer(3, "bs1/ue1#3")
    assert story.told() == [
        "0 ms bs1/ue1#0 arrives",
        "1 ms bs1/ue1#1 loss at bs1",
        "2 ms bs1/ue1#2 loss at bs1",
        "3 ms bs1/ue1#3 arrives",
    ]
