"""What a base station makes of CSI of any size, with or without phase, before its encoder: NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from models.preprocessing import encoder_input

MOST_BANDS = 64
"""More subcarriers are taken together in bands."""
MOST_LAGS = 24
MOST_CROSSED = 16
"""Antennas whose products are formed with each other."""
CHUNK_NUMBERS = 1 << 24
"""Numbers of CSI that are worked on at a time."""
FADED, UNLIKE = 1e-2, 1e-2
"""Added to relative powers before the logarithm: −20 dB is as good as nothing."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LinkShape:
    """What the CSI of one link looks like, and how many numbers are made of it.

    Attributes:
        slots, antennas, subcarriers: Of a snapshot.
        phase: Whether it is complex.
    """

    slots: int
    antennas: int
    subcarriers: int
    phase: bool

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if min(self.slots, self.antennas, self.subcarriers) < 1:
            raise ValueError("slots, antennas and subcarriers must be positive")

    @property
    def bands(self) -> int:
        """Subcarriers, or bands of them."""
        return min(self.subcarriers, MOST_BANDS)

    @property
    def lags(self) -> int:
        """Distances in delay at which the impulse response is compared with itself."""
        return min(self.subcarriers // 2, MOST_LAGS)

    @property
    def smooth(self) -> int:
        """Features that change little within a wavelength; they come first."""
        crossed = min(self.antennas, MOST_CROSSED)
        return self.lags + (crossed * crossed if self.phase and crossed > 1 else 0)

    @property
    def rough(self) -> int:
        """Features that small-scale fading changes within a wavelength."""
        magnitudes = self.antennas * self.bands
        return magnitudes + (2 * magnitudes + 11 if self.phase else 0)

    @property
    def features(self) -> int:
        """All of them."""
        return self.smooth + self.rough


def link_features(csi: NDArray[Any], noise_variance: float | None) -> tuple[Floats, Floats]:
    """What encoders are fed.

    Every link is first divided by its own mean power, so that its scale is in the gain alone.

    Args:
        csi: ``[n, slot, antenna, subcarrier]``, complex, or real where only magnitudes are known. Links of
            zeros give features that mean nothing.
        noise_variance: In the units of ``|csi|^2``; None: unknown, gains are relative to the units.

    Returns:
        Features ``[n, F]``, see :class:`LinkShape`, and gains ``[n]``, dB.
    """
    size = max(1, CHUNK_NUMBERS // max(1, int(np.prod(csi.shape[1:]))))
    parts = [_features(csi[start : start + size], noise_variance) for start in range(0, len(csi), size)]
    if not parts:
        return np.zeros((0, shape_of(csi).features), np.float32), np.zeros(0, np.float32)
    return np.concatenate([part for part, _ in parts]), np.concatenate([gain for _, gain in parts])


def shape_of(csi: NDArray[Any]) -> LinkShape:
    """Of CSI ``[..., slot, antenna, subcarrier]``."""
    slots, antennas, subcarriers = csi.shape[-3:]
    return LinkShape(slots, antennas, subcarriers, bool(np.iscomplexobj(csi)))


def _features(csi: NDArray[Any], noise_variance: float | None) -> tuple[Floats, Floats]:
    shape = shape_of(csi)
    power = np.abs(csi).astype(np.float64) ** 2
    mean = power.mean(axis=(1, 2, 3))
    heard = mean > 0
    safe = np.where(heard, mean, 1.0)
    gain = 10 * np.log10(safe / (noise_variance or 1.0))
    power = power.mean(axis=1) / safe[:, None, None]  # [n, antenna, subcarrier]
    columns = [_likeness(power, shape.lags)]
    if shape.phase:
        scaled = csi / np.sqrt(safe)[:, None, None, None].astype(np.float32)
        if shape.antennas > 1:
            columns.append(_crossed(scaled[:, :, :MOST_CROSSED]))
    banded = np.stack([part.mean(axis=-1) for part in np.array_split(power, shape.bands, axis=-1)], axis=-1)
    columns.append((10 * np.log10(banded + FADED) / 6).reshape(len(csi), -1))
    if shape.phase:
        comb = [part[len(part) // 2] for part in np.array_split(np.arange(shape.subcarriers), shape.bands)]
        waves, side, _ = encoder_input(
            scaled[..., comb].astype(np.complex64), 1.0, phase_reference="delay", modes=1
        )
        columns += [waves.reshape(len(csi), -1), side[:, 1:]]
    features = np.concatenate(columns, axis=1).astype(np.float32)
    assert features.shape == (len(csi), shape.features), (features.shape, shape)
    return features, gain.astype(np.float32)


def _likeness(power: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """How like itself the impulse response is at other delays, dB: known from magnitudes, free of clocks."""
    spectrum = np.abs(np.fft.ifft(power, axis=-1)).mean(axis=1)
    relative = spectrum[:, 1 : lags + 1] / np.maximum(spectrum[:, :1], 1e-20)
    likeness: NDArray[np.float64] = 10 * np.log10(relative + UNLIKE) / 5 + 1.5
    return likeness


def _crossed(csi: NDArray[Any]) -> NDArray[np.float64]:
    """Spatial covariance, averaged over slots and subcarriers: where the power comes from, ``[n, A²]``."""
    columns = np.moveaxis(csi, 2, 1).reshape(len(csi), csi.shape[2], -1)
    crossed = columns @ columns.conj().swapaxes(-1, -2) / columns.shape[-1]
    rows, others = np.triu_indices(csi.shape[2], 1)
    diagonal = np.real(np.diagonal(crossed, axis1=-2, axis2=-1))
    beside = crossed[:, rows, others]
    return np.concatenate([diagonal, np.real(beside), np.imag(beside)], axis=1)
