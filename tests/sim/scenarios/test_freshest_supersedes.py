"""Under `freshest` a newer snapshot takes the place of a waiting one."""

from tests.sim.kit import events_of, lines, one_slow_link


def test_freshest_supersedes() -> None:
    assert events_of(one_slow_link(discipline="freshest"), "publish drop arrive") == lines("""
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.003142400 arrive bs1/ue1#0
        0.012000000 publish bs1/ue1#1 1456 bit
        0.012000000 publish bs2/ue1#1 1456 bit
        0.013145600 arrive bs1/ue1#1
        0.017240000 arrive bs2/ue1#0
        0.022000000 publish bs1/ue1#2 1456 bit
        0.022000000 publish bs2/ue1#2 1456 bit
        0.023145600 arrive bs1/ue1#2
        0.031800000 arrive bs2/ue1#1
        0.032000000 publish bs1/ue1#3 1456 bit
        0.032000000 publish bs2/ue1#3 1456 bit
        0.033145600 arrive bs1/ue1#3
        0.042000000 publish bs1/ue1#4 1456 bit
        0.042000000 publish bs2/ue1#4 1456 bit
        0.042000000 drop bs2/ue1#3 superseded
        0.043145600 arrive bs1/ue1#4
        0.046360000 arrive bs2/ue1#2
        0.052000000 publish bs1/ue1#5 1456 bit
        0.052000000 publish bs2/ue1#5 1456 bit
        0.053145600 arrive bs1/ue1#5
    """)
