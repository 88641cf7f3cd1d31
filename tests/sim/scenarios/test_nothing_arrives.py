"""A snapshot of which nothing arrives is missed, though the CU never heard of it."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_nothing_arrives() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "90 ms",
        "fronthaul": {"default": {"loss": {"kind": "bernoulli", "rate": "100 %"}}},
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.002000000 drop bs1/ue1#0 loss
        0.002000000 drop bs2/ue1#0 loss
        0.055000000 miss ue1#0
    """)
