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
CONVERGED = 1e-6
"""After a shorter step of Newton's the next one would be about its square."""
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
        lags, lag_of = np.unique(between, axis=0, return_inverse=True)
        # In order: the second half mirrors the first about zero, and of Hermitian matrices counts twice.
        zero = len(lags) // 2
        lag_of = lag_of.reshape(-1)[:, None]
        self._sum_over_lag = np.where(lag_of == np.arange(zero, len(lags)), 2.0, 0.0)
        self._sum_over_lag[:, 0] /= 2
        self._turn = np.pi * lags[zero:].T
        self._derive = _derivatives_of(self._turn)
        self._lay_grid(columns, rows)

    def _lay_grid(self, columns: int, rows: int) -> None:
        """The grid on which minima are looked for, row by row in one list, a row of nothing before and after.

        In either direction it begins at -1, where nothing is seen: so the cell before the first of a row, the
        last of the row before, has a neighbour there, and none beyond.
        """
        across, along = CELLS_PER_ANTENNA * columns, CELLS_PER_ANTENNA * rows
        axes = [(np.arange(count) - count // 2) * 2 / count for count in (across, along)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        self._along, edge = along, np.full((along + 1, 2), -1.0)
        self._grid = np.concatenate([edge, grid, edge])
        self._unseen = np.where(np.linalg.norm(self._grid, axis=-1) <= RIM, 0.0, np.inf)
        phases = self._grid @ self._turn
        self._waves_on_grid = np.stack([np.cos(phases), -np.sin(phases)], axis=2).reshape(len(phases), -1).T

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

    def strongest(
        self,
        covariance: NDArray[np.complex128],
        snapshots: int,
        noise_variance: Any,
        eigen: tuple[Floats, NDArray[np.complex128]] | None = None,
    ) -> Arrivals:
        """As `arrivals`, of the covariance over antennas ``[..., num_ant, num_ant]``.

        Args:
            covariance: Forward and backward.
            snapshots: That it was averaged over.
            noise_variance: As for `arrivals`.
            eigen: Eigenvalues, ascending, and eigenvectors of the covariance, if they are known.
        """
        values, vectors = np.linalg.eigh(covariance) if eigen is None else eigen
        null = self.waves(self._noise_projection(values, vectors, snapshots))
        k, is_peak = self._minima(null)
        power = self._value(self.waves(covariance)[..., None, :], k) / self.antennas**2
        strongest = np.argmax(np.where(is_peak, power, -np.inf), axis=-1)[..., None]
        k = np.take_along_axis(k, strongest, axis=-1)[..., 0]
        power = np.take_along_axis(power, strongest, axis=-1)[..., 0]
        snr = np.maximum(power / noise_variance - 1 / self.antennas, 1e-3)
        middle, spread = self._derivatives(null[..., None, :], k[..., None])[1:]
        curvature = middle + np.concatenate([spread.real, -spread.real], axis=-1)
        information = snapshots * snr[..., None] * np.maximum(curvature, LEAST_CURVATURE * self.antennas)
        sigma = information**-0.5
        return Arrivals(k.real, k.imag, sigma[..., 0], sigma[..., 1], snr)

    def waves(self, matrix: NDArray[Any]) -> NDArray[np.complex128]:
        """Amplitudes ``[..., lags]`` of the waves whose sum over the lags has the real part a^H matrix a.

        Args:
            matrix: Hermitian, ``[..., num_ant, num_ant]``.
        """
        flat = matrix.reshape(*matrix.shape[:-2], -1)
        result: NDArray[np.complex128] = flat @ self._sum_over_lag
        return result

    def _noise_projection(
        self, values: Floats, vectors: NDArray[np.complex128], snapshots: int
    ) -> NDArray[np.complex128]:
        sources = np.clip(source_count(values, snapshots), 1, self.most_sources)
        is_noise = np.arange(self.antennas) < self.antennas - sources[..., None]
        noise = vectors * is_noise[..., None, :]
        result: NDArray[np.complex128] = noise @ vectors.conj().swapaxes(-1, -2)
        return result

    def _minima(self, waves: NDArray[np.complex128]) -> tuple[NDArray[np.complex128], NDArray[np.bool_]]:
        """The deepest minima k_y + i k_z, ``[..., candidates]``, and which of those are: always the first."""
        value = waves.view(np.float64) @ self._waves_on_grid + self._unseen
        beside = np.minimum(np.minimum(value[..., :-2], value[..., 1:-1]), value[..., 2:])
        row = self._along
        around = np.minimum(beside[..., : -2 * row], beside[..., 2 * row :])
        around = np.minimum(around, beside[..., row:-row])
        inner = value[..., row + 1 : -row - 1]
        lowest = np.where(inner <= around, inner, np.inf)
        count = self.most_sources + 1
        found = np.argpartition(lowest, count, axis=-1)[..., :count]
        depth = np.take_along_axis(lowest, found, axis=-1)
        found = np.take_along_axis(found, np.argsort(depth, axis=-1), axis=-1)
        is_peak = np.isfinite(np.take_along_axis(lowest, found, axis=-1))
        k = self._grid[row + 1 :].view(np.complex128)[:, 0][found]
        waves = waves[..., None, :]
        moving = is_peak.copy()
        for _ in range(NEWTON_STEPS):
            step = _newton_step(*self._derivatives(waves, k))
            moved = _within(k + step, RIM)
            is_far = np.abs(moved - k) > CONVERGED
            k = np.where(moving, moved, k)
            moving &= is_far
            if not moving.any():
                break
        return k, is_peak

    def _terms(self, waves: NDArray[np.complex128], k: NDArray[np.complex128]) -> NDArray[np.complex128]:
        at = k[..., None].view(np.float64)
        result: NDArray[np.complex128] = waves * np.exp(1j * (at @ self._turn))
        return result

    def _value(self, waves: NDArray[np.complex128], k: NDArray[np.complex128]) -> Floats:
        result: Floats = self._terms(waves, k).real.sum(axis=-1)
        return result

    def _derivatives(
        self, waves: NDArray[np.complex128], k: NDArray[np.complex128]
    ) -> tuple[NDArray[np.complex128], Floats, NDArray[np.complex128]]:
        """Of the sum of waves at k_y + i k_z: see :func:`_derivatives_of`.

        Args:
            waves: ``[..., lags]``.
            k: ``[...]``.
        """
        found = self._terms(waves, k).view(np.float64) @ self._derive
        gradient, spread = found[..., :2].view(np.complex128), found[..., 2:4].view(np.complex128)
        return gradient[..., 0], found[..., 4], spread[..., 0]


def _derivatives_of(turn: Floats) -> Floats:
    """What makes derivatives over k of the real and imaginary parts of waves e^(i turn·k), ``[2·lags, 5]``.

    The gradient g_y and g_z; of the second derivatives m + d, b and m - d the numbers d, b and m. Applied to
    a step s_y + i s_z they are m s + (d + i b) s*.

    Args:
        turn: ``[2, lags]``.
    """
    y, z = turn
    nothing = np.zeros_like(y)
    real = [nothing, nothing, (z**2 - y**2) / 2, -y * z, -(y**2 + z**2) / 2]
    imaginary = [-y, -z, nothing, nothing, nothing]
    return np.stack([np.stack(real, axis=-1), np.stack(imaginary, axis=-1)], axis=1).reshape(-1, 5)


def _newton_step(
    gradient: NDArray[np.complex128], middle: Floats, spread: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    r"""A step downhill: Newton's where the surface is bowl-shaped, and never a long one.

    The second derivatives have the eigenvalues m ± \|d + i b\|; their magnitudes, at least 0.5, divide the
    gradient along the eigenvectors.
    """
    radius = np.abs(spread)
    high = np.maximum(np.abs(middle + radius), 0.5)
    low = np.maximum(np.abs(middle - radius), 0.5)
    turned = (high - low) / np.maximum(radius, 1e-12) * spread * gradient.conj()
    return _within((turned - (high + low) * gradient) / (2 * high * low), LONGEST_STEP)


def _within(k: NDArray[np.complex128], radius: float) -> NDArray[np.complex128]:
    """The nearest points that are no further from the origin."""
    result: NDArray[np.complex128] = k * (radius / np.maximum(np.abs(k), radius))
    return result
