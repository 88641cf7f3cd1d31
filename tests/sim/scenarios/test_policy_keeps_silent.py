"""A BS whose policy keeps silent owes a frame and drops it itself."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_policy_keeps_silent() -> None:
    changes = {"deployment": TWO_BS, "duration": "90 ms"}
    assert events_of(changes, policy=lambda heard: None if heard.bs == "bs2" else heard.payload) == lines("""
        0.000000000 sample ue1#0
        0.000000000 drop bs2/ue1#0 silent
        0.002000000 publish bs1/ue1#0 1424 bit
        0.003142400 arrive bs1/ue1#0
        0.055000000 miss ue1#0
    """)
