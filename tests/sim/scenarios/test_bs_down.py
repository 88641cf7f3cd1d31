"""A BS that is down owes its frames but publishes nothing; the others are too few."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_bs_down() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "390 ms",
        "faults": [{"at": "100 ms", "kind": "bs_down", "bs": "bs2", "for": "200 ms"}],
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.003142400 arrive bs1/ue1#0
        0.003142400 arrive bs2/ue1#0
        0.008142400 fix ue1#0 bs1,bs2
        0.100000000 bs_down bs2
        0.100000000 sample ue1#1
        0.100000000 drop bs2/ue1#1 bs_down
        0.102000000 publish bs1/ue1#1 1456 bit
        0.103145600 arrive bs1/ue1#1
        0.155000000 miss ue1#1
        0.200000000 sample ue1#2
        0.200000000 drop bs2/ue1#2 bs_down
        0.202000000 publish bs1/ue1#2 1456 bit
        0.203145600 arrive bs1/ue1#2
        0.255000000 miss ue1#2
        0.300000000 bs_up bs2
        0.300000000 sample ue1#3
        0.302000000 publish bs1/ue1#3 1456 bit
        0.302000000 publish bs2/ue1#3 1456 bit
        0.303145600 arrive bs1/ue1#3
        0.303145600 arrive bs2/ue1#3
        0.308145600 fix ue1#3 bs1,bs2
    """)
