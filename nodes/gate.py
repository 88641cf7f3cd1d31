"""The gate of a tracker: how far from its prediction a fix may be."""

import math


def chi_square_3_cdf(value: float) -> float:
    """Probability that chi-square with 3 degrees of freedom stays below a value ≥ 0 (closed form)."""
    return math.erf(math.sqrt(value / 2)) - math.sqrt(2 * value / math.pi) * math.exp(-value / 2)


def chi_square_3_quantile(probability: float) -> float:
    """Value that chi-square with 3 degrees of freedom stays below with a given probability.

    The squared Mahalanobis distance of a three-dimensional innovation is distributed so. 1.0 gives infinity:
    a gate that is always open.

    Raises:
        ValueError: for a probability outside (0, 1].
    """
    if not 0 < probability <= 1:
        raise ValueError(f"gate must be a probability in (0, 1], not {probability}")
    if probability == 1:
        return math.inf
    low, high = 0.0, 1.0
    while chi_square_3_cdf(high) < probability:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if chi_square_3_cdf(middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2
