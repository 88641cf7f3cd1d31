from broker import Fronthaul, FronthaulLaw, Packet
from tests.broker.situations.story import MBPS, MS, Story


def test_three_base_stations_queue_on_the_trunk_in_the_order_of_their_names() -> None:
    story = Story(FronthaulLaw(latency_ns=MS), trunk=FronthaulLaw(capacity_bps=MBPS, latency_ns=MS))
    story.offer(0, "bs3/ue1#0", "bs2/ue1#0", "bs1/ue1#0")
    assert story.told() == [
        "3 ms bs1/ue1#0 arrives",
        "4 ms bs2/ue1#0 arrives",
        "5 ms bs3/ue1#0 arrives",
    ]


def test_a_slow_own_segment_lets_others_pass_on_the_trunk() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS), trunk=FronthaulLaw(capacity_bps=2 * MBPS))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0", "bs1/ue3#0")
    story.offer(0.1, "bs2/ue1#0")
    assert story.told() == [
        "1.5 ms bs1/ue1#0 arrives",
        "2 ms bs2/ue1#0 arrives",
        "2.5 ms bs1/ue2#0 arrives",
        "3.5 ms bs1/ue3#0 arrives",
    ]


def test_a_full_trunk_drops_there_and_counts_once() -> None:
    story = Story(FronthaulLaw(), trunk=FronthaulLaw(capacity_bps=MBPS, queue_bytes=0))
    story.offer(0, "bs1/ue1#0", "bs2/ue1#0")
    assert story.told() == ["0 ms bs2/ue1#0 queue_full at trunk", "1 ms bs1/ue1#0 arrives"]
    counts = story.fronthaul.link_counts()
    assert counts["bs2"].delivered == 1
    assert counts["trunk"].dropped == {"queue_full": 1}
    assert story.fronthaul.counts().dropped == {"queue_full": 1}
    assert story.fronthaul.counts().sent == 2


def test_an_outage_of_the_trunk_hits_all() -> None:
    story = Story(FronthaulLaw(), trunk=FronthaulLaw())
    story.change(1, "trunk", up=False)
    story.offer(2, "bs1/ue1#0", "bs2/ue1#0")
    story.change(3, "trunk", up=True)
    story.offer(3, "bs3/ue1#0")
    assert story.told() == [
        "2 ms bs1/ue1#0 link_down at trunk",
        "2 ms bs2/ue1#0 link_down at trunk",
        "3 ms bs3/ue1#0 arrives",
    ]


def test_a_segment_of_segments() -> None:
    own, trunk = FronthaulLaw(latency_ns=MS), FronthaulLaw(capacity_bps=MBPS)
    tree = {"city": (trunk, None), "ring": (trunk, "city"), "bs1": (own, "ring"), "bs2": (own, "city")}
    fronthaul = Fronthaul(tree, {"bs1": "bs1", "bs2": "bs2"}, seed=1)
    assert fronthaul.segments == ("bs1", "bs2", "ring", "city")
    for bs in tree:
        if bs.startswith("bs"):
            fronthaul.offer(Packet(bs, "ue1", 0, 1000, 0), 0)
    fates = fronthaul.advance(10 * MS)
    assert [(fate.packet.bs, fate.t_ns // MS) for fate in fates] == [("bs2", 2), ("bs1", 3)]
