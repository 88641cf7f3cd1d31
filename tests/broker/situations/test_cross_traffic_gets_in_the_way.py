from broker import CrossTraffic, FronthaulLaw
from tests.broker.situations.story import MBPS, MS, Story


def test_a_frame_waits_for_a_strangers_packet_which_is_not_counted() -> None:
    law = FronthaulLaw(capacity_bps=MBPS, cross_traffic=CrossTraffic("constant", MBPS // 2, 1_250))
    story = Story(law)
    for k in range(40):
        story.offer(20 * k, f"bs1/ue1#{k}")
    waits_ms = {fate.queued_ns / MS for fate in story.fronthaul.advance(1_000 * MS)}
    assert len(waits_ms) == 1
    assert story.fronthaul.counts().sent == 40
    assert 0.5 < story.fronthaul.utilisation()["bs1"] < 0.56


def test_it_takes_room_in_the_queue() -> None:
    law = FronthaulLaw(
        capacity_bps=MBPS, queue_bytes=1_300, cross_traffic=CrossTraffic("constant", 5 * MBPS, 1_250)
    )
    story = Story(law)
    for k in range(1, 41):
        story.offer(20 * k, f"bs1/ue1#{k}")
    assert sum("queue_full" in line for line in story.told()) > 30
    assert story.fronthaul.utilisation()["bs1"] > 0.99


def test_an_outage_stops_it_too() -> None:
    law = FronthaulLaw(
        capacity_bps=MBPS, outages=((0, 500 * MS),), cross_traffic=CrossTraffic("poisson", MBPS // 2, 100)
    )
    story = Story(law)
    assert story.told(until_ms=499) == []
    assert story.fronthaul.link("bs1").cross_bits == 0
    story.told(until_ms=1_000)
    assert story.fronthaul.link("bs1").cross_bits > 0
