"""An outage takes what is on the link, and what comes while it lasts."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_link_outage() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "190 ms",
        "fronthaul": {
            "default": {"capacity": "10 Mbit/s", "latency": "1 ms"},
            "links": {"bs2": {"capacity": "100 kbit/s"}},
        },
        "faults": [{"at": "10 ms", "kind": "link_outage", "link": "bs2", "for": "200 ms"}],
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.003142400 arrive bs1/ue1#0
        0.010000000 link_down bs2
        0.010000000 drop bs2/ue1#0 link_down
        0.055000000 miss ue1#0
        0.100000000 sample ue1#1
        0.102000000 publish bs1/ue1#1 1456 bit
        0.102000000 publish bs2/ue1#1 1456 bit
        0.102000000 drop bs2/ue1#1 link_down
        0.103145600 arrive bs1/ue1#1
        0.155000000 miss ue1#1
    """)
