"""Channel estimation from pilots: LMMSE (3)–(4), with a covariance learned by long-term averaging."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex64]


def pilot_symbols(num_sc: int, root: int = 1) -> Complex:
    """Known pilot symbols of unit modulus, a Zadoff–Chu sequence cut to length, ``[num_sc]``."""
    length = num_sc | 1
    n = np.arange(num_sc)
    symbols: Complex = np.exp(-1j * np.pi * root * n * (n + 1) / length).astype(np.complex64)
    return symbols


def covariance(csi: NDArray[Any]) -> NDArray[np.complex128]:
    """Long-term spatial covariance of each base station and subcarrier.

    Args:
        csi: Channel realisations ``[samples, num_bs, num_slots, num_ant, num_sc]``.

    Returns:
        ``[num_bs, num_sc, num_ant, num_ant]``: the mean of h h^H over samples and slots.
    """
    if csi.ndim != 5:
        raise ValueError(f"csi must be [samples, bs, slots, antennas, subcarriers], not {list(csi.shape)}")
    columns = csi.transpose(1, 4, 3, 0, 2).reshape(csi.shape[1], csi.shape[4], csi.shape[3], -1)
    result: NDArray[np.complex128] = (columns @ columns.conj().swapaxes(-1, -2)).astype(np.complex128)
    return np.divide(result, columns.shape[-1])


class LmmseEstimator:
    """Estimates the channel of one base station from its pilots by (4).

    Args:
        covariance: Spatial covariance of each subcarrier, ``[num_sc, num_ant, num_ant]``.
        symbols: Pilot symbols, ``[num_sc]``, none of them zero.
    """

    def __init__(self, covariance: NDArray[Any], symbols: NDArray[Any]) -> None:
        num_sc, num_ant, other = covariance.shape
        if num_ant != other or symbols.shape != (num_sc,):
            raise ValueError(
                f"covariance {list(covariance.shape)} and symbols {list(symbols.shape)} do not fit together"
            )
        if not np.all(np.abs(symbols) > 0):
            raise ValueError("pilot symbols must not be zero")
        self.covariance = covariance.astype(np.complex128)
        self.symbols = symbols.astype(np.complex128)
        self._filters: dict[float, Complex] = {}

    def filters(self, noise_variance: float) -> Complex:
        """The matrices of (4), ``[num_sc, num_ant, num_ant]``; kept for the next call with the same noise."""
        if noise_variance <= 0:
            raise ValueError(f"noise variance must be positive, not {noise_variance}")
        found = self._filters.get(noise_variance)
        if found is None:
            x = self.symbols[:, None, None]
            observed = np.abs(x) ** 2 * self.covariance + noise_variance * np.eye(self.covariance.shape[-1])
            found = (x.conj() * self.covariance @ np.linalg.inv(observed)).astype(np.complex64)
            self._filters = {noise_variance: found}
        return found

    def estimate(self, pilots: NDArray[Any], noise_variance: float) -> Complex:
        """CSI ``[..., num_slots, num_ant, num_sc]`` from received pilots of the same shape.

        Each snapshot is multiplied by itself: in a product of more rows their last bits may be others.
        """
        columns = np.moveaxis(pilots, -1, -3)  # [..., num_sc, num_slots, num_ant]
        estimated = np.matmul(columns, np.swapaxes(self.filters(noise_variance), -1, -2))
        return np.ascontiguousarray(np.moveaxis(estimated, -3, -1)).astype(np.complex64, copy=False)
