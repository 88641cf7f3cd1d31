"""A BS that dies between hearing and publishing publishes nothing."""

from tests.sim.kit import TWO_BS, events_of, lines


def test_bs_dies_while_processing() -> None:
    changes = {
        "deployment": TWO_BS,
        "duration": "90 ms",
        "faults": [{"at": "1 ms", "kind": "bs_down", "bs": "bs2", "for": "20 ms"}],
    }
    assert events_of(changes) == lines("""
        0.000000000 sample ue1#0
        0.001000000 bs_down bs2
        0.002000000 publish bs1/ue1#0 1424 bit
        0.002000000 drop bs2/ue1#0 bs_down
        0.003142400 arrive bs1/ue1#0
        0.021000000 bs_up bs2
        0.055000000 miss ue1#0
    """)
