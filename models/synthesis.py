"""Channel state information from propagation paths: equation (1), for NumPy and torch alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

SPEED_OF_LIGHT_MPS = 299_792_458.0
BOLTZMANN_NOISE_DBM_PER_HZ = -174.0


@dataclass(frozen=True)
class Radio:
    """What the air interface fixes.

    Attributes:
        carrier_hz: Carrier frequency, Hz.
        subcarrier_spacing_hz: Spacing of the full grid, Hz.
        full_subcarriers: Subcarriers of the full grid; the UE's power is spread over all of them.
        subcarrier_stride: One subcarrier in this many is kept.
        slots: Per snapshot.
        slot_s: Time between slots; the snapshot's time is that of its last slot.
        rows: Of the base station's planar array, half a wavelength apart.
        columns: The same.
        ue_power_dbm: Sent, over the full grid.
        noise_figure_db: Of the base station.
    """

    carrier_hz: float = 3.5e9
    subcarrier_spacing_hz: float = 60e3
    full_subcarriers: int = 288
    subcarrier_stride: int = 12
    slots: int = 10
    slot_s: float = 2e-3
    rows: int = 2
    columns: int = 4
    ue_power_dbm: float = 23.0
    noise_figure_db: float = 5.0

    @property
    def subcarriers(self) -> int:
        """Subcarriers that are kept."""
        return self.full_subcarriers // self.subcarrier_stride

    @property
    def antennas(self) -> int:
        """Elements of the array."""
        return self.rows * self.columns

    @property
    def wavelength_m(self) -> float:
        """Of the carrier, m."""
        return SPEED_OF_LIGHT_MPS / self.carrier_hz

    def frequency_hz(self) -> NDArray[np.float64]:
        """Baseband frequencies of the kept subcarriers, centred, ``[num_sc]``, Hz."""
        spacing = self.subcarrier_spacing_hz * self.subcarrier_stride
        return (np.arange(self.subcarriers, dtype=np.float64) - (self.subcarriers - 1) / 2) * spacing

    def slot_time_s(self) -> NDArray[np.float64]:
        """Times of the slots relative to the snapshot's time, ``[num_slots]``, s, all <= 0."""
        return (np.arange(self.slots, dtype=np.float64) - (self.slots - 1)) * self.slot_s

    def noise_variance(self) -> float:
        """Noise power of one resource element over the power that the UE sends in it."""
        noise_dbm = (
            BOLTZMANN_NOISE_DBM_PER_HZ + 10 * np.log10(self.subcarrier_spacing_hz) + self.noise_figure_db
        )
        sent_dbm = self.ue_power_dbm - 10 * np.log10(self.full_subcarriers)
        return float(10 ** ((noise_dbm - sent_dbm) / 10))

    def antenna_position_m(self) -> NDArray[np.float64]:
        """Antennas around the array's centre in its own axes (x = boresight, z = up), ``[num_ant, 3]``, m.

        Column by column with growing y, in each column from the top: the order of Sionna's ``PlanarArray``.
        """
        spacing = self.wavelength_m / 2
        column, row = np.meshgrid(np.arange(self.columns), np.arange(self.rows), indexing="ij")
        y = (column - (self.columns - 1) / 2) * spacing
        z = -(row - (self.rows - 1) / 2) * spacing
        return np.stack([np.zeros(y.size), y.ravel(), z.ravel()], axis=1)


def world_from_array(position_m: Any, look_at_m: Any) -> NDArray[np.float64]:
    """Rotation of an array whose boresight points at something, ``[3, 3]``; its columns are the array's axes.

    Azimuth first, then tilt, no roll: its y axis stays horizontal.

    Args:
        position_m: Where it stands, ``[3]``, m.
        look_at_m: What it looks at, ``[3]``, m; not above or below it.
    """
    forward = np.asarray(look_at_m, dtype=np.float64) - np.asarray(position_m, dtype=np.float64)
    x = forward / np.linalg.norm(forward)
    y = np.cross([0.0, 0.0, 1.0], x)
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def synthesise(
    gain: Any,
    delay_s: Any,
    ue_direction: Any,
    bs_direction: Any,
    antenna_position_m: Any,
    velocity_mps: Any,
    clock_offset_s: Any,
    slot_time_s: Any,
    frequency_hz: Any,
    carrier_hz: float,
) -> Any:
    """Frequency-domain channel of each link by (1), with Doppler over the slots.

    The delays must be float64 (the carrier turns 3.5 billion times a second); the result is complex64.

    Args:
        gain: Complex path gains without the carrier phase, 0 for padding, ``[G, K]``.
        delay_s: ``[G, K]``, s.
        ue_direction: Departure directions at the UE, world axes, ``[G, K, 3]``.
        bs_direction: Arrival directions at the BS, world axes, ``[G, K, 3]``.
        antenna_position_m: Antennas around the array's centre, world axes, ``[G, num_ant, 3]``, m.
        velocity_mps: UE velocity, ``[G, 3]``, m/s.
        clock_offset_s: Timing offset that adds to every delay of the link but turns no carrier, ``[G]``, s.
        slot_time_s: ``[num_slots]``, s.
        frequency_hz: Baseband frequencies, ``[num_sc]``, Hz.
        carrier_hz: Hz.

    Returns:
        Channel ``[G, num_slots, num_ant, num_sc]``, complex64.
    """
    left = path_waves(
        gain,
        delay_s,
        ue_direction,
        bs_direction,
        antenna_position_m,
        velocity_mps,
        slot_time_s,
        carrier_hz,
    )
    return over_tones(
        left, delay_s, clock_offset_s, frequency_hz, slot_time_s.shape[-1], antenna_position_m.shape[-2]
    )


def path_waves(
    gain: Any,
    delay_s: Any,
    ue_direction: Any,
    bs_direction: Any,
    antenna_position_m: Any,
    velocity_mps: Any,
    slot_time_s: Any,
    carrier_hz: float,
) -> Any:
    """What `synthesise` makes of its arguments before clocks and subcarriers come in, ``[G, T·num_ant, K]``.

    Snapshots that have paths and velocity in common share it.
    """
    xp = array_namespace(gain, delay_s)
    turn = 2 * np.pi
    wavelength = SPEED_OF_LIGHT_MPS / carrier_hz
    carrier_turns = carrier_hz * delay_s
    carrier = _phasor(xp, -turn * (carrier_turns - xp.floor(carrier_turns)))
    doppler_hz = xp.sum(ue_direction * velocity_mps[:, None, :], axis=-1) / wavelength
    slots = _phasor(xp, turn * doppler_hz[..., None] * slot_time_s)  # [G, K, T]
    reach_m = xp.matmul(bs_direction, xp.permute_dims(antenna_position_m, (0, 2, 1)))  # [G, K, M]
    antennas = _phasor(xp, turn / wavelength * reach_m)
    start = (gain * carrier)[..., None] * slots
    left = start[..., :, None] * antennas[..., None, :]  # [G, K, T, M]
    links, paths, num_slots, num_ant = left.shape
    return xp.permute_dims(xp.reshape(left, (links, paths, num_slots * num_ant)), (0, 2, 1))


def over_tones(
    left: Any, delay_s: Any, clock_offset_s: Any, frequency_hz: Any, num_slots: int, num_ant: int
) -> Any:
    """The rest of `synthesise`: the channel out of `path_waves`."""
    xp = array_namespace(left, delay_s)
    late_s = delay_s + clock_offset_s[:, None]
    tones = _phasor(xp, -2 * np.pi * late_s[..., None] * frequency_hz)  # [G, K, N]
    return xp.reshape(xp.matmul(left, tones), (left.shape[0], num_slots, num_ant, tones.shape[-1]))


def _phasor(xp: Any, angle: Any) -> Any:
    """exp(j·angle) in complex64."""
    angle = xp.astype(angle, xp.float32)
    return xp.astype(xp.cos(angle), xp.complex64) + 1j * xp.astype(xp.sin(angle), xp.complex64)


def displace(
    offset_m: Any,
    delay_s: Any,
    gain: Any,
    ue_direction: Any,
    bs_direction: Any,
    mirror: Any,
    image_distance_m: Any,
) -> tuple[Any, Any, Any, Any]:
    """Paths of a UE moved by ``offset_m``, from those of the point that was traced.

    A specular path seems to come from the mirror image of the base station, which stays put while the UE
    moves: exact until visibility changes. Behind an edge the point on it is taken to stay: first order only.

    Args:
        offset_m: ``[G, 1, 3]``, m.
        delay_s: ``[G, K]``, s.
        gain: ``[G, K]``.
        ue_direction: Of departure, ``[G, K, 3]``.
        bs_direction: Of arrival, ``[G, K, 3]``.
        mirror: Takes a change of the departure direction to minus that of the arrival, ``[G, K, 3, 3]``.
        image_distance_m: ``[G, K]``, m.

    Returns:
        Delay, gain, UE direction and BS direction of the moved UE.
    """
    xp = array_namespace(delay_s, gain)
    to_image = image_distance_m[..., None] * ue_direction - offset_m
    distance = xp.sqrt(xp.sum(to_image * to_image, axis=-1))
    safe = xp.where(distance > 1e-3, distance, xp.ones_like(distance))
    moved_direction = to_image / safe[..., None]
    change = xp.matmul(mirror, (moved_direction - ue_direction)[..., None])[..., 0]
    towards = bs_direction - change
    towards = towards / xp.sqrt(xp.sum(towards * towards, axis=-1))[..., None]
    ratio = xp.clip(image_distance_m / safe, 0.5, 2.0)
    later = xp.astype(distance - image_distance_m, delay_s.dtype) / SPEED_OF_LIGHT_MPS
    return delay_s + later, gain * xp.astype(ratio, gain.dtype), moved_direction, towards
