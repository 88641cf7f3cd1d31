"""A link that slows down before a frame is sent delivers it later."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_capacity_falls() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "190 ms",
        "faults": [{"at": "2 ms", "kind": "capacity", "link": "bs2", "to": "100 kbit/s", "for": "20 ms"}],
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 capacity bs2 100000
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.003142400 arrive bs1/ue1#0
        0.017240000 arrive bs2/ue1#0
        0.022000000 capacity bs2 10000000
        0.022240000 fix ue1#0 bs1,bs2
        0.100000000 sample ue1#1
        0.102000000 publish bs1/ue1#1 1456 bit
        0.102000000 publish bs2/ue1#1 1456 bit
        0.103145600 arrive bs1/ue1#1
        0.103145600 arrive bs2/ue1#1
        0.108145600 fix ue1#1 bs1,bs2
    """)
