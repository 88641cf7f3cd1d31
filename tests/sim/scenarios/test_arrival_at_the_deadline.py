"""A frame that arrives at the very deadline is in time."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_arrival_at_the_deadline() -> None:
    changes = {"deployment": TWO_BS, "duration": "90 ms", "fronthaul": {"default": {"latency": "48 ms"}}}
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.050000000 arrive bs1/ue1#0
        0.050000000 arrive bs2/ue1#0
        0.055000000 fix ue1#0 bs1,bs2
    """)
