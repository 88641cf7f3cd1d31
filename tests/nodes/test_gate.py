import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.gate import chi_square_3_cdf, chi_square_3_quantile


@pytest.mark.parametrize(
    ("probability", "quantile"),
    # From printed tables of chi-square with 3 degrees of freedom.
    [(0.5, 2.366), (0.9, 6.251), (0.95, 7.815), (0.99, 11.345), (0.999, 16.266), (0.9999, 21.108)],
)
def test_quantiles_are_those_of_printed_tables(probability: float, quantile: float) -> None:
    assert chi_square_3_quantile(probability) == pytest.approx(quantile, abs=6e-4)


@given(st.floats(1e-6, 1 - 1e-9))
@settings(deadline=None)
def test_quantile_undoes_the_distribution(probability: float) -> None:
    assert chi_square_3_cdf(chi_square_3_quantile(probability)) == pytest.approx(probability, rel=1e-6)


def test_certainty_is_a_gate_that_is_always_open() -> None:
    assert chi_square_3_quantile(1.0) == math.inf


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="gate must be a probability"):
        chi_square_3_quantile(probability)
