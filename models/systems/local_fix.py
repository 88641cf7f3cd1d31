"""A base station's own position and covariance as nine numbers, for NumPy and torch alike.

They are what :class:`models.messages.GaussianMessage` sends in 96 bits: the offset from the site, m;
logarithms of deviations along the radial, the level and the third axis seen from the site; and inverse
hyperbolic sines of what couples these. Any nine numbers make a positive definite matrix.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from models.messages import (
    COUPLING_STEP,
    POSITION_STEP_M,
    SIGMA_CENTRE_M,
    SIGMA_STEP,
    GaussianMessage,
)
from models.quantiser import dequantise, quantise

FIX_BITS = GaussianMessage.bits


def sent_numbers(numbers: Any) -> Any:
    """What arrives of nine numbers ``[..., 9]`` in 96 bits."""
    xp = array_namespace(numbers)
    parts = (
        (numbers[..., :3], 16, POSITION_STEP_M),
        (numbers[..., 3:6], 8, SIGMA_STEP),
        (numbers[..., 6:], 8, COUPLING_STEP),
    )
    return xp.concat(
        [dequantise(quantise(part, bits, step), bits, step) for part, bits, step in parts], axis=-1
    )


def covariance_root(numbers: Any) -> tuple[Any, Any]:
    """Axes and lower triangular root of a covariance, both ``[..., 3, 3]``, from nine numbers ``[..., 9]``.

    With axes A and root R the covariance is A R Rᵀ Aᵀ, in m².
    """
    xp = array_namespace(numbers)
    offset = numbers[..., :3]
    radial = offset / xp.sqrt(xp.sum(offset * offset, axis=-1) + 1e-6)[..., None]
    x, y, z = radial[..., 0], radial[..., 1], radial[..., 2]
    across = xp.sqrt(x * x + y * y + 1e-9)
    zero = xp.zeros_like(x)
    level = xp.stack([-y / across, x / across, zero], axis=-1)
    third = xp.stack([-z * x / across, -z * y / across, across], axis=-1)
    axes = xp.stack([radial, level, third], axis=-1)
    sigma = SIGMA_CENTRE_M * 2.0 ** numbers[..., 3:6]
    grown = xp.exp(numbers[..., 6:])
    coupling = (grown - 1 / grown) / 2  # torch exports no sinh
    a, b, c = sigma[..., 0], sigma[..., 1], sigma[..., 2]
    rows = [
        xp.stack([a, zero, zero], axis=-1),
        xp.stack([coupling[..., 0] * b, b, zero], axis=-1),
        xp.stack([coupling[..., 1] * c, coupling[..., 2] * c, c], axis=-1),
    ]
    return axes, xp.stack(rows, axis=-2)
