"""The CSI itself at the tail of a message: numbers of the spread that the quantiser is made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quantiser import GAUSSIAN_STEPS

Floats = NDArray[np.float64]

NOT_ZERO = 1e-6
TURNS = 3
"""How often slots are turned onto the mean of the time before."""


def mean_over_slots(csi: NDArray[Any]) -> NDArray[np.complex128]:
    """Mean over the slots, each turned onto the others by one phase, ``[n, num_ant, num_sc]``.

    A slot's phase is unknown. Noise falls by as much as there are slots.

    Args:
        csi: ``[n, num_slots, num_ant, num_sc]``.
    """
    slots = csi.astype(np.complex128)
    mean = slots[:, -1]
    for _ in range(TURNS):
        against = (slots * mean[:, None].conj()).sum(axis=(-2, -1))
        turn = against.conj() / np.maximum(np.abs(against), 1e-30)
        mean = (slots * turn[..., None, None]).mean(axis=1)
    result: NDArray[np.complex128] = mean
    return result


@dataclass(frozen=True, eq=False)
class CsiNumbers:
    """CSI and numbers, one to the other, for the base stations of a model.

    Attributes:
        spread: Standard deviation of the numbers of each base station, ``[num_bs]``: the one that its
            quantiser's step is best for.
        shape: Antennas and subcarriers.
    """

    spread: Floats
    shape: tuple[int, int]

    @staticmethod
    def of_steps(steps: Floats, bits: int, shape: tuple[int, int]) -> CsiNumbers:
        """For quantisers with these steps ``[num_bs]`` at so many bits."""
        return CsiNumbers(steps / GAUSSIAN_STEPS[bits - 1], shape)

    @property
    def count(self) -> int:
        """Numbers of one base station: real parts, then imaginary parts."""
        return 2 * self.shape[0] * self.shape[1]

    def written(self, column: int, csi: NDArray[np.complex128]) -> NDArray[np.float32]:
        """The numbers ``[n, count]`` of one base station's CSI ``[n, num_ant, num_sc]``, of any scale."""
        flat = csi.reshape(len(csi), -1)
        parts = np.concatenate([flat.real, flat.imag], axis=1)
        rms = np.sqrt((parts * parts).mean(axis=1, keepdims=True))
        numbers = self.spread[column] * parts / np.maximum(rms, 1e-30)
        result: NDArray[np.float32] = np.where(numbers == 0, NOT_ZERO, numbers).astype(np.float32)
        return result

    def read(self, numbers: NDArray[Any]) -> tuple[NDArray[np.complex128], Floats, NDArray[np.bool_]]:
        """CSI of any scale ``[n, num_bs, num_ant, num_sc]``, what quantising it cost, and whether it arrived.

        What it cost is a share of the energy, ``[n, num_bs]``: the levels of a midrise quantiser are half a
        step from zero, so the smallest of so many numbers tells the step.

        Args:
            numbers: What arrives at the tail of messages, ``[n, num_bs, count]``; 0 where nothing does.
        """
        arrived = np.asarray((numbers != 0).all(axis=-1))
        values = numbers.astype(np.float64)
        half = self.count // 2
        csi = (values[..., :half] + 1j * values[..., half:]).reshape(*values.shape[:-1], *self.shape)
        step = 2 * np.abs(values).min(axis=-1)
        power = np.maximum((values * values).mean(axis=-1), 1e-30)
        return csi, np.where(arrived, step**2 / 12 / power, 1.0), arrived
