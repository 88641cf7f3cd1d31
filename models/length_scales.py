"""Factors of covariances by how long the messages were that a fix was made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LengthScales = tuple[tuple[float, float], ...]
"""Numbers in a message, ascending, and the factor there."""


def read_scales(pairs: Iterable[Sequence[float]]) -> LengthScales:
    """Lengths of messages and factors, as ``model.json`` has them; raises ValueError or TypeError."""
    scales = tuple((float(count), float(scale)) for count, scale in pairs)
    counts = [count for count, _ in scales]
    if sorted(set(counts)) != counts or not all(
        0 < count < math.inf and 0 < scale < math.inf for count, scale in scales
    ):
        raise ValueError("short_scales must ascend and be positive")
    return scales


def scale_of_length(scales: Sequence[tuple[float, float]], lengths: Floats) -> Floats:
    """Factors ``[n]`` for messages of so many numbers; between those known, the logarithms lie on lines."""
    known, factor = np.array(scales).T
    result: Floats = np.exp(np.interp(np.log(np.maximum(lengths, 1)), np.log(known), np.log(factor)))
    return result
