"""A burst loses every frame of one link while it lasts."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_loss_burst() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "390 ms",
        "faults": [{"at": "100 ms", "kind": "loss_burst", "link": "bs2", "rate": "100 %", "for": "200 ms"}],
    }
    assert events_of(changes, "drop loss arrive fix miss") == lines("""
        0.003142400 arrive bs1/ue1#0
        0.003142400 arrive bs2/ue1#0
        0.008142400 fix ue1#0 bs1,bs2
        0.100000000 loss bs2 bernoulli 1
        0.102145600 drop bs2/ue1#1 loss
        0.103145600 arrive bs1/ue1#1
        0.155000000 miss ue1#1
        0.202145600 drop bs2/ue1#2 loss
        0.203145600 arrive bs1/ue1#2
        0.255000000 miss ue1#2
        0.300000000 loss bs2 none 0
        0.303145600 arrive bs1/ue1#3
        0.303145600 arrive bs2/ue1#3
        0.308145600 fix ue1#3 bs1,bs2
    """)
