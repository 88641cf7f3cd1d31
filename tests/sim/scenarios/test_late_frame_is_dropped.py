"""A frame after the deadline is late; the fix was made without it."""

from tests.sim.kit import TWO_BS, events_of, lines, run_quietly, walking_from


def test_late_frame_is_dropped() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "90 ms",
        "fronthaul": {
            "default": {"capacity": "10 Mbit/s", "latency": "1 ms"},
            "links": {"bs2": {"capacity": "20 kbit/s"}},
        },
        "cu": {"deadline": "50 ms", "min_bs": 1, "processing": "5 ms"},
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.003142400 arrive bs1/ue1#0
        0.055000000 fix ue1#0 bs1
        0.074200000 late bs2/ue1#0
    """)


def test_frames_that_more_than_a_thousand_overtook_are_late() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "1.3 s",
        "ues": {"ue1": walking_from(80, "1 kHz")},
        "faults": [{"kind": "latency", "link": "bs1", "to": "1.2 s", "at": "0 s", "for": "10 ms"}],
    }
    assert run_quietly(changes).summary["frames"]["dropped"] == {"late": 8}
