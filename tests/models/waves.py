"""What an array hears of plane waves."""

from typing import Any

import numpy as np

from models.synthesis import Radio, synthesise

RADIO = Radio()


def waves(
    directions: Any,
    delay_s: Any,
    gain: Any = (1.0,),
    *,
    radio: Radio = RADIO,
    rotation: Any = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    velocity_mps: Any = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """CSI ``[num_slots, num_ant, num_sc]`` of plane waves at an array that is turned by ``rotation``.

    Args:
        directions: Unit vectors to where they come from, ``[K, 3]``.
        delay_s: ``[K]``, s.
        gain: ``[K]``, complex.
        radio: The air interface.
        rotation: Its columns are the array's axes, ``[3, 3]``.
        velocity_mps: Of the sender, ``[3]``, m/s.
    """
    towards = np.asarray(directions)[None]
    csi: np.ndarray = synthesise(
        np.asarray(gain, np.complex64)[None],
        np.asarray(delay_s)[None],
        -towards,
        towards,
        (radio.antenna_position_m() @ np.asarray(rotation).T)[None],
        np.asarray(velocity_mps)[None],
        np.zeros(1),
        radio.slot_time_s(),
        radio.frequency_hz(),
        radio.carrier_hz,
    )[0]
    return csi


def unit(k_y: float, k_z: float) -> np.ndarray:
    """Unit vector in front of an array, of its direction cosines."""
    return np.array([max(0.0, 1 - k_y**2 - k_z**2) ** 0.5, k_y, k_z])
