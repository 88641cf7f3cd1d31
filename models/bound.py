"""How well a position can be known at all from lines of sight: the Cramér–Rao bound."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.synthesis import SPEED_OF_LIGHT_MPS, Radio

Floats = NDArray[np.float64]
Delay = Literal["synchronised", "ue_unknown", "deleted"]
DELAYS: tuple[Delay, ...] = get_args(Delay)


def link_information(radio: Radio) -> Floats:
    """Fisher information of one plane wave about k_y, k_z and delay (s), at an SNR of one, ``[3]``.

    Its amplitude and its phase in every slot are unknown. Around the centres of the array and of the band,
    k_y, k_z, the delay and the phases are all orthogonal, so that each of the three has
    2·(number of resource elements)·(mean square of what it is multiplied with in the phase).
    """
    place = radio.antenna_position_m() / radio.wavelength_m
    rate = (
        2
        * np.pi
        * np.array(
            [
                np.mean(place[:, 1] ** 2) ** 0.5,
                np.mean(place[:, 2] ** 2) ** 0.5,
                np.mean(radio.frequency_hz() ** 2) ** 0.5,
            ]
        )
    )
    return 2 * radio.slots * radio.antennas * radio.subcarriers * rate**2


def position_information(
    position_m: Floats,
    site_m: Floats,
    world_from_array: Floats,
    snr: Floats,
    radio: Radio,
    delay: Delay,
    bs_sync_s: float = 0.0,
) -> Floats:
    """Fisher information about UE positions, ``[n, 3, 3]``, 1/m^2.

    Only lines of sight count, and as if nothing else were heard. A reflection off a wall that is known would
    add to it; one that cannot be told from the line of sight takes from it.

    Args:
        position_m: ``[n, 3]``, m.
        site_m: ``[num_bs, 3]``, m.
        world_from_array: Rotations of the arrays, ``[num_bs, 3, 3]``.
        snr: Power of the line of sight in a resource element over the noise, 0 where there is none,
            ``[n, num_bs]``.
        radio: What the air interface fixes.
        delay: ``synchronised``: delays are distances. ``ue_unknown``: but for one offset, common to all base
            stations, of which nothing is known. ``deleted``: they are not used.
        bs_sync_s: Standard deviation of each base station's own clock, s.
    """
    offset = position_m[:, None] - site_m
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    towards = offset / distance
    local = np.einsum("lji,nlj->nli", world_from_array, towards)
    across = world_from_array.swapaxes(-1, -2)[None, :, 1:] - local[..., 1:, None] * towards[..., None, :]
    about_angles, about_delay = np.split(snr[..., None] * link_information(radio), [2], axis=-1)
    turns = across / distance[..., None]  # derivatives of k_y and k_z, [n, num_bs, 2, 3]
    information: Floats = np.einsum("nle,nlei,nlej->nij", about_angles, turns, turns)
    if delay == "deleted":
        return information
    late = towards / SPEED_OF_LIGHT_MPS
    weight = about_delay[..., 0] / (1 + about_delay[..., 0] * bs_sync_s**2)
    information = information + np.einsum("nl,nli,nlj->nij", weight, late, late)
    if delay == "ue_unknown":
        along = np.einsum("nl,nli->ni", weight, late)
        total = np.maximum(weight.sum(axis=-1), 1e-300)[:, None, None]
        information = information - along[:, :, None] * along[:, None, :] / total
    return information


def root_mean_square_m(information: Floats) -> Floats:
    """Least root mean square 3D error of an unbiased estimate, ``[n]``, m; infinite where it is not bounded.

    Args:
        information: Symmetric, ``[n, 3, 3]``, 1/m^2.
    """
    values = np.linalg.eigvalsh(information)
    bounded = values[:, 0] > 1e-9 * np.maximum(values[:, 2], 1e-300)
    variance = (1 / np.where(bounded[:, None], values, 1.0)).sum(axis=-1)
    return np.where(bounded, variance, np.inf) ** 0.5
