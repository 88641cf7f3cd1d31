"""What an engineer would send of CSI, bit by bit: the payload ladder that embeddings are measured against.

Each payload says how many bits it takes and what the central unit gets back (:meth:`Payload.sent`, for NumPy
arrays and torch tensors alike, on the device that trains), and turns CSI into exactly those bits and back
(:meth:`Payload.pack` and :meth:`Payload.unpack`, NumPy only). Both ways give the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from models.preprocessing import slot_phases
from models.quantiser import dequantise, pack, packed_size_bytes, quantise, unpack

CsiShape = tuple[int, int, int]
"""Slots, antennas and subcarriers of one snapshot at one base station."""

EXPONENT_BITS = 8
SMALLEST_EXPONENT, LARGEST_EXPONENT = -120, 120
"""Of a quantiser's step, a power of two: far from where single precision ends."""


class Complex64:
    """The CSI as it is computed: two floats of 32 bits per resource element."""

    name: ClassVar[str] = "complex64"

    def slots(self, slots: int) -> int:
        """Slots of the CSI that arrives."""
        return slots

    def bits(self, shape: CsiShape) -> int:
        """Bits per base station and snapshot for CSI of this shape."""
        return 64 * shape[0] * shape[1] * shape[2]

    def sent(self, csi: Any) -> Any:
        """What arrives of CSI ``[..., num_slots, num_ant, num_sc]``."""
        return csi

    def pack(self, csi: NDArray[np.complex64]) -> bytes:
        """CSI of one snapshot at one base station as bits, little-endian."""
        return csi.astype("<c8").tobytes()

    def unpack(self, payload: bytes, shape: CsiShape) -> NDArray[np.complex64]:
        """The CSI of a payload; ``shape`` is what was packed."""
        return np.frombuffer(payload, "<c8").reshape(shape).astype(np.complex64)


@dataclass(frozen=True)
class BlockFloatingPoint:
    """Real and imaginary parts as numbers of a few bits that share a step per block of subcarriers.

    The step of a block is the power of two with which its largest number just fits; it is sent as one signed
    byte. Numbers are quantised by the midrise quantiser (19), so no error exceeds half a step. On the wire
    come the bytes of all blocks, then all numbers, real part first, without gaps. With blocks of 12
    subcarriers and 9 bits this is the size of the usual compression of an open fronthaul: 28 bytes per block.

    Attributes:
        name: Of the payload.
        mantissa_bits: Bits of a number.
        block: Subcarriers of a slot and antenna that share a step; None: one step for everything.
        average: Whether slots are turned onto the last one and averaged first, which makes them one.
    """

    name: str
    mantissa_bits: int
    block: int | None
    average: bool = False

    def slots(self, slots: int) -> int:
        """Slots of the CSI that arrives."""
        return 1 if self.average else slots

    def bits(self, shape: CsiShape) -> int:
        """Bits per base station and snapshot for CSI of this shape."""
        slots, antennas, subcarriers = self.slots(shape[0]), shape[1], shape[2]
        numbers = 2 * slots * antennas * subcarriers
        return self.mantissa_bits * numbers + EXPONENT_BITS * self._blocks((slots, antennas, subcarriers))

    def sent(self, csi: Any) -> Any:
        """What arrives of CSI ``[..., num_slots, num_ant, num_sc]``; of one slot if slots are averaged."""
        xp = array_namespace(csi)
        indices, exponent = self._quantised(csi)
        numbers = dequantise(indices, self.mantissa_bits, power_of_two(exponent)[..., None])
        return self._joined(xp, numbers, (*csi.shape[:-3], self.slots(csi.shape[-3]), *csi.shape[-2:]))

    def pack(self, csi: NDArray[np.complex64]) -> bytes:
        """CSI of one snapshot at one base station as bits, up to seven zeros at the end to fill a byte."""
        indices, exponent = self._quantised(csi)
        kept = indices.reshape(-1)[self._kept((self.slots(csi.shape[0]), *csi.shape[1:]))]
        steps: bytes = exponent.astype(np.int8).tobytes()
        return steps + pack(kept, self.mantissa_bits)

    def unpack(self, payload: bytes, shape: CsiShape) -> NDArray[np.complex64]:
        """The CSI of a payload; ``shape`` is what was packed.

        Raises:
            ValueError: The payload has another length, or ones where it is filled up.
        """
        arrived = (self.slots(shape[0]), shape[1], shape[2])
        blocks, kept = self._blocks(arrived), self._kept(arrived)
        size = blocks + packed_size_bytes(len(kept), self.mantissa_bits)
        if len(payload) != size:
            raise ValueError(f"{self.name}: payload of {len(payload)} bytes, {size} expected")
        exponent = np.frombuffer(payload[:blocks], np.int8).astype(np.int32)
        indices = np.zeros((blocks, 2 * self._span(arrived)), np.uint16)
        indices.reshape(-1)[kept] = unpack(payload[blocks:], len(kept), self.mantissa_bits)
        numbers = dequantise(indices, self.mantissa_bits, power_of_two(exponent)[..., None])
        csi: NDArray[np.complex64] = self._joined(np, numbers, arrived)
        return csi

    def _span(self, arrived: CsiShape) -> int:
        """Resource elements of one block."""
        return arrived[0] * arrived[1] * arrived[2] if self.block is None else self.block

    def _blocks(self, arrived: CsiShape) -> int:
        return 1 if self.block is None else arrived[0] * arrived[1] * -(-arrived[2] // self.block)

    def _kept(self, arrived: CsiShape) -> NDArray[np.int64]:
        """Which numbers of all blocks are sent: those that do not only fill the last block of a row."""
        blocks, span = self._blocks(arrived), self._span(arrived)
        place = np.arange(blocks * span)
        if self.block is not None:
            row = -(-arrived[2] // span) * span
            place = place[place % row < arrived[2]]
        return (2 * place[:, None] + np.arange(2)).reshape(-1)

    def _quantised(self, csi: Any) -> tuple[Any, Any]:
        """Indices ``[..., blocks, 2·span]`` and exponents of the steps, int32, ``[..., blocks]``."""
        xp = array_namespace(csi)
        csi = xp.astype(csi, xp.complex64, copy=False)
        if self.average:
            csi = averaged_in_phase(csi)
        *lead, slots, antennas, subcarriers = csi.shape
        numbers = xp.stack([xp.real(csi), xp.imag(csi)], axis=-1)
        if self.block is not None and subcarriers % self.block:
            fill = xp.zeros_like(numbers[..., :1, :])
            numbers = xp.concat([numbers, *[fill] * (self.block - subcarriers % self.block)], axis=-2)
        blocks, span = (
            self._blocks((slots, antennas, subcarriers)),
            self._span((slots, antennas, subcarriers)),
        )
        numbers = xp.reshape(numbers, (*lead, blocks, 2 * span))
        exponent = exponent_of(xp.max(xp.abs(numbers), axis=-1)) + 2 - self.mantissa_bits
        exponent = xp.clip(exponent, SMALLEST_EXPONENT, LARGEST_EXPONENT)
        return quantise(numbers, self.mantissa_bits, power_of_two(exponent)[..., None]), exponent

    def _joined(self, xp: Any, numbers: Any, shape: tuple[int, ...]) -> Any:
        """Complex CSI of the numbers of all blocks, without what fills the last block of a row."""
        *lead, slots, antennas, subcarriers = shape
        pairs = xp.reshape(numbers, (*lead, slots, antennas, -1, 2))[..., :subcarriers, :]
        return xp.astype(pairs[..., 0], xp.complex64) + 1j * xp.astype(pairs[..., 1], xp.complex64)


Payload = Complex64 | BlockFloatingPoint

PAYLOADS: dict[str, Payload] = {
    payload.name: payload
    for payload in (
        Complex64(),
        BlockFloatingPoint("16-bit", 16, None),
        BlockFloatingPoint("bfp9", 9, 12),
        BlockFloatingPoint("mean-bfp9", 9, 12, average=True),
    )
}
"""By name: complex64; 16-bit fixed point; block floating point of 9 bits; the same of averaged slots."""


def averaged_in_phase(csi: Any) -> Any:
    """Mean over the slots, each turned onto the last one: ``[..., 1, num_ant, num_sc]``.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``.
    """
    xp = array_namespace(csi)
    return xp.mean(csi * slot_phases(csi)[..., None, None], axis=-3, keepdims=True)


def exponent_of(magnitude: Any) -> Any:
    """Largest integer e with 2^e <= magnitude, int32; -127 for zero. Exact, as a logarithm is not.

    Args:
        magnitude: float32, not negative.
    """
    xp = array_namespace(magnitude)
    return (magnitude.view(xp.int32) >> 23) - 127


def power_of_two(exponent: Any) -> Any:
    """2^e, exactly, float32.

    Args:
        exponent: int32, from -126 to 127.
    """
    xp = array_namespace(exponent)
    return ((exponent + 127) << 23).view(xp.float32)
