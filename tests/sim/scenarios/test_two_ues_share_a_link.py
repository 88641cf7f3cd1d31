"""Two UEs sampled at once: their frames wait for one another on the BSs' links."""

from tests.sim.kit import TWO_BS, events_of, lines, walking_from


def test_two_ues_share_a_link() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "90 ms",
        "ues": {"ue1": walking_from(80), "ue2": walking_from(70)},
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.000000000 sample ue2#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs1/ue2#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.002000000 publish bs2/ue2#0 1424 bit
        0.003142400 arrive bs1/ue1#0
        0.003142400 arrive bs2/ue1#0
        0.003284800 arrive bs1/ue2#0
        0.003284800 arrive bs2/ue2#0
        0.008142400 fix ue1#0 bs1,bs2
        0.008284800 fix ue2#0 bs1,bs2
    """)
