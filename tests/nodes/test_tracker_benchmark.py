"""How much is gained by updating many UEs at once."""

from time import perf_counter

import numpy as np
import pytest

from nodes.tracker import Tracker

NUM_UE = 5000
NUM_FIXES = 10


@pytest.mark.benchmark
def test_5000_ues_at_once_beside_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(1)
    ues = [f"ue{at}" for at in range(NUM_UE)]
    fixes = generator.normal(size=(NUM_FIXES, NUM_UE, 3))
    spreads = np.repeat(np.eye(3)[None], NUM_UE, axis=0)
    together, alone = Tracker(), Tracker()
    begin = perf_counter()
    for step in range(NUM_FIXES):
        together.update(ues, [step * 10**8] * NUM_UE, fixes[step], spreads)
    between = perf_counter()
    some = ues[::50]
    for step in range(NUM_FIXES):
        for at, ue in enumerate(some):
            alone.update([ue], [step * 10**8], fixes[step, [50 * at]], spreads[:1])
    end = perf_counter()
    for ue in some:
        one, other = together.track(ue), alone.track(ue)
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one.covariance, other.covariance)
    per_fix_s = (between - begin) / (NUM_FIXES * NUM_UE)
    alone_s = (end - between) / (NUM_FIXES * len(some))
    with capsys.disabled():
        gain = alone_s / per_fix_s
        print(f"\n{per_fix_s * 1e6:.1f} us per fix at once, {gain:.0f} times less than one by one")
