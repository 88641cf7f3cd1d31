"""MUSIC: from which direction a base station hears a UE, out of the covariance over its antennas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELLS_PER_ANTENNA = 8
"""Of the grid on which minima are looked for first, along either axis of the array."""
MOST_SOURCES = 3
"""More are not believed: chosen on validation points."""
NEWTON_STEPS = 8
LONGEST_STEP = 0.05
RIM = 0.999
"""Directions are looked for up to this sine of the angle from the axis."""
LEAST_CURVATURE = 0.1
"""Per antenna: a minimum that is flatter counts as this sharp."""


def spatial_covariance(csi: NDArray[Any]) -> NDArray[np.complex128]:
    """Mean of h h^H over slots and subcarriers, ``[..., num_ant, num_ant]``.

    Pilot symbols of unit modulus cancel: received pilots do as well as CSI.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``.
    """
    rows = np.swapaxes(csi, -3, -2)
    rows = rows.reshape(*rows.shape[:-2], -1)
    result: NDArray[np.complex128] = (rows @ rows.conj().swapaxes(-1, -2)).astype(np.complex128)
    return np.divide(result, rows.shape[-1])


def forward_backward(covariance: NDArray[Any]) -> NDArray[np.complex128]:
    """(R + J R* J)/2, where J reverses the order of the antennas, which mirrors the array in its centre.

    A plane wave keeps its covariance; of two coherent ones the cross terms are averaged.

    Args:
        covariance: R, ``[..., num_ant, num_ant]``, of an array that is its own mirror image.
    """
    result: NDArray[np.complex128] = (covariance + covariance[..., ::-1, ::-1].conj()) / 2
    return result


def source_count(eigenvalues: NDArray[Any], snapshots: int) -> NDArray[np.int64]:
    """Number of sources by minimum description length (Wax and Kailath, 1985), from 0 to num_ant - 1.

    The k with the least N (M - k) log(arithmetic / geometric mean of the M - k smallest eigenvalues)
    + k (2M - k) log(N) / 2.

    Args:
        eigenvalues: Of the covariance, ascending, ``[..., num_ant]``.
        snapshots: N that it was averaged over.
    """
    antennas = eigenvalues.shape[-1]
    values = np.maximum(eigenvalues, 1e-12 * eigenvalues[..., -1:] + 1e-300)
    noise = np.arange(1, antennas + 1)  # so many eigenvalues of noise alone
    mean_of_log = np.cumsum(np.log(values), axis=-1) / noise
    log_of_mean = np.log(np.cumsum(values, axis=-1) / noise)
    k = antennas - noise
    length = snapshots * noise * (log_of_mean - mean_of_log) + k * (2 * antennas - k) * np.log(snapshots) / 2
    result: NDArray[np.int64] = antennas - 1 - np.argmin(length, axis=-1)
    return result


@dataclass(frozen=True, eq=False)
class Arrivals:
    """The strongest peak of each link: arrays ``[...]``, one number per link.

    Attributes:
        k_y: Component of the direction to the UE along the array's y axis.
        k_z: The same along z; along x it is what is left of a unit vector, never negative.
        sigma_y: Asymptotic standard deviation of ``k_y``, as if the peak were the only one.
        sigma_z: Of ``k_z``.
        snr: Power of a resource element out of this direction over its noise, more than zero.
    """

    k_y: Floats
    k_z: Floats
    sigma_y: Floats
    sigma_z: Floats
    snr: Floats


class Music:
    """Finds one direction per link with a planar array of half a wavelength.

    The null spectrum a^H (I - E E^H) a, with the steering vector a of a direction and the signal's subspace
    E, is a sum of few waves over (k_y, k_z). So a coarse grid shows all of its minima, the peaks of MUSIC,
    and Newton's steps find them to the last digit. The strongest peak is where a beam finds most power.

    Args:
        rows: Of the array, whose antennas go column by column with growing y, in each column from the top.
        columns: The same.
        most_sources: The subspace never has more dimensions.
    """

    def __init__(self, rows: int = 2, columns: int = 4, most_sources: int = MOST_SOURCES) -> None:
        self.antennas = rows * columns
        self.most_sources = most_sources
        column, row = np.divmod(np.arange(self.antennas), rows)
        self._place = np.stack([column - (columns - 1) / 2, (rows - 1) / 2 - row], axis=1)
        between = (self._place[None, :] - self._place[:, None]).reshape(-1, 2)
        self._lags, lag_of = np.unique(between, axis=0, return_inverse=True)
        self._sum_over_lag = (lag_of.reshape(-1)[:, None] == np.arange(len(self._lags))).astype(np.float64)
        axes = [
            (np.arange(count) - count // 2) * 2 / count
            for count in (CELLS_PER_ANTENNA * columns, CELLS_PER_ANTENNA * rows)
        ]
        self._grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        self._seen = np.linalg.norm(self._grid, axis=-1) <= RIM
        phases = np.pi * self._grid.reshape(-1, 2) @ self._lags.T
        turn = np.pi * self._lags
        self._turned_twice = (turn[:, :, None] * turn[:, None, :]).reshape(-1, 4)
        self._waves_on_grid = np.concatenate([np.cos(phases), -np.sin(phases)], axis=1).T
        cells = np.arange(self._seen.size).reshape(self._seen.shape)
        around = [np.roll(cells, (a, b), axis=(0, 1)) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        self._around = np.stack(around, axis=-1).reshape(-1, 9)

    def steering(self, k: Floats) -> NDArray[np.complex128]:
        """Phases of a plane wave from (k_y, k_z) at the antennas, ``[..., 2]`` to ``[..., num_ant]``."""
        result: NDArray[np.complex128] = np.exp(1j * np.pi * (k @ self._place.T))
        return result

    def arrivals(self, csi: NDArray[Any], noise_variance: Any) -> Arrivals:
        """The strongest peak of each link.

        Args:
            csi: CSI or received pilots of unit modulus, ``[..., num_slots, num_ant, num_sc]``.
            noise_variance: Of a resource element, in the units of ``|csi|^2``: anything that broadcasts
                against the links ``[...]``.
        """
        if csi.shape[-2] != self.antennas:
            raise ValueError(f"CSI of {csi.shape[-2]} antennas, {self.antennas} expected")
        snapshots = csi.shape[-3] * csi.shape[-1]
        return self.strongest(forward_backward(spatial_covariance(csi)), snapshots, noise_variance)

    def strongest(self, covariance: NDArray[np.complex128], snapshots: int, noise_variance: Any) -> Arrivals:
        """As `arrivals`, of the covariance over antennas ``[..., num_ant, num_ant]``.

        Args:
            covariance: Forward and backward.
            snapshots: That it was averaged over.
            noise_variance: As for `arrivals`.
        """
        null = self.waves(self._noise_projection(covariance, snapshots))
        k, is_peak = self._minima(null)
        power = self._value(self.waves(covariance)[..., None, :], k) / self.antennas**2
        strongest = np.argmax(np.where(is_peak, power, -np.inf), axis=-1)[..., None]
        k = np.take_along_axis(k, strongest[..., None], axis=-2)[..., 0, :]
        power = np.take_along_axis(power, strongest, axis=-1)[..., 0]
        snr = np.maximum(power / noise_variance - 1 / self.antennas, 1e-3)
        curvature = np.diagonal(self._derivatives(null, k)[1], axis1=-2, axis2=-1)
        information = snapshots * snr[..., None] * np.maximum(curvature, LEAST_CURVATURE * self.antennas)
        sigma = information**-0.5
        return Arrivals(k[..., 0], k[..., 1], sigma[..., 0], sigma[..., 1], snr)

    def waves(self, matrix: NDArray[Any]) -> NDArray[np.complex128]:
        """Amplitudes ``[..., lags]`` of the waves whose sum over the lags is a^H matrix a."""
        flat = matrix.reshape(*matrix.shape[:-2], -1)
        result: NDArray[np.complex128] = flat @ self._sum_over_lag
        return result

    def _noise_projection(self, covariance: NDArray[Any], snapshots: int) -> NDArray[np.complex128]:
        values, vectors = np.linalg.eigh(covariance)
        sources = np.clip(source_count(values, snapshots), 1, self.most_sources)
        is_noise = np.arange(self.antennas) < self.antennas - sources[..., None]
        noise = vectors * is_noise[..., None, :]
        result: NDArray[np.complex128] = noise @ vectors.conj().swapaxes(-1, -2)
        return result

    def _minima(self, waves: NDArray[np.complex128]) -> tuple[Floats, NDArray[np.bool_]]:
        """The deepest minima, ``[..., candidates, 2]``, and which of those are minima: always the first."""
        value = np.concatenate([waves.real, waves.imag], axis=-1) @ self._waves_on_grid
        value = np.where(self._seen.reshape(-1), value, np.inf)
        is_least = np.isfinite(value) & (value <= value[..., self._around].min(axis=-1))
        flat = np.where(is_least, value, np.inf)
        found = np.argsort(flat, axis=-1)[..., : self.most_sources + 1]
        k = self._grid.reshape(-1, 2)[found]
        for _ in range(NEWTON_STEPS):
            k = k + _newton_step(*self._derivatives(waves[..., None, :], k))
            k = k * np.minimum(1.0, RIM / np.maximum(np.linalg.norm(k, axis=-1, keepdims=True), RIM))
        return k, np.isfinite(np.take_along_axis(flat, found, axis=-1))

    def _terms(self, waves: NDArray[np.complex128], k: Floats) -> NDArray[np.complex128]:
        result: NDArray[np.complex128] = waves * np.exp(1j * np.pi * (k @ self._lags.T))
        return result

    def _value(self, waves: NDArray[np.complex128], k: Floats) -> Floats:
        result: Floats = self._terms(waves, k).real.sum(axis=-1)
        return result

    def _derivatives(self, waves: NDArray[np.complex128], k: Floats) -> tuple[Floats, Floats]:
        """Gradient ``[..., 2]`` and second derivatives ``[..., 2, 2]`` of the sum of waves."""
        terms, turn = self._terms(waves, k), np.pi * self._lags
        gradient: Floats = -terms.imag @ turn
        second = -terms.real @ self._turned_twice
        return gradient, second.reshape(*second.shape[:-1], 2, 2)


def _newton_step(gradient: Floats, second: Floats) -> Floats:
    """A step downhill, ``[..., 2]``: Newton's where the surface is bowl-shaped, and never a long one."""
    values, vectors = np.linalg.eigh(second)
    along = (vectors.swapaxes(-1, -2) @ gradient[..., None])[..., 0]
    step = -(vectors @ (along / np.maximum(np.abs(values), 0.5))[..., None])[..., 0]
    length = np.linalg.norm(step, axis=-1, keepdims=True)
    result: Floats = step * np.minimum(1.0, LONGEST_STEP / np.maximum(length, 1e-12))
    return result
