"""Write a small data set as a Wi-Fi survey gives it: ten access points, magnitudes only, ninety positions.

    python docs/examples/make_dataset.py wifi.h5
    python -m sim train --dataset wifi.h5 --out wifi-model
    python -m sim evaluate --dataset wifi.h5 --model wifi-model

The room is a box whose walls mirror the access points (image sources), with a brick wall across it. A number
after the file's name makes another survey, in another room. Replace `survey` by what reads your own
measurements: `write` shows all that a file needs.
"""

import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import h5py
import numpy as np

LIGHT_MPS = 299_792_458.0
CARRIER_HZ = 2.437e9
SPACING_HZ = 312_500.0
SUBCARRIERS = 49

ORDER = 3
"""Most reflections of a path."""


@dataclass(frozen=True)
class Room:
    """A box with a brick wall across it at one x, but for a wide opening.

    Attributes:
        size_m: Of the box.
        reflected: Share of the amplitude that walls at x, y and z = const leave.
        wall_x_m, gap_y_m, wall_amplitude: Where the wall stands and is open, and what it lets through.
    """

    size_m: tuple[float, float, float] = (18.0, 12.0, 3.0)
    reflected: tuple[float, float, float] = (0.55, 0.55, 0.35)
    wall_x_m: float = 7.0
    gap_y_m: tuple[float, float] = (4.5, 7.5)
    wall_amplitude: float = 0.4

    @classmethod
    def of(cls, seed: int) -> "Room":
        """The first room, or with other seeds another."""
        if seed == 1:
            return cls()
        draw = np.random.default_rng([seed, 1])
        size_m = draw.uniform([14.0, 9.0, 2.6], [24.0, 16.0, 4.0])
        side, top = draw.uniform(0.4, 0.7), draw.uniform(0.25, 0.5)
        gap = draw.uniform(0.2, 0.5) * size_m[1]
        return cls(
            tuple(size_m), (side, side, top), draw.uniform(0.3, 0.7) * size_m[0],
            (gap, gap + draw.uniform(2.0, 4.0)), draw.uniform(0.25, 0.6),
        )  # fmt: skip


PACKETS = 20
MOVING = 0.15
"""People about: every path's amplitude varies by so much from packet to packet, and its phase too."""
AGC_DB = 1.0
NOISE_DB, HEARD_DB, FLICKER_DB = -74.0, -30.0, 3.0
"""Relative to the field at one metre: noise, the weakest packet that is heard, and how much that varies."""


def grid_m(room: Room) -> np.ndarray:
    """Ninety places to stand at, an antenna 1.2 m above the floor, `[90, 3]`."""
    x, y = (np.linspace(1.0, size - 1.0, count) for size, count in zip(room.size_m, (10, 9), strict=False))
    return np.array([(a, b, 1.2) for a, b in product(x, y)])


def access_points_m(room: Room) -> np.ndarray:
    """Ten of them 0.3 m under the ceiling, `[10, 3]`."""
    plane = [(0.3, 0.4), (5.8, 0.3), (12.0, 0.4), (17.6, 0.5), (17.7, 6.2)]
    plane += [(17.5, 11.6), (11.0, 11.7), (5.1, 11.6), (0.4, 11.5), (0.3, 6.1)]
    first = Room().size_m
    stretch = room.size_m[0] / first[0], room.size_m[1] / first[1]
    return np.array([(x * stretch[0], y * stretch[1], room.size_m[2] - 0.3) for x, y in plane])


def images(room: Room, source_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A source and its mirror images up to ORDER, `[k, 3]`, and what reflections leave of each, `[k]`."""
    places, left = [], []
    for order in product(range(-ORDER, ORDER + 1), repeat=3):
        count = np.abs(order)
        if count.sum() > ORDER:
            continue
        odd = np.mod(order, 2) == 1
        mirrored_m = np.where(odd, room.size_m - source_m, source_m)
        places.append(np.multiply(order, room.size_m) + mirrored_m)
        left.append(np.prod(np.array(room.reflected) ** count))
    return np.array(places), np.array(left)


def through_wall(room: Room, position_m: np.ndarray, image_m: np.ndarray) -> np.ndarray:
    """What the brick wall leaves of straight rays: exact for the direct one, and a rule for the others."""
    width = room.size_m[1]
    share = (room.wall_x_m - position_m[0]) / (image_m[:, 0] - position_m[0])
    y = np.mod(position_m[1] + share * (image_m[:, 1] - position_m[1]), 2 * width)
    y = np.minimum(y, 2 * width - y)
    crosses = (share > 0) & (share < 1) & ((y < room.gap_y_m[0]) | (y > room.gap_y_m[1]))
    return np.where(crosses, room.wall_amplitude, 1.0)


def survey(seed: int = 1) -> dict[str, np.ndarray]:
    """Magnitudes `[sample, bs, 1, 1, 49]`, all zero where an access point was not heard, and positions."""
    draw, room = np.random.default_rng(seed), Room.of(seed)
    frequency_hz = CARRIER_HZ + (np.arange(SUBCARRIERS) - SUBCARRIERS // 2) * SPACING_HZ
    positions_m, access_m = grid_m(room), access_points_m(room)
    csi = np.zeros((len(positions_m), PACKETS, len(access_m), 1, 1, SUBCARRIERS), np.float32)
    for bs, source_m in enumerate(access_m):
        image_m, left = images(room, source_m)
        for number, position_m in enumerate(positions_m):
            length_m = np.linalg.norm(image_m - position_m, axis=1)
            amplitude = left * through_wall(room, position_m, image_m) / length_m
            turns = np.exp(-2j * np.pi * np.outer(length_m / LIGHT_MPS, frequency_hz))
            size = (PACKETS, len(left))
            moved = 1 + MOVING * (draw.normal(size=size) + 1j * draw.normal(size=size))
            channel = (moved * amplitude) @ turns
            level = 10 ** (draw.normal(0.0, AGC_DB, (PACKETS, 1)) / 20)
            noise = draw.normal(size=channel.shape) + 1j * draw.normal(size=channel.shape)
            heard = np.abs(channel * level + noise * 10 ** (NOISE_DB / 20))
            power_db = 10 * np.log10((heard**2).mean(axis=1)) + draw.normal(0.0, FLICKER_DB, PACKETS)
            csi[number, :, bs, 0, 0] = np.where(power_db[:, None] > HEARD_DB, heard, 0.0) * 1_000
    return {
        "csi_magnitude": csi.reshape(-1, *csi.shape[2:]),
        "position_m": np.repeat(positions_m, PACKETS, axis=0).astype(np.float32),
        "bs_position_m": access_m.astype(np.float32),
    }


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """The arrays by their names, and two attributes."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
        file.attrs["carrier_hz"] = CARRIER_HZ
        file.attrs["subcarrier_spacing_hz"] = SPACING_HZ


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "wifi.h5")
    arrays = survey(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    write(target, arrays)
    shape = ", ".join(map(str, arrays["csi_magnitude"].shape))
    print(f"{target}: magnitudes [{shape}] at {len(arrays['csi_magnitude']) // PACKETS} positions")
