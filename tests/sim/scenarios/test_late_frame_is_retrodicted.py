"""A late frame revises the fix of its snapshot if the policy lets it in."""

import pytest

from tests.sim.kit import QUIET, TWO_BS, events_of, lines, run_quietly


def test_late_frame_is_retrodicted() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "90 ms",
        "fronthaul": {
            "default": {"capacity": "10 Mbit/s", "latency": "1 ms"},
            "links": {"bs2": {"capacity": "20 kbit/s"}},
        },
        "cu": {"deadline": "50 ms", "min_bs": 1, "processing": "5 ms", "late": "retrodict"},
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 publish bs2/ue1#0 1424 bit
        0.003142400 arrive bs1/ue1#0
        0.055000000 fix ue1#0 bs1
        0.074200000 arrive bs2/ue1#0
        0.079200000 revise ue1#0 bs1,bs2
    """)


@pytest.mark.parametrize(("duration", "used"), [("90 ms", 2), ("70 ms", 0)])
def test_late_frame_makes_a_fix_with_those_that_were_too_few(duration: str, used: int) -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": duration,
        "fronthaul": {
            "default": {"capacity": "10 Mbit/s", "latency": "1 ms"},
            "links": {"bs2": {"capacity": "20 kbit/s"}},
        },
        "cu": QUIET["cu"] | {"late": "retrodict"},
    }
    frames = run_quietly(changes).frames
    assert sum(frames["used"].to_pylist()) == used
