"""Quantiles in bounded memory against those of all numbers."""

import math

import numpy as np
import pytest

from sim.quantile_sketch import QuantileSketch


def sketch_of(seconds: list[float]) -> QuantileSketch:
    sketch = QuantileSketch()
    for each in seconds:
        sketch.add(each)
    return sketch


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.99, 1.0])
def test_a_quantile_is_at_most_one_per_cent_too_long(probability: float) -> None:
    seconds = np.random.default_rng(1).lognormal(-7, 2, 2000)
    exact = float(np.sort(seconds)[math.ceil(probability * 2000) - 1])
    found = sketch_of(seconds.tolist()).quantile(probability)
    assert found is not None
    assert exact <= found <= 1.01 * exact * (1 + 1e-9)


def test_nothing_is_longer_than_the_longest() -> None:
    sketch = sketch_of([0.1, 0.123456])
    assert sketch.quantile(1.0) == sketch.max_s == 0.123456


def test_without_any_there_is_none_and_what_is_negative_took_no_time() -> None:
    assert sketch_of([]).figures("lag") == {"lag_p50_s": None, "lag_p99_s": None, "lag_max_s": None}
    assert sketch_of([-1.0, -2.0]).quantile(0.5) == 0.0
