from broker import BernoulliLoss, FronthaulLaw, NoLoss, Packet
from tests.broker.situations.story import MBPS, MS, Story


def test_a_lost_frame_has_taken_its_time_on_the_link() -> None:
    story = Story(FronthaulLaw(capacity_bps=MBPS, loss=BernoulliLoss(1.0)))
    story.offer(0, "bs1/ue1#0", "bs1/ue2#0")
    story.change(1.5, "bs1", loss=BernoulliLoss(0.0))
    assert story.told() == ["1 ms bs1/ue1#0 loss at bs1", "2 ms bs1/ue2#0 arrives"]


def test_it_hits_the_frames_that_it_would_have_hit_from_the_start() -> None:
    loss = BernoulliLoss(0.5)
    always, late = Story(FronthaulLaw(capacity_bps=MBPS, loss=loss)), Story(FronthaulLaw(capacity_bps=MBPS))
    for seq in range(50):
        always.offer(2 * seq, f"bs1/ue1#{seq}")
        late.offer(2 * seq, f"bs1/ue1#{seq}")
        late.change(2 * seq + 0.5, "bs1", loss=loss)
        late.change(2 * seq + 1.5, "bs1", loss=NoLoss())
    told = always.told()
    assert 10 < sum("loss" in line for line in told) < 40
    assert late.told() == told


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


def test_the_loss_of_one_is_told_in_time_though_the_one_before_is_still_travelling() -> None:
    law = FronthaulLaw(capacity_bps=MBPS, latency_ns=10 * MS, loss=BernoulliLoss(0.5))
    fronthaul = Story(law).fronthaul
    for seq in range(20):
        fronthaul.offer(Packet("bs1", "ue1", seq, 1_000, 0), 0)
    told = 0
    while (t_ns := fronthaul.next_event_ns()) is not None:
        fates = fronthaul.advance(t_ns)
        assert all(fate.t_ns == t_ns for fate in fates)
        told += len(fates)
    assert told == 20
