import pytest

from broker import FronthaulLaw
from tests.broker.situations.story import MBPS, MS, Story


def test_it_is_refused_and_nothing_changes() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS))
    story.offer(5, "bs1/ue1#0")
    story.fronthaul.advance(5 * MS)
    for attempt in (
        lambda: story.offer(4, "bs1/ue1#1"),
        lambda: story.offer(4, "bs2/ue1#1"),
        lambda: story.change(4, "bs1", up=False),
        lambda: story.told(until_ms=4),
    ):
        with pytest.raises(ValueError, match="cannot go back"):
            attempt()
    assert story.told() == ["6 ms bs1/ue1#0 arrives"]
    assert story.fronthaul.counts().sent == 1


def test_base_stations_may_be_offered_in_any_order_before_advancing() -> None:
    story = Story(FronthaulLaw(), trunk=FronthaulLaw(capacity_bps=MBPS))
    story.offer(5, "bs1/ue1#0")
    story.offer(3, "bs2/ue1#0")
    assert story.told() == ["4 ms bs2/ue1#0 arrives", "6 ms bs1/ue1#0 arrives"]
