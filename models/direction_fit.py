"""Fits of which kind directions are: a softmax over features, by expectation and gradient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.direction_update import ERRORS, shares

Floats = NDArray[np.float64]

STEPS = 500
RATE = 0.05
SHRINK = 1e-3
"""Weight of the squares of the weights."""


def fit_shares(features: Floats, error: Floats) -> Floats:
    """Weights ``[features, kinds]`` of :func:`shares` that make errors likeliest.

    What is followed is the gradient of the likelihood, which compares what kinds errors look like with what
    features say (a mixture of experts, one Gaussian each), with momentum and steps scaled as by Adam.

    Args:
        features: ``[n, features]``, the first one 1.
        error: Of k_y and k_z, found minus true, ``[n, 2]``.
    """
    likelihood = np.exp(-(error[:, None] ** 2 / (ERRORS**2)[:, None] / 2).sum(axis=-1)) / ERRORS**2 + 1e-300
    middle, width = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    middle[0], width[0] = 0, 1
    scaled = (features - middle) / width
    weights = np.zeros((features.shape[1], len(ERRORS)))
    momentum, power = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, STEPS + 1):
        expected = shares(scaled, weights)
        looks = expected * likelihood
        looks = looks / looks.sum(axis=1, keepdims=True)
        gradient = scaled.T @ (looks - expected) / len(scaled) - SHRINK * weights
        momentum = 0.9 * momentum + 0.1 * gradient
        power = 0.999 * power + 0.001 * gradient**2
        weights = weights + RATE * (momentum / (1 - 0.9**step)) / (np.sqrt(power / (1 - 0.999**step)) + 1e-9)
    result: Floats = weights / width[:, None]
    result[0] -= (middle[:, None] * result).sum(axis=0)
    return result
