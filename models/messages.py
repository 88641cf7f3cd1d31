"""Small messages about one UE: a direction in 80 bits, and a Gaussian of its position in 96."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.music import Arrivals
from models.quantiser import dequantise, pack, quantise, unpack

Floats = NDArray[np.float64]
Indices = NDArray[np.uint16]

DIRECTION_STEP = 2.0**-15
LEVEL_STEP = 2.0**-9
"""In octaves, of standard deviations and SNR: they reach from 2^-64 to 2^64."""

POSITION_STEP_M = 2.0**-5
"""Positions reach a kilometre from their site along each axis."""
SIGMA_STEP = 2.0**-4
"""In octaves."""
SIGMA_CENTRE_M = 2.0
"""Standard deviations reach from 2^-8 to 2^8 of this: from 8 mm to 512 m."""
COUPLING_STEP = 2.0**-5
SMALLEST_VARIANCE_M2 = 1e-6

_LOWER = (np.array([1, 2, 2]), np.array([0, 0, 1]))


class DirectionMessage:
    """A peak of MUSIC in five numbers of 16 bits: k_y, k_z, logarithms of their deviations and of the SNR."""

    dims = 5
    number_bits = 16
    bits = dims * number_bits

    def indices(self, arrivals: Arrivals) -> Indices:
        """What is sent of arrivals ``[...]``: ``[..., 5]``."""
        k = np.stack([arrivals.k_y, arrivals.k_z], axis=-1)
        levels = np.log2(np.stack([arrivals.sigma_y, arrivals.sigma_z, arrivals.snr], axis=-1))
        both = [quantise(k, 16, DIRECTION_STEP), quantise(levels, 16, LEVEL_STEP)]
        return np.concatenate(both, axis=-1)

    def arrivals(self, indices: Indices) -> Arrivals:
        """What arrives of :meth:`indices`."""
        k = dequantise(indices[..., :2], 16, DIRECTION_STEP).astype(np.float64)
        levels = 2.0 ** dequantise(indices[..., 2:], 16, LEVEL_STEP).astype(np.float64)
        return Arrivals(k[..., 0], k[..., 1], levels[..., 0], levels[..., 1], levels[..., 2])

    def pack(self, indices: Indices) -> bytes:
        """The bits of one message, ``[5]``."""
        return pack(indices, self.number_bits)

    def unpack(self, payload: bytes) -> Indices:
        """The indices of one message; raises ValueError if it has another length."""
        return unpack(payload, self.dims, self.number_bits)


class GaussianMessage:
    """Mean and covariance of a position, as a base station estimates it by itself, in 96 bits.

    The mean comes first, relative to the site, as three numbers of 16 bits. Seen from the site it fixes three
    axes: radial, level and the third. In these the covariance has a Cholesky factor D (I + N), D diagonal and
    N strictly lower. The logarithms of D and the inverse hyperbolic sines of N follow, six numbers of 8 bits.
    What a site knows well, angles, and what it does not, the distance, lie along these axes: in others so few
    bits would mix them up.
    """

    bits = 3 * 16 + 6 * 8

    def indices(self, position_m: Floats, covariance_m2: Floats, site_m: Floats) -> Indices:
        """What is sent, ``[..., 9]``.

        Args:
            position_m: ``[..., 3]``, m; what lies outside of the range is sent as its border.
            covariance_m2: Symmetric and positive, ``[..., 3, 3]``, m^2.
            site_m: Where the base station stands, broadcasts against ``position_m``.
        """
        place = quantise(position_m - site_m, 16, POSITION_STEP_M)
        axes = _axes(dequantise(place, 16, POSITION_STEP_M).astype(np.float64))
        seen = axes.swapaxes(-1, -2) @ covariance_m2 @ axes
        factor = np.linalg.cholesky(seen + SMALLEST_VARIANCE_M2 * np.eye(3))
        sigma = np.diagonal(factor, axis1=-2, axis2=-1)
        coupling = (factor / sigma[..., None])[..., _LOWER[0], _LOWER[1]]
        return np.concatenate(
            [
                place,
                quantise(np.log2(sigma / SIGMA_CENTRE_M), 8, SIGMA_STEP),
                quantise(np.arcsinh(coupling), 8, COUPLING_STEP),
            ],
            axis=-1,
        )

    def gaussian(self, indices: Indices, site_m: Floats) -> tuple[Floats, Floats]:
        """Mean ``[..., 3]``, m, and covariance ``[..., 3, 3]``, m^2, that arrive of :meth:`indices`."""
        offset = dequantise(indices[..., :3], 16, POSITION_STEP_M).astype(np.float64)
        sigma = SIGMA_CENTRE_M * 2.0 ** dequantise(indices[..., 3:6], 8, SIGMA_STEP).astype(np.float64)
        coupling = np.sinh(dequantise(indices[..., 6:], 8, COUPLING_STEP).astype(np.float64))
        factor = np.broadcast_to(np.eye(3), (*sigma.shape, 3)).copy()
        factor[..., _LOWER[0], _LOWER[1]] = coupling
        root = _axes(offset) @ (sigma[..., None] * factor)
        return site_m + offset, root @ root.swapaxes(-1, -2)

    def sent(self, position_m: Floats, covariance_m2: Floats, site_m: Floats) -> tuple[Floats, Floats]:
        """What arrives of a Gaussian; arguments as of :meth:`indices`."""
        return self.gaussian(self.indices(position_m, covariance_m2, site_m), site_m)

    def pack(self, indices: Indices) -> bytes:
        """The twelve bytes of one message, ``[9]``."""
        return pack(indices[:3], 16) + pack(indices[3:], 8)

    def unpack(self, payload: bytes) -> Indices:
        """The indices of one message; raises ValueError if it has another length."""
        return np.concatenate([unpack(payload[:6], 3, 16), unpack(payload[6:], 6, 8)])


def product_of_gaussians(
    position_m: Floats, covariance_m2: Floats, present: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """What several independent Gaussians of one position say together.

    Args:
        position_m: ``[n, num_bs, 3]``, m.
        covariance_m2: ``[n, num_bs, 3, 3]``, m^2.
        present: Which of them count, ``[n, num_bs]``; at least one of each row.

    Returns:
        Mean ``[n, 3]``, m, and covariance ``[n, 3, 3]``, m^2.

    Raises:
        ValueError: Nothing is present in some row.
    """
    if not present.any(axis=-1).all():
        raise ValueError("a position that no base station says anything about")
    information = np.linalg.inv(covariance_m2) * present[..., None, None]
    covariance = np.linalg.inv(information.sum(axis=-3))
    weighted = (information @ np.where(present[..., None], position_m, 0.0)[..., None]).sum(axis=-3)
    return (covariance @ weighted)[..., 0], covariance


def _axes(offset_m: Any) -> Floats:
    """Columns are the radial axis, the level one beside it, and the third, ``[..., 3, 3]``."""
    radial = offset_m / np.linalg.norm(offset_m, axis=-1, keepdims=True)
    level = np.stack([-radial[..., 1], radial[..., 0], np.zeros_like(radial[..., 0])], axis=-1)
    level = level / np.linalg.norm(level, axis=-1, keepdims=True)
    return np.stack([radial, level, np.cross(radial, level)], axis=-1)
