"""The angle–delay channel power matrix, a fingerprint of a place: for NumPy and torch alike."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray


def adcpm(csi: Any, noise_variance: float = 1.0, *, rows: int = 2, columns: int = 4) -> Any:
    """Power in each cell of angle and delay, |V^H H F|^2 averaged over the slots, not below the noise.

    V and F are unitary: white noise has its variance in every cell, and the cells of a slot have the energy
    of its CSI. The CSI must not have been stabilised, for (10)–(11) delete the delay.

    Cell ``[v, h, d]`` is where a plane wave falls whose direction, in the axes of the array, has
    k_y = (h - columns // 2)·2/columns and k_z = -2v/rows, both modulo 2, and whose delay is d cells of
    1 / (num_sc·spacing), modulo 1 / spacing. So k_y grows with h, and v = 0 is the horizon.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``, antennas column by column as in :class:`Radio`.
        noise_variance: Of a resource element, in the units of ``|csi|^2``: cells with less count as this.
        rows: Of the planar array.
        columns: The same.

    Returns:
        ``[..., rows, columns, num_sc]``, in the units of ``|csi|^2``.
    """
    xp = array_namespace(csi)
    *lead, _, antennas, subcarriers = csi.shape
    if antennas != rows * columns:
        raise ValueError(f"{antennas} antennas are no array of {rows} rows and {columns} columns")
    where = device(csi)
    beams = xp.asarray(angle_transform(rows, columns), dtype=csi.dtype, device=where)
    delays = xp.asarray(delay_transform(subcarriers), dtype=csi.dtype, device=where)
    cells = xp.matmul(xp.matmul(beams, csi), delays)
    power = xp.mean(xp.real(cells) ** 2 + xp.imag(cells) ** 2, axis=-3)
    return xp.reshape(xp.clip(power, noise_variance, None), (*lead, rows, columns, subcarriers))


@cache
def angle_transform(rows: int, columns: int) -> NDArray[np.complex128]:
    """V^H of a planar array, ``[rows·columns, num_ant]``; a row of it is one beam."""
    upright, level = np.arange(rows), np.arange(columns)
    along_rows = np.exp(-2j * np.pi * np.outer(upright, upright) / rows)
    along_columns = np.exp(-2j * np.pi * np.outer(level - columns // 2, level) / columns)
    beams: NDArray[np.complex128] = np.einsum("vr,hc->vhcr", along_rows, along_columns).reshape(
        rows * columns, rows * columns
    ) / np.sqrt(rows * columns)
    return beams


@cache
def delay_transform(subcarriers: int) -> NDArray[np.complex128]:
    """F, ``[num_sc, num_sc]``; a column of it is one delay."""
    n = np.arange(subcarriers)
    delays: NDArray[np.complex128] = np.exp(2j * np.pi * np.outer(n, n) / subcarriers) / np.sqrt(subcarriers)
    return delays
