"""Frames of two BSs come one after the other out of a segment they share."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_shared_segment() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "90 ms",
        "fronthaul": {
            "shared": {"core": {"capacity": "1 Mbit/s", "latency": "1 ms", "members": ["bs1", "bs2"]}}
        },
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.004424000 arrive bs1/ue1#0
        0.005848000 arrive bs2/ue1#0
        0.010848000 fix ue1#0 bs1,bs2
    """)
