"""A constant-velocity Kalman filter for many targets at once.

Arrays have the target last: states ``[6, n]`` (x, y, z in m, then their velocities in m/s), covariances
``[6, 6, n]``. Everything is additions, products, quotients and roots element by element in a fixed order,
never a library's matrix product: so a target's result is the same to the last bit whatever others are in the
batch, and covariances stay exactly symmetric.
"""

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

_DIAGONAL = np.arange(3)


def predict(state: Float64, covariance: Float64, dt_s: Float64, density: float) -> tuple[Float64, Float64]:
    """State and covariance after a time, under white-noise acceleration (exact F and Q).

    F = [[I, dt I], [0, I]] and Q = density [[dt³/3 I, dt²/2 I], [dt²/2 I, dt I]]; Bar-Shalom, Li and
    Kirubarajan, "Estimation with Applications to Tracking and Navigation", 6.2.2.

    Args:
        state: ``[6, n]``.
        covariance: ``[6, 6, n]``, symmetric.
        dt_s: ``[n]``, not negative.
        density: power spectral density of the acceleration per axis, m²/s³.
    """
    later = state.copy()
    later[:3] += dt_s * state[3:]
    pp, pv, vv = covariance[:3, :3], covariance[:3, 3:], covariance[3:, 3:]
    pv_later = pv + dt_s * vv
    grown = np.empty_like(covariance)
    grown[:3, :3] = pp + dt_s * (pv + pv.transpose(1, 0, 2)) + dt_s * dt_s * vv
    grown[3:, 3:] = vv
    grown[_DIAGONAL, _DIAGONAL] += density * dt_s * dt_s * dt_s / 3
    grown[_DIAGONAL + 3, _DIAGONAL + 3] += density * dt_s
    pv_later[_DIAGONAL, _DIAGONAL] += density * dt_s * dt_s / 2
    grown[:3, 3:] = pv_later
    grown[3:, :3] = pv_later.transpose(1, 0, 2)
    return later, grown


def distance_squared(
    state: Float64, covariance: Float64, fix_m: Float64, fix_covariance_m2: Float64
) -> Float64:
    """Squared Mahalanobis distance ``[n]`` of fixes from predicted positions; arguments as of `update`."""
    root = cholesky(covariance[:3, :3] + fix_covariance_m2)
    return _sum_of_squares(_forward(root, fix_m - state[:3]))


def update(
    state: Float64, covariance: Float64, fix_m: Float64, fix_covariance_m2: Float64
) -> tuple[Float64, Float64]:
    """State and covariance after a fix of the position, in Joseph's form.

    (I - KH) P (I - KH)ᵀ + K R Kᵀ is positive definite by construction, whatever the rounding of the gain K.

    Args:
        state: ``[6, n]``.
        covariance: ``[6, 6, n]``.
        fix_m: ``[3, n]``.
        fix_covariance_m2: ``[3, 3, n]``, symmetric positive definite.
    """
    root = cholesky(covariance[:3, :3] + fix_covariance_m2)
    innovation = fix_m - state[:3]
    # K = P Hᵀ S⁻¹, so S Kᵀ = H P.
    gain = _backward(root, _forward(root, covariance[:3])).transpose(1, 0, 2)
    corrected = state + _product(gain, innovation[:, None])[:, 0]
    keep = np.zeros_like(covariance)
    keep[np.arange(6), np.arange(6)] = 1.0
    keep[:, :3] -= gain
    joseph = _product(_product(keep, covariance), keep.transpose(1, 0, 2))
    joseph += _product(_product(gain, fix_covariance_m2), gain.transpose(1, 0, 2))
    return corrected, 0.5 * (joseph + joseph.transpose(1, 0, 2))


def cholesky(matrix: Float64) -> Float64:
    """Lower root ``[3, 3, n]`` of symmetric matrices ``[3, 3, n]``; NaN where not positive definite."""
    root = np.zeros_like(matrix)
    with np.errstate(invalid="ignore", divide="ignore"):
        for row in range(3):
            for column in range(row + 1):
                rest = matrix[row, column].copy()
                for before in range(column):
                    rest -= root[row, before] * root[column, before]
                if row == column:
                    root[row, row] = np.where(rest > 0, np.sqrt(rest), np.nan)
                else:
                    root[row, column] = rest / root[column, column]
    return root


def _forward(root: Float64, right: Float64) -> Float64:
    """Solve L Y = B for ``B [3, ..., n]``."""
    solved = np.empty_like(right)
    for row in range(3):
        rest = right[row].copy()
        for before in range(row):
            rest -= root[row, before] * solved[before]
        solved[row] = rest / root[row, row]
    return solved


def _backward(root: Float64, right: Float64) -> Float64:
    """Solve Lᵀ Y = B for ``B [3, ..., n]``."""
    solved = np.empty_like(right)
    for row in reversed(range(3)):
        rest = right[row].copy()
        for after in range(row + 1, 3):
            rest -= root[after, row] * solved[after]
        solved[row] = rest / root[row, row]
    return solved


def _product(left: Float64, right: Float64) -> Float64:
    """Matrix product of ``[i, k, n]`` and ``[k, j, n]``, summed over k in order."""
    total = left[:, 0, None] * right[None, 0]
    for k in range(1, left.shape[1]):
        total += left[:, k, None] * right[None, k]
    return total


def _sum_of_squares(vector: Float64) -> Float64:
    total: Float64 = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]
    return total
