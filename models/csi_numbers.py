"""The CSI itself at the tail of a message: parts of it, each as coarse as it may be, in so many bytes.

A part is what falls on one principal vector of a base station's antennas and one of its subcarriers, once the
mean delay is taken out. All parts are rounded to one step, so what is lost is white; strong parts take many
bits, and most take none (reverse water-filling). The step is the finest with which everything fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.preprocessing import delay_slope
from models.quantiser import GAUSSIAN_STEPS

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]
Integers = NDArray[np.int64]

TURNS = 3
"""How often slots are turned onto the mean of the time before."""
BYTE_BITS = 8
BAND = 4
"""Parts that share a number of bits."""
DELAY_BITS, STEP_BITS, WIDTH_BITS = 12, 6, 4
COARSEST_DB, FINER_DB = -6.0, 1.25
"""Steps of parts: the first, relative to the root of the energy, and how much finer than the last each is."""
ON_GRID = 0.3
"""A number tells a byte if it is no further from one: a quantiser of eight bits or more moves none as far."""


def mean_over_slots(csi: NDArray[Any]) -> Complex:
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
    result: Complex = mean
    return result


@dataclass(frozen=True, eq=False)
class Bases:
    """In what CSI without its mean delay is told: the principal vectors of base stations.

    Attributes:
        antennas: Of each base station, ``[num_bs, num_ant, num_ant]``, a vector per column.
        subcarriers: The same, ``[num_bs, num_sc, num_sc]``.
        order: Their products, loudest first: antenna vector times ``num_sc`` plus subcarrier vector,
            ``[num_bs, num_ant * num_sc]``.
    """

    antennas: Complex
    subcarriers: Complex
    order: Integers

    def __post_init__(self) -> None:
        for matrices in (self.antennas, self.subcarriers):
            if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
                raise ValueError("bases are square matrices, one per base station")
            if not np.allclose(
                matrices.conj().swapaxes(1, 2) @ matrices, np.eye(matrices.shape[2]), atol=1e-4
            ):
                raise ValueError("bases are not orthonormal")
        parts = self.antennas.shape[1] * self.subcarriers.shape[1]
        if len(self.antennas) != len(self.subcarriers) or parts % BAND:
            raise ValueError(f"bases of different base stations, or {parts} parts in bands of {BAND}")
        if self.order.shape != (len(self.antennas), parts) or (np.sort(self.order) != np.arange(parts)).any():
            raise ValueError("an order of parts that does not name each of them once")

    @staticmethod
    def of_many(csi: NDArray[Any]) -> Bases:
        """Principal vectors of CSI ``[num_bs, n, num_ant, num_sc]`` of any scale; silence does not count."""
        antennas, subcarriers, order = [], [], []
        for heard in csi:
            power = (np.abs(heard) ** 2).sum(axis=(1, 2))
            centred = without_delay(heard[power > 0])[0] / np.sqrt(power[power > 0])[:, None, None]
            conj = centred.conj()
            across = np.linalg.eigh(np.einsum("nak,nbk->ab", centred, conj, optimize=True))[1][:, ::-1]
            along = np.linalg.eigh(np.einsum("nak,naj->kj", centred, conj, optimize=True))[1][:, ::-1]
            parts = _in_bases(centred, across, along)
            order.append(np.argsort(-(np.abs(parts) ** 2).mean(axis=0), kind="stable"))
            antennas.append(across)
            subcarriers.append(along)
        return Bases(np.stack(antennas), np.stack(subcarriers), np.stack(order))

    def parts(self, column: int, csi: Complex) -> Complex:
        """Of one base station's CSI ``[n, num_ant, num_sc]`` without its delay: ``[n, parts]``, in order."""
        parts = _in_bases(csi, self.antennas[column], self.subcarriers[column])
        return parts[:, self.order[column]]

    def csi(self, column: int, parts: Complex) -> Complex:
        """CSI ``[n, num_ant, num_sc]`` of its parts."""
        ordered = np.empty_like(parts)
        ordered[:, self.order[column]] = parts
        shape = self.antennas.shape[1], self.subcarriers.shape[1]
        result: Complex = self.antennas[column] @ ordered.reshape(-1, *shape) @ self.subcarriers[column].T
        return result


def without_delay(csi: NDArray[Any]) -> tuple[Complex, Floats]:
    """CSI ``[n, num_ant, num_sc]`` without its mean delay, and that in turns per subcarrier, -½ to ½."""
    turns = delay_slope(csi.astype(np.complex128)) / (2 * np.pi)
    result: Complex = csi * _ramp(-turns, csi.shape[-1])
    return result, turns


@dataclass(frozen=True, eq=False)
class CsiNumbers:
    """CSI and numbers, one to the other, for the base stations of a model.

    A number stands for a byte: it is a level of the quantiser of eight bits, which that one and finer ones
    keep apart. The bytes hold, bit after bit: the mean delay, the step, for each band of parts how many bits
    their magnitudes have, and the parts, real before imaginary, as offsets from the lowest.

    Attributes:
        spread: Standard deviation that the quantiser's step of each base station is best for, ``[num_bs]``.
        bases: Of the base stations.
        count: Numbers of one base station.
    """

    spread: Floats
    bases: Bases
    count: int

    def __post_init__(self) -> None:
        if len(self.spread) != len(self.bases.antennas):
            raise ValueError(f"bases of {len(self.bases.antennas)} base stations for {len(self.spread)}")
        if BYTE_BITS * self.count <= self._head:
            raise ValueError(f"{self.count} bytes are too few: {self._head} bits come before the first part")

    @staticmethod
    def of_steps(steps: Floats, bits: int, bases: Bases, count: int) -> CsiNumbers:
        """For quantisers with these steps ``[num_bs]`` at so many bits."""
        return CsiNumbers(steps / GAUSSIAN_STEPS[bits - 1], bases, count)

    @property
    def shape(self) -> tuple[int, int]:
        """Antennas and subcarriers."""
        return self.bases.antennas.shape[1], self.bases.subcarriers.shape[1]

    @property
    def _bands(self) -> int:
        return int(self.bases.order.shape[1]) // BAND

    @property
    def _head(self) -> int:
        return DELAY_BITS + STEP_BITS + WIDTH_BITS * self._bands

    def written(self, column: int, csi: Complex) -> NDArray[np.float32]:
        """The numbers ``[n, count]`` of one base station's CSI ``[n, num_ant, num_sc]``, of any scale."""
        num = len(csi)
        delay = np.floor((delay_slope(csi) / (2 * np.pi) + 0.5) * (1 << DELAY_BITS)).astype(np.int64) % (
            1 << DELAY_BITS
        )
        parts = self.bases.parts(column, csi * _ramp(-_turns(delay), self.shape[1]))
        parts /= np.maximum(np.sqrt((np.abs(parts) ** 2).sum(axis=1, keepdims=True)), 1e-150)
        values = np.stack([parts.real, parts.imag], axis=-1).reshape(num, self._bands, -1)
        largest = np.abs(values).max(axis=-1)
        widths = _width(np.rint(largest[..., None] / _STEPS))  # [n, bands, steps]
        room = BYTE_BITS * self.count - self._head
        fits = (_field(widths).sum(axis=1) * values.shape[-1] <= room) & (
            widths.max(axis=1) < 1 << WIDTH_BITS
        )
        which = np.where(fits, np.arange(fits.shape[1]), 0).max(axis=1)
        width = np.where(fits.any(axis=1)[:, None], widths[np.arange(num), :, which], 0)
        rounded = np.rint(values / _STEPS[which][:, None, None]).astype(np.int64)
        bits = np.zeros((num, BYTE_BITS * self.count), np.uint8)
        head = np.array([DELAY_BITS, STEP_BITS, *[WIDTH_BITS] * self._bands])
        for row in range(num):
            fields = np.repeat(_field(width[row]), values.shape[-1])
            offset = rounded[row].ravel() + (1 << fields >> 1)
            said = _bits(
                np.concatenate([[delay[row], which[row]], width[row], offset]), np.concatenate([head, fields])
            )
            bits[row, : len(said)] = said
        numbers = (np.packbits(bits, axis=1) - _MIDDLE) * self._grid[column]
        return np.asarray(numbers, dtype=np.float32)

    def read(self, numbers: NDArray[Any]) -> tuple[Complex, Floats, NDArray[np.bool_]]:
        """CSI of any scale ``[n, num_bs, num_ant, num_sc]``, what rounding it cost, and whether it arrived.

        What it cost is a share of the energy, ``[n, num_bs]``. Numbers that a quantiser of fewer than eight
        bits has been at are no bytes any more: nothing has arrived then.

        Args:
            numbers: What arrives at the tail of messages, ``[n, num_bs, count]``; 0 where nothing does.
        """
        found = numbers / self._grid[:, None] + _MIDDLE
        whole = np.clip(np.rint(found), 0, (1 << BYTE_BITS) - 1)
        arrived = np.asarray((np.abs(found - whole) < ON_GRID).all(axis=-1))
        bits = np.unpackbits(np.where(arrived[..., None], whole, 0).astype(np.uint8), axis=-1)
        csi = np.zeros((*numbers.shape[:2], *self.shape), np.complex128)
        lost = np.ones(numbers.shape[:2])
        for row, column in np.argwhere(arrived):
            parts, delay, step = self._told(bits[row, column])
            if parts is None:
                arrived[row, column] = False
                continue
            csi[row, column] = self.bases.csi(column, parts[None])[0] * _ramp(_turns(delay), self.shape[1])
            lost[row, column] = 2 * parts.size * step**2 / 12
        return csi, np.minimum(lost, 1.0), arrived

    def _told(self, bits: NDArray[np.uint8]) -> tuple[Complex | None, Integers, float]:
        """Parts (None: these bits are none), delay and step of one message."""
        start = DELAY_BITS + STEP_BITS
        delay = _number(bits[:DELAY_BITS])
        step = float(_STEPS[_number(bits[DELAY_BITS:start])])
        width = _number(bits[start : self._head].reshape(-1, WIDTH_BITS))
        fields = np.repeat(_field(width), 2 * BAND)
        length = int(fields.sum())
        if not 0 < length <= len(bits) - self._head:
            return None, delay, step
        end = np.cumsum(fields)
        place = end.repeat(fields) - 1 - np.arange(length)
        weighed = bits[self._head : self._head + length].astype(np.int64) << place
        there = fields > 0
        values = np.zeros(len(fields))
        values[there] = np.add.reduceat(weighed, (end - fields)[there]) - (1 << fields[there] >> 1)
        pairs = values.reshape(-1, 2) * step
        return pairs[:, 0] + 1j * pairs[:, 1], delay, step

    @property
    def _grid(self) -> Floats:
        """Steps of the quantisers of eight bits."""
        return self.spread * GAUSSIAN_STEPS[BYTE_BITS - 1]


_MIDDLE = (1 << BYTE_BITS) / 2 - 0.5
_STEPS = 10 ** ((COARSEST_DB - FINER_DB * np.arange(1 << STEP_BITS)) / 20)
"""All steps, of CSI whose energy is 1."""


def _in_bases(csi: NDArray[Any], antennas: Complex, subcarriers: Complex) -> Complex:
    """CSI ``[n, num_ant, num_sc]`` of one base station as products of its vectors, ``[n, parts]``."""
    result: Complex = (antennas.conj().T @ csi @ subcarriers.conj()).reshape(len(csi), -1)
    return result


def _width(largest: NDArray[Any]) -> Integers:
    """Bits of magnitudes up to a whole number: 0 for 0."""
    return np.where(largest > 0, np.frexp(np.maximum(largest, 1))[1], 0).astype(np.int64)


def _field(width: NDArray[Any]) -> Integers:
    """Bits of numbers with magnitudes of so many bits: a sign beside, and none if all are zero."""
    return np.where(width > 0, width + 1, 0).astype(np.int64)


def _bits(values: Integers, fields: Integers) -> NDArray[np.uint8]:
    """Whole numbers, one after the other, in so many bits each, the highest first."""
    place = np.cumsum(fields).repeat(fields) - 1 - np.arange(fields.sum())
    return ((values.repeat(fields) >> place) & 1).astype(np.uint8)


def _turns(delay: Integers) -> Floats:
    """The middle of the delays that are rounded alike, in turns per subcarrier."""
    result: Floats = (delay + 0.5) / (1 << DELAY_BITS) - 0.5
    return result


def _number(bits: NDArray[np.uint8]) -> Integers:
    """Whole numbers of their bits, the highest first, along the last axis."""
    return np.asarray(bits @ (1 << np.arange(bits.shape[-1])[::-1]))


def _ramp(turns: Floats, num_sc: int) -> Complex:
    """Phases of delays along the subcarriers, ``[..., 1, num_sc]``."""
    result: Complex = np.exp(2j * np.pi * turns[..., None, None] * (np.arange(num_sc) - (num_sc - 1) / 2))
    return result
