"""A snapshot with fewer BSs than the policy wants is missed at its deadline."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_too_few_bs() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "90 ms",
        "fronthaul": {
            "default": {"capacity": "10 Mbit/s", "latency": "1 ms"},
            "links": {"bs2": {"loss": {"kind": "bernoulli", "rate": "100 %"}}},
        },
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.002142400 drop bs2/ue1#0 loss
        0.003142400 arrive bs1/ue1#0
        0.055000000 miss ue1#0
    """)
