"""What a base station makes of its CSI before the encoder: equations (7)–(15), for NumPy and torch alike."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace

PHASE_REFERENCES = ("antenna", "slot", "delay")
HARMONICS = (1, 2, 4, 8, 16)
"""Multiples of the delay's angle whose cosine and sine the encoder gets beside the delay itself."""
TINY = 1e-20


def gain_db(csi: Any, noise_variance: float) -> Any:
    """Mean SNR of a resource element, dB: the paper's gain indicator (7) over noise, in decibels.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``.
        noise_variance: Noise power in the units of ``|csi|^2``.
    """
    xp = array_namespace(csi)
    power = xp.mean(_power(xp, csi), axis=(-3, -2, -1))
    return 10.0 * xp.log10(power / noise_variance + 1e-3)


def normalise(csi: Any) -> Any:
    """CSI scaled to unit mean power per resource element: (8) times the root of the number of elements.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``.
    """
    xp = array_namespace(csi)
    rms = xp.sqrt(xp.mean(_power(xp, csi), axis=(-3, -2, -1), keepdims=True))
    return csi / xp.astype(rms + TINY, csi.dtype)


def reference_antenna(csi: Any) -> Any:
    """Index of the antenna with the most power over the snapshot, (9), ``[...]``; ties go to the smallest.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``.
    """
    xp = array_namespace(csi)
    return xp.argmax(xp.mean(_power(xp, csi), axis=(-3, -1)), axis=-1)


def stabilise_antenna(csi: Any, threshold: float = 1e-6) -> Any:
    """The paper's phase stabilisation (10)–(11): the reference antenna's phase is taken from all antennas.

    Each slot and subcarrier is turned by itself. That deletes the phase ramp over frequency, and with it the
    delay.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``.
        threshold: Where the reference is not above it, nothing is turned.
    """
    xp = array_namespace(csi)
    chosen = reference_antenna(csi)
    one_hot = xp.astype(xp.arange(csi.shape[-2])[:] == chosen[..., None], csi.dtype)
    reference = xp.sum(csi * one_hot[..., None, :, None], axis=-2, keepdims=True)
    return csi * xp.conj(_phase(xp, reference, threshold))


def stabilise_slot(csi: Any) -> Any:
    """One common phase per slot: slots are turned onto the last one, and that by its middle subcarrier.

    The phase ramp over frequency, and with it the delay, is kept.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``.
    """
    xp = array_namespace(csi)
    aligned = csi * slot_phases(csi)[..., None, None]
    chosen = reference_antenna(csi)
    one_hot = xp.astype(xp.arange(csi.shape[-2])[:] == chosen[..., None], csi.dtype)
    centre = csi.shape[-1] // 2
    mean = xp.mean(aligned[..., centre], axis=-2)  # [..., num_ant]
    reference = xp.sum(mean * one_hot, axis=-1)[..., None, None, None]
    return aligned * xp.conj(_phase(xp, reference))


def slot_phases(csi: Any) -> Any:
    """Unit phasors ``[..., num_slots]`` that turn each slot onto the last one."""
    xp = array_namespace(csi)
    flat = xp.reshape(csi, (*csi.shape[:-2], csi.shape[-2] * csi.shape[-1]))
    against_last = xp.matmul(flat, xp.conj(flat[..., -1, :])[..., None])[..., 0]
    return xp.conj(_phase(xp, against_last))


def delay_slope(csi: Any) -> Any:
    """Slope of the phase over frequency within ±π, which tells the mean delay up to one turn per subcarrier.

    Args:
        csi: ``[..., num_ant, num_sc]``.

    Returns:
        Radians per subcarrier, ``[...]``: minus 2π times effective spacing times mean delay.
    """
    xp = array_namespace(csi)
    product = xp.sum(csi[..., 1:] * xp.conj(csi[..., :-1]), axis=(-2, -1))
    return xp.atan2(xp.imag(product), xp.real(product))


def remove_delay(csi: Any) -> tuple[Any, Any]:
    """The mean delay taken out, and the phase of what is left set by one antenna, always the same.

    With the strongest antenna as reference, as in (9), the choice among near-equals would turn all phases at
    random. The mean delay is that of the first mode; it is unambiguous up to one turn per subcarrier.

    Args:
        csi: ``[..., modes, num_ant, num_sc]``, the slots' mean first.

    Returns:
        CSI without delay, like ``csi``, and the slope in radians per subcarrier within (−2π, 0], ``[...]``:
        minus 2π times effective spacing times mean delay.
    """
    xp = array_namespace(csi)
    mean = csi[..., 0, :, :]
    slope = delay_slope(mean)
    slope = xp.where(slope > 0, slope - 2 * np.pi, slope)
    num_sc = csi.shape[-1]
    position = xp.astype(xp.arange(num_sc), slope.dtype) - (num_sc - 1) / 2
    angle = slope[..., None] * position
    ramp = xp.astype(xp.cos(angle), csi.dtype) - 1j * xp.astype(xp.sin(angle), csi.dtype)
    flat = csi * ramp[..., None, None, :]
    reference = xp.sum(flat[..., 0, csi.shape[-2] // 2, :], axis=-1)[..., None, None, None]
    return flat * xp.conj(_phase(xp, reference)), slope


def stack(csi: Any) -> Any:
    """Real and imaginary parts as channels, slots and antennas as rows: (13)–(15).

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``.

    Returns:
        ``[..., num_slots·num_ant, num_sc, 2]``.
    """
    xp = array_namespace(csi)
    *lead, slots, antennas, subcarriers = csi.shape
    rows = xp.reshape(csi, (*lead, slots * antennas, subcarriers))
    return xp.stack([xp.real(rows), xp.imag(rows)], axis=-1)


def _power(xp: Any, csi: Any) -> Any:
    return xp.real(csi) ** 2 + xp.imag(csi) ** 2


def _phase(xp: Any, value: Any, threshold: float = 0.0) -> Any:
    """Unit phasor of ``value``; 1 where its magnitude is not above ``threshold``."""
    magnitude = xp.abs(value)
    usable = magnitude > max(threshold, TINY)
    safe = xp.where(usable, magnitude, xp.ones_like(magnitude))
    return xp.where(usable, value / xp.astype(safe, value.dtype), xp.ones_like(value))


@cache
def slot_basis(slots: int, modes: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Polynomials over the slots, ``[modes, slots]``: mean, drift, curvature …, orthogonal, norm T^(-1/2)."""
    place = np.linspace(-1, 1, slots)
    columns = np.stack([place**k for k in range(modes)], axis=1)
    basis = np.linalg.qr(columns)[0].T
    scaled: np.ndarray[Any, np.dtype[np.float64]] = basis * np.sign(basis[:, -1:]) / slots**0.5
    return scaled


def encoder_input(
    csi: Any, noise_variance: float, phase_reference: str, modes: int | None
) -> tuple[Any, Any, Any]:
    """What the encoder is fed, from the CSI estimate of one or many links.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``, complex.
        noise_variance: In the units of ``|csi|^2``.
        phase_reference: ``antenna`` is the paper's (10)–(11), ``slot`` keeps the delay, ``delay`` measures
            the delay, takes it out of the CSI and hands it over beside it.
        modes: Polynomials over the slots that are kept; None keeps the slots themselves, by (13)–(15).

    Returns:
        Features ``[..., num_sc, 2·modes·num_ant]`` or, of the slots themselves, ``[..., T·N_r, num_sc, 2]``;
        side features ``[..., 1 or 12]``; gain in dB ``[...]``.

    Raises:
        ValueError: There is no such phase reference, or it needs modes.
    """
    if phase_reference not in PHASE_REFERENCES:
        raise ValueError(
            f"phase_reference must be one of {', '.join(PHASE_REFERENCES)}, not {phase_reference}"
        )
    xp = array_namespace(csi)
    gain = gain_db(csi, noise_variance)
    level = (gain / 30.0 - 1.0)[..., None]
    if modes is None:
        return stack(_stabilise(normalise(csi), phase_reference)), level, gain
    *lead, slots, antennas, subcarriers = csi.shape
    rms = xp.sqrt(xp.asarray(noise_variance, dtype=gain.dtype, device=gain.device) * 10.0 ** (gain / 10.0))
    weights = xp.astype(xp.asarray(slot_basis(slots, modes), device=gain.device), csi.dtype)
    if phase_reference == "delay":
        weights = weights * slot_phases(csi)[..., None, :]
    else:
        csi = _stabilise(csi, phase_reference)
    kept = xp.matmul(weights, xp.reshape(csi, (*lead, slots, antennas * subcarriers)))
    kept = kept / xp.astype(rms + TINY, csi.dtype)[..., None, None]
    kept = xp.reshape(kept, (*lead, modes, antennas, subcarriers))
    side = level
    if phase_reference == "delay":
        kept, slope = remove_delay(kept)
        side = xp.concat([level, _delay_features(xp, slope / (-2 * np.pi))], axis=-1)
    tokens = xp.moveaxis(xp.reshape(kept, (*lead, modes * antennas, subcarriers)), -1, -2)
    return xp.concat([xp.real(tokens), xp.imag(tokens)], axis=-1), side, gain


def _stabilise(csi: Any, phase_reference: str) -> Any:
    if phase_reference == "delay":
        raise ValueError("phase_reference 'delay' needs modes: it takes the delay out of the slots' mean")
    return stabilise_slot(csi) if phase_reference == "slot" else stabilise_antenna(csi, threshold=0.0)


def side_features(phase_reference: str) -> int:
    """Numbers per link that the encoder sees beside the CSI."""
    return 2 + 2 * len(HARMONICS) if phase_reference == "delay" else 1


def _delay_features(xp: Any, turns: Any) -> Any:
    """The mean delay, in turns per subcarrier, as the encoder sees it: itself and waves, ``[..., 11]``."""
    angles = xp.stack([2 * np.pi * k * turns for k in HARMONICS], axis=-1)
    waves = xp.stack([xp.cos(angles), xp.sin(angles)], axis=-1)
    waves = xp.reshape(waves, (*turns.shape, 2 * len(HARMONICS)))
    return xp.concat([(4.0 * turns - 1.5)[..., None], waves], axis=-1)
