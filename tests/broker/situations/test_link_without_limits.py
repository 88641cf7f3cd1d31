from broker import FronthaulLaw
from tests.broker.situations.story import Story


def test_frames_arrive_as_they_are_sent() -> None:
    story = Story(FronthaulLaw())
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0", bits=10**12)
    story.offer(3, "bs1/ue1#1")
    assert story.told() == ["0 ms bs1/ue1#0 arrives", "0 ms bs1/ue2#0 arrives", "3 ms bs1/ue1#1 arrives"]
