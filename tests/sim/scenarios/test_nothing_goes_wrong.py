"""One snapshot at two BSs: every step at its computed time."""

from tests.sim.kit import TWO_BS, events_of, lines

# 1,424 bit take 142.4 us at 10 Mbit/s and travel for 1 ms; BSs process for 2 ms and the CU for 5 ms.


def test_nothing_goes_wrong() -> None:
    changes = {"deployment": TWO_BS, "duration": "90 ms"}
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.003142400 arrive bs1/ue1#0
        0.003142400 arrive bs2/ue1#0
        0.008142400 fix ue1#0 bs1,bs2
    """)
