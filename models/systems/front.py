"""What the encoder of each system is fed: CSI as it arrives where it runs, for NumPy and torch alike."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from models.adcpm import adcpm
from models.payloads import PAYLOADS
from models.preprocessing import encoder_input, gain_db
from models.systems.local_fix import FIX_BITS

EMBEDDING, ADCPM, FIX = "embedding", "adcpm", "fix"
MESSAGES = (EMBEDDING, *PAYLOADS, ADCPM, FIX)
"""What base stations can send: quantised latents; CSI in any form of the ladder; the ADCPM; a fix."""


def system_input(
    csi: Any, noise_variance: float, message: str, phase_reference: str, modes: int | None
) -> tuple[Any, Any, Any]:
    """What the encoder is fed, from the CSI estimates of one or many links.

    The encoder of an embedding or a fix runs at the base station and sees the CSI itself. Where CSI or its
    ADCPM is sent, it runs at the central unit and sees what arrives.

    Args:
        csi: ``[..., num_slots, num_ant, num_sc]``, complex.
        noise_variance: In the units of ``|csi|^2``.
        message: One of :data:`MESSAGES`.
        phase_reference: See :func:`models.preprocessing.encoder_input`.
        modes: The same.

    Returns:
        Features, side features and the gain in dB: that of the CSI before it was sent.
    """
    if message == ADCPM:
        gain = gain_db(csi, noise_variance)
        return power_map(csi, noise_variance), (gain / 30.0 - 1.0)[..., None], gain
    arrived = PAYLOADS[message].sent(csi) if message in PAYLOADS else csi
    features, side, gain = encoder_input(arrived, noise_variance, phase_reference, modes)
    return features, side, gain if arrived is csi else gain_db(csi, noise_variance)


def kept_subcarriers(there: int, count: int, step: int) -> tuple[int, ...]:
    """Indices of so many of the subcarriers that there are, a step apart, in the middle of the band.

    Raises:
        ValueError: They do not fit.
    """
    span = (count - 1) * step + 1
    if span > there:
        raise ValueError(f"{count} subcarriers {step} apart are more than {there}")
    first = (there - span) // 2
    return tuple(range(first, first + span, step))


def power_map(csi: Any, noise_variance: float) -> Any:
    """The ADCPM as an encoder sees it: decades over the noise, delays first, ``[..., num_sc, num_ant]``."""
    xp = array_namespace(csi)
    power = adcpm(csi, noise_variance)
    levels = xp.log10(power / noise_variance)
    return xp.moveaxis(xp.reshape(levels, (*levels.shape[:-3], -1, levels.shape[-1])), -1, -2)


def payload_bits(message: str, csi_shape: tuple[int, int, int], dims: int, bits: int) -> int:
    """Bits of one message without its gain."""
    if message in PAYLOADS:
        return PAYLOADS[message].bits(csi_shape)
    if message == FIX:
        return FIX_BITS
    if message == ADCPM:
        return 32 * csi_shape[1] * csi_shape[2]
    return dims * bits
