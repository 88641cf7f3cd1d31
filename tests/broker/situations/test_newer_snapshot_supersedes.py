from broker import FronthaulLaw, FronthaulLink, Packet
from tests.broker.situations.story import MBPS, MS, Story

SLOW = FronthaulLaw(capacity_bps=MBPS, discipline="freshest")


def test_only_the_freshest_waits_and_the_one_being_sent_is_finished() -> None:
    story = Story(SLOW)
    story.offer(0, "bs1/ue1#0")
    story.offer(0.2, "bs1/ue1#1")
    story.offer(0.4, "bs1/ue1#2")
    story.offer(0.6, "bs1/ue1#3")
    assert story.told() == [
        "0.4 ms bs1/ue1#1 superseded at bs1",
        "0.6 ms bs1/ue1#2 superseded at bs1",
        "1 ms bs1/ue1#0 arrives",
        "2 ms bs1/ue1#3 arrives",
    ]


def test_what_is_superseded_has_waited() -> None:
    link = FronthaulLink("bs1", SLOW, seed=1)
    for seq, t_ns in enumerate([0, MS // 4, 3 * MS // 4]):
        drops = link.offer(Packet("bs1", "ue1", seq, 1_000, t_ns), t_ns)
    assert [(fate.packet.seq, fate.cause, fate.queued_ns) for fate in drops] == [(1, "superseded", MS // 2)]


def test_it_keeps_the_place_so_that_a_busy_ue_is_not_starved() -> None:
    story = Story(SLOW)
    story.offer(0, "bs1/ue9#0", "bs1/ue1#0", "bs1/ue2#0")
    story.offer(0.5, "bs1/ue1#1")
    assert story.told() == [
        "0.5 ms bs1/ue1#0 superseded at bs1",
        "1 ms bs1/ue9#0 arrives",
        "2 ms bs1/ue1#1 arrives",
        "3 ms bs1/ue2#0 arrives",
    ]


def test_on_a_shared_segment_each_base_station_keeps_its_own() -> None:
    story = Story(FronthaulLaw(), trunk=SLOW)
    story.offer(0, "bs1/ue9#0", "bs1/ue1#0", "bs2/ue1#0", "bs1/ue1#1")
    story.offer(0.5, "bs1/ue9#1")
    assert story.told() == [
        "0.5 ms bs1/ue9#0 superseded at trunk",
        "1 ms bs1/ue1#0 arrives",
        "2 ms bs1/ue1#1 arrives",
        "3 ms bs1/ue9#1 arrives",
        "4 ms bs2/ue1#0 arrives",
    ]
