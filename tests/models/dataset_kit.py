"""Small data sets with a law that can be learned: amplitudes fall, and phases turn, with the distance."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

ROOM_M = 20.0


def arrays(
    *,
    places: int = 30,
    packets: int = 4,
    shape: tuple[int, int, int, int] = (4, 1, 1, 8),
    phase: bool = False,
    seed: int = 0,
) -> dict[str, npt.NDArray[Any]]:
    """CSI of base stations around a square, and positions; ``shape`` is bs, slot, antenna, subcarrier."""
    draw = np.random.default_rng(seed)
    num_bs, slots, antennas, subcarriers = shape
    angle = 2 * np.pi * np.arange(num_bs) / num_bs
    sites = np.stack([np.cos(angle), np.sin(angle), np.zeros(num_bs)], axis=1) * ROOM_M
    position = draw.uniform(-ROOM_M / 2, ROOM_M / 2, (places, 3)) * [1, 1, 0.1]
    towards = position[:, None] - sites
    distance = np.linalg.norm(towards, axis=2)
    turns = distance[:, :, None, None, None] * np.arange(subcarriers) * 0.02
    bearing = (towards[..., 0] / distance)[:, :, None, None, None] * np.arange(antennas)[:, None] * 0.5
    channel = np.exp(-2j * np.pi * (turns + bearing)) / distance[:, :, None, None, None]
    channel = np.repeat(np.repeat(channel, slots, axis=2), packets, axis=0)
    channel = channel + (draw.normal(size=channel.shape) + 1j * draw.normal(size=channel.shape)) * 0.002
    csi = {"csi": channel.astype(np.complex64)} if phase else {"csi_magnitude": abs(channel).astype("f4")}
    return csi | {"position_m": np.repeat(position, packets, axis=0).astype("f4"), "bs_position_m": sites}


def write(path: Path, values: dict[str, npt.NDArray[Any]], **attributes: Any) -> Path:
    """An HDF5 file of them."""
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file[name] = value
        for name, number in ({"carrier_hz": 2.4e9, "subcarrier_spacing_hz": 312_500.0} | attributes).items():
            if number is not None:
                file.attrs[name] = number
    return path
