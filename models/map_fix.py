"""A fix made sharper by the city's reflections: what base stations heard is explained by what a map says.

From a position and a map follow the directions and relative delays of all paths by way of walls; only their
complex amplitudes are unknown, and one offset of the clock. So for every position near a first fix the CSI of
each base station is explained by least squares, and positions are likely that leave little unexplained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.reflections import LOSS_PER_REFLECTION, ReflectionMap
from models.synthesis import SPEED_OF_LIGHT_MPS

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

FIRST_LOOK = 96
"""Positions tried around the first fix."""
LOOKS = 3
LATER_LOOK = 48
"""Positions tried in each further look, around the best so far."""
BEST = 10
"""Of the positions tried, those that the next look spreads like."""
WIDER = 1.5
"""A look's variances, over those of what it is made of."""
NARROWEST_M2 = 1e-5
LOUDEST_IMAGES = 24
UNEXPLAINED = 3e-5
"""Share of the energy that a map leaves unexplained at the least."""
COUNTS_AS = 10.0
"""So many independent numbers are in the CSI of one base station, as far as the map's faults go."""
NOISE_COUNTS_AS = 30.0
"""The same where white noise is all that is left."""
WELL_EXPLAINED = 0.01
"""Unexplained share below which a base station speaks for the map; of two or more heard, two have to."""
SYNC_M = 1.6
"""Standard deviation of an offset of a base station's clock, with what is wrong in its estimate, m."""
VAGUE_M = 30.0
"""The same for one whose CSI is not explained at all."""
LATEST_M = 36.0
"""Offsets of clocks are looked for up to this."""
CLOCK_STEP_M = 1.5
NEWTON_STEPS = 3
QUIETEST_DB = 1.0
"""Base stations that hear less are left out."""
WIDTH_SEEN = np.array([-2.0, -1.0, 1.0, 2.0])
"""Standard deviations from the first fix at which it is asked which images are seen."""


@dataclass(frozen=True, eq=False)
class Site:
    """Where a base station stands and how its array is turned.

    Attributes:
        position_m: ``[3]``, m.
        world_from_array: ``[3, 3]``.
    """

    position_m: Floats
    world_from_array: Floats


class MapFix:
    """Makes fixes sharper with the CSI of base stations and a map of reflections.

    Args:
        city: Images of these base stations.
        sites: Base stations, in the order of all arrays.
        rows: Of their arrays, half a wavelength apart, column by column with growing y, each from the top.
        columns: The same.
        spacing_hz: Between subcarriers.
        subcarriers: How many.
    """

    def __init__(
        self,
        city: ReflectionMap,
        sites: list[Site],
        rows: int,
        columns: int,
        spacing_hz: float,
        subcarriers: int,
    ) -> None:
        if city.num_bs != len(sites):
            raise ValueError(f"a map of {city.num_bs} base stations for {len(sites)}")
        self.city, self.sites = city, sites
        self._rows, self._columns, self._tones = rows, columns, subcarriers
        self._turn_per_m = 2 * np.pi * spacing_hz / SPEED_OF_LIGHT_MPS
        draws = np.random.Generator(np.random.Philox(20_26))
        tried = draws.standard_normal((FIRST_LOOK + LOOKS * LATER_LOOK, 3))
        self._looks = np.split(tried, FIRST_LOOK + LATER_LOOK * np.arange(LOOKS))
        lag_of = np.zeros((subcarriers, subcarriers, subcarriers))
        for lag in range(subcarriers):
            lag_of[np.arange(lag, subcarriers), np.arange(subcarriers - lag), lag] = 1
        self._lag_of = lag_of.reshape(subcarriers**2, subcarriers)
        self._clock_m = np.arange(-LATEST_M, LATEST_M + CLOCK_STEP_M / 2, CLOCK_STEP_M)
        self._clock_waves = np.exp(1j * self._turn_per_m * np.outer(np.arange(subcarriers), self._clock_m))

    def fix(
        self, position_m: Floats, covariance_m2: Floats, csi: Complex, noise: Floats, heard: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """A sharper fix ``[3]``, m, and its covariance ``[3, 3]``, m^2, from one of each.

        Args:
            position_m: What is known without, ``[3]``, m.
            covariance_m2: How well, ``[3, 3]``, m^2.
            csi: Mean over the slots, phases of slots turned onto each other, ``[num_bs, num_ant, num_sc]``,
                of any scale.
            noise: Share of white noise in the energy of that, ``[num_bs]``.
            heard: Whose CSI there is, ``[num_bs]``.
        """
        wide = covariance_m2 * WIDER + np.eye(3) * 1e-2
        variance, axes = np.linalg.eigh(wide)
        around = (WIDTH_SEEN[:, None, None] * (np.sqrt(variance) * axes).T).reshape(-1, 3)
        near = np.concatenate([position_m[None], position_m + around])
        images = [self.city.seen_near(bs, near, LOUDEST_IMAGES) for bs in range(len(self.sites))]
        use = [bs for bs in range(len(self.sites)) if heard[bs] and len(images[bs])]
        if not use:
            return position_m, covariance_m2
        centre, spread = position_m, wide
        proposals: list[tuple[int, Floats, Floats]] = []
        tried, unexplained, clock_m = np.zeros((0, 3)), np.zeros((0, len(use))), np.zeros((0, len(use)))
        for turn, look in enumerate(self._looks):
            proposals.append((len(look), centre, spread))
            now = centre + look @ np.linalg.cholesky(spread).T
            seen = [
                self._unexplained(bs, images[bs], now, csi[bs], max(UNEXPLAINED, noise[bs])) for bs in use
            ]
            tried = np.concatenate([tried, now])
            unexplained = np.concatenate([unexplained, np.stack([share for share, _ in seen], axis=1)])
            clock_m = np.concatenate([clock_m, np.stack([late for _, late in seen], axis=1)])
            sharp = COUNTS_AS if turn < LOOKS - 1 else NOISE_COUNTS_AS
            level = _likelihood(unexplained, clock_m, noise[use], sharp)
            off = tried - position_m
            level = level - ((off @ np.linalg.inv(wide)) * off).sum(axis=1) / 2
            best = tried[np.argsort(-level, kind="stable")[:BEST]]
            centre = best.mean(axis=0)
            apart = best - centre
            spread = apart.T @ apart / BEST * WIDER + NARROWEST_M2 * np.eye(3)
        well = np.count_nonzero(unexplained[np.argmax(level)] < WELL_EXPLAINED)
        if well < min(2, len(use)):
            return position_m, covariance_m2
        return _moments(tried, level, proposals)

    def _unexplained(
        self, bs: int, images: NDArray[np.int64], tried_m: Floats, csi: Complex, least: float
    ) -> tuple[Floats, Floats]:
        """Share of the CSI's energy that paths to each position do not explain, ``[n]``, and the clock, m.

        Amplitudes are those of least squares, with the power that a path should have as a prior.
        """
        site = self.sites[bs]
        off = self.city.unfolded(images, tried_m) - site.position_m
        distance = np.sqrt((off * off).sum(axis=-1))
        k = (off @ site.world_from_array[:, 1:]) / distance[..., None]  # [n, images, 2]

        loud = LOSS_PER_REFLECTION ** self.city.order[images] / distance**2
        root = np.sqrt(loud / (loud.sum(axis=-1, keepdims=True) * least))
        gram = (
            _dirichlet(self._columns, np.pi * k[..., 0])
            * _dirichlet(self._rows, np.pi * k[..., 1])
            * _dirichlet(self._tones, self._turn_per_m * distance)
        )
        system = gram * root[..., None] * root[..., None, :]
        system[:, np.arange(len(images)), np.arange(len(images))] += 1
        seen = self._beams(k) @ csi  # [n, images, num_sc]
        seen = seen * _waves(self._turn_per_m * distance, self._tones) * root[..., None]
        flat = np.concatenate([seen.real, seen.imag], axis=-1)
        lower = np.linalg.cholesky(system)
        whitened = np.linalg.solve(lower, flat)
        whitened = whitened[..., : self._tones] + 1j * whitened[..., self._tones :]

        energy = float((csi.real**2 + csi.imag**2).sum())
        products = whitened.conj().swapaxes(-1, -2) @ whitened  # [n, num_sc, num_sc]
        # Element [row, column] of the transposed: later tone times the conjugate of the earlier one.
        lags = products.swapaxes(-1, -2).reshape(len(tried_m), -1) @ self._lag_of
        lags[:, 1:] *= 2
        clock_m = self._clock_m[(lags @ self._clock_waves).real.argmax(axis=1)]
        order = np.arange(self._tones)
        for _ in range(NEWTON_STEPS):
            turned = lags * np.exp(1j * self._turn_per_m * np.outer(clock_m, order))
            slope = -(turned.imag * order).sum(axis=1)
            curve = -(turned.real * order**2).sum(axis=1)
            step = np.where(curve < 0, -slope / np.minimum(curve, -1e-300), 0) / self._turn_per_m
            clock_m = clock_m + np.clip(step, -CLOCK_STEP_M, CLOCK_STEP_M)
        turned = lags * np.exp(1j * self._turn_per_m * np.outer(clock_m, order))
        explained = turned.real.sum(axis=1) / energy
        return np.clip(1 - explained, 0, 1), clock_m

    def _beams(self, k: Floats) -> Complex:
        """Conjugated steering vectors, ``[..., num_ant]``."""
        y = (np.arange(self._columns) - (self._columns - 1) / 2) * np.pi
        z = ((self._rows - 1) / 2 - np.arange(self._rows)) * np.pi
        along_y = np.exp(-1j * k[..., :1] * y)
        along_z = np.exp(-1j * k[..., 1:] * z)
        result: Complex = (along_y[..., :, None] * along_z[..., None, :]).reshape(*k.shape[:-1], -1)
        return result


def _likelihood(unexplained: Floats, clock_m: Floats, noise: Floats, sharp: float) -> Floats:
    """Logarithm of the likelihood of each position tried, ``[n]``, from what base stations leave unexplained.

    What is unexplained is noise, of a power that is not known, in so many independent numbers: in few where
    the map is at fault, which nobody knows to be independent, and in all where it is white noise.

    Args:
        unexplained: Shares of the energy, ``[n, sites]``.
        clock_m: Offsets of clocks, ``[n, sites]``, m: what differs is an error of base stations' clocks.
        noise: Share of white noise, ``[sites]``.
        sharp: So many numbers count where what is unexplained is white noise.
    """
    white = np.minimum(noise / np.maximum(unexplained.min(axis=0), 1e-12), 1) ** 2
    numbers = COUNTS_AS + white * (sharp - COUNTS_AS)
    level = -(numbers * np.log(unexplained + np.maximum(UNEXPLAINED, 0.1 * noise))).sum(axis=1)
    weight = 1 / (SYNC_M**2 + (VAGUE_M * unexplained) ** 2)
    common = (clock_m * weight).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    result: Floats = level - (weight * (clock_m - common) ** 2).sum(axis=1) / 2
    return result


def _moments(
    position_m: Floats, level: Floats, proposals: list[tuple[int, Floats, Floats]]
) -> tuple[Floats, Floats]:
    """Mean and covariance of what positions were drawn for, weighed by likelihood over density.

    Positions come from several Gaussians; each counts as drawn from their mixture (Veach and Guibas, 1995).
    """
    density = np.zeros(len(position_m))
    for number, centre, spread in proposals:
        off = position_m - centre
        inverse = np.linalg.inv(spread)
        exponent = ((off @ inverse) * off).sum(axis=1) / 2
        density += number * np.exp(-exponent) * np.sqrt(np.linalg.det(inverse))
    level = level - np.log(np.maximum(density, 1e-300))
    weight = np.exp(level - level.max())
    weight = weight / weight.sum()
    mean = weight @ position_m
    apart = position_m - mean
    return mean, (apart * weight[:, None]).T @ apart + NARROWEST_M2 * np.eye(3)


def _dirichlet(count: int, angle: Floats) -> Floats:
    """Sums of exp(j·(angle_a - angle_b)·m) over ``count`` places m, a step of 1 apart and centred: real.

    Args:
        count: Places.
        angle: ``[..., images]``; the result is ``[..., images, images]``.
    """
    above, below = _sine_of_differences(count * angle / 2), _sine_of_differences(angle / 2)
    near = np.nonzero(np.abs(below) < 1e-7)
    below[near] = 1
    above /= below
    # Whole turns apart: each place adds 1, or all of them -1 where places are odd halves and turns are odd.
    *row, one, other = near
    turns = np.rint((angle[(*row, one)] - angle[(*row, other)]) / (2 * np.pi))
    above[near] = np.where((count % 2 == 0) & (turns % 2 == 1), -count, count)
    return above


def _sine_of_differences(angle: Floats) -> Floats:
    """sin(a - b) of all pairs along the last axis."""
    sine, cosine = np.sin(angle), np.cos(angle)
    result: Floats = sine[..., :, None] * cosine[..., None, :]
    result -= cosine[..., :, None] * sine[..., None, :]
    return result


def _waves(turn: Floats, count: int) -> Complex:
    """exp(j·turn·m) for ``count`` places m, a step of 1 apart and centred, ``[..., count]``."""
    waves = np.empty((*turn.shape, count), dtype=np.complex128)
    waves[..., 0] = np.exp(-1j * turn * (count - 1) / 2)
    step = np.exp(1j * turn)
    for at in range(1, count):
        np.multiply(waves[..., at - 1], step, out=waves[..., at])
    return waves
