"""What a link tells of itself while frames are inside, and how long each of them has waited."""

from typing import Any

import pytest

from broker import Fronthaul, FronthaulLaw, FronthaulLink, Packet
from broker.packet import in_order
from tests.broker.situations.story import MBPS, MS, Story


def test_what_waits_what_is_sent_and_what_travels() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS, latency_ns=5 * MS))
    assert story.fronthaul.utilisation()["bs1"] == 0.0
    story.offer(1, "bs1/ue1#0", "bs1/ue2#0", "bs1/ue3#0", bits=2_000)
    seen = []
    for t_ms in (2, 4, 7, 9, 20):
        story.fronthaul.advance_clock(t_ms * MS)
        link = story.fronthaul.link("bs1")
        seen.append((link.queued_bits, link.counts().in_flight, link.counts().delivered))
    assert seen == [(4_000, 3, 0), (2_000, 3, 0), (0, 3, 0), (0, 2, 1), (0, 0, 3)]
    assert story.fronthaul.utilisation()["bs1"] == pytest.approx(6 / 20)
    counts = story.fronthaul.link("bs1").counts()
    assert (counts.sent_bits, counts.delivered_bits) == (6_000, 6_000)


@pytest.mark.parametrize("change", [{"up": False}, {"capacity_bps": None}])
def test_sending_that_ends_before_its_time_is_added_to_what_was_sent_before(change: dict[str, Any]) -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0")
    story.change(1.5, "bs1", **change)
    story.told(until_ms=2)
    assert story.fronthaul.utilisation()["bs1"] == 0.75


def test_a_link_is_up_when_neither_plan_nor_hand_keeps_it_down() -> None:
    story = Story(FronthaulLaw(outages=((2 * MS, 4 * MS),)))
    up = []
    for t_ms in (1, 2, 3, 4, 5, 6):
        if t_ms in (3, 6):
            story.change(t_ms, "bs1", up=t_ms == 6)
        story.fronthaul.advance_clock(t_ms * MS)
        up.append(story.fronthaul.link("bs1").is_up)
    assert up == [True, False, False, False, False, True]


def test_a_link_whose_plan_begins_with_an_outage_is_down_from_the_start() -> None:
    assert not FronthaulLink("bs1", FronthaulLaw(outages=((0, MS),)), seed=1).is_up
    assert FronthaulLink("bs1", FronthaulLaw(outages=((1, MS),)), seed=1).is_up


def test_what_has_happened_unasked_is_kept_until_it_is_asked_for() -> None:
    link = FronthaulLink("bs1", FronthaulLaw(latency_ns=MS), seed=1)
    link.offer(Packet("bs1", "ue1", 0, 100, 0), 0)
    assert (link.next_event_ns(), link.unclaimed) == (MS, 0)
    link.catch_up(3 * MS)
    link.catch_up(2 * MS)  # which it has passed already
    assert (link.next_event_ns(), link.unclaimed) == (MS, 1)
    assert [fate.t_ns for fate in link.advance(3 * MS)] == [MS]
    assert (link.next_event_ns(), link.unclaimed) == (None, 0)


def test_waiting_is_told_of_the_delivered_and_the_dropped_alike() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0", "bs1/ue3#0")
    story.change(1.25, "bs1", up=False)
    fates = {fate.packet.ue: fate for fate in story.fronthaul.advance(10 * MS)}
    assert {ue: (fate.cause, fate.queued_ns / MS) for ue, fate in fates.items()} == {
        "ue1": (None, 0.0),
        "ue2": ("link_down", 1.0),
        "ue3": ("link_down", 1.25),
    }


def test_who_is_superseded_has_waited_until_then() -> None:
    link = FronthaulLink("bs1", FronthaulLaw(capacity_bps=MBPS, discipline="freshest"), seed=1)
    link.offer(Packet("bs1", "ue1", 0, 1_000, 0), 0)
    link.offer(Packet("bs1", "ue1", 1, 1_000, MS // 4), MS // 4)
    (fate,) = link.offer(Packet("bs1", "ue1", 2, 1_000, MS // 2), MS // 2)
    assert (fate.packet.seq, fate.cause, fate.queued_ns) == (1, "superseded", MS // 4)
    assert [fate.queued_ns for fate in link.advance(10 * MS)] == [0, MS // 2]


def test_waiting_on_one_segment_after_the_other_adds_up() -> None:
    """Each of three waits 1 ms longer than the last outside, and as long again for the slower trunk."""
    tree = {"trunk": (FronthaulLaw(capacity_bps=MBPS // 2), None), "bs1": (FronthaulLaw(MBPS), "trunk")}
    fronthaul = Fronthaul(tree, {"bs1": "bs1"}, seed=1)
    for seq in range(3):
        fronthaul.offer(Packet("bs1", "ue1", seq, 1_000, 0), 0)
    fates = sorted(fronthaul.advance(100 * MS), key=in_order)
    assert [(fate.t_ns / MS, fate.queued_ns / MS) for fate in fates] == [(3, 0), (5, 1 + 1), (7, 2 + 2)]
    # Each frame is counted once, however many segments it crosses.
    for counts in (fronthaul.counts(), *fronthaul.link_counts().values()):
        assert (counts.sent, counts.delivered) == (3, 3)
        assert (counts.sent_bits, counts.delivered_bits) == (3_000, 3_000)


@pytest.mark.parametrize("up_again_ms", [1.5, 1.75])
def test_what_a_bucket_had_saved_for_a_frame_that_is_cut_off_is_there_for_the_next(
    up_again_ms: float,
) -> None:
    """8 Mbit/s fill a bucket of 1,000 bytes in 1 ms, whatever becomes of those who wait for it."""
    story = Story(FronthaulLaw(capacity_bps=8 * MBPS, burst_bytes=1_000))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0", "bs1/ue3#0", bits=8_000)
    story.change(1.5, "bs1", up=False)
    story.change(up_again_ms, "bs1", up=True)
    story.offer(up_again_ms, "bs1/ue4#0", bits=8_000)
    assert story.told() == [
        "0 ms bs1/ue1#0 arrives",
        "1 ms bs1/ue2#0 arrives",
        "1.5 ms bs1/ue3#0 link_down at bs1",
        "2 ms bs1/ue4#0 arrives",
    ]


def test_a_bucket_is_full_after_a_time_without_limits() -> None:
    story = Story(FronthaulLaw(capacity_bps=8 * MBPS, burst_bytes=1_000))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0", bits=8_000)
    story.change(0.25, "bs1", capacity_bps=None)
    story.change(0.5, "bs1", capacity_bps=8 * MBPS)
    story.offer(0.5, "bs1/ue3#0", "bs1/ue4#0", bits=8_000)
    assert story.told() == [
        "0 ms bs1/ue1#0 arrives",
        "0.25 ms bs1/ue2#0 arrives",
        "0.5 ms bs1/ue3#0 arrives",
        "1.5 ms bs1/ue4#0 arrives",
    ]


def test_latency_below_nothing_is_refused() -> None:
    link = FronthaulLink("bs1", FronthaulLaw(), seed=1)
    with pytest.raises(ValueError, match="latency_ns is -1, must not be negative"):
        link.change(0, latency_ns=-1)
    link.change(0, latency_ns=0)
