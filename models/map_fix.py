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
"""Unexplained share below which a base station speaks for the map; one of those heard has to."""
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
        self._to_real = np.kron(_real_basis(columns), _real_basis(rows)).T
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
        if unexplained[np.argmax(level)].min() >= WELL_EXPLAINED:
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
        along_y = _as_real(_upper_waves(np.pi * k[..., 0], self._columns), self._columns)
        along_z = _as_real(_upper_waves(-np.pi * k[..., 1], self._rows), self._rows)  # rows go down
        beams = (along_y[..., :, None] * along_z[..., None, :]).reshape(*distance.shape, -1)
        beams *= root[..., None]
        upper = _upper_waves(self._turn_per_m * distance, self._tones)
        tones = _as_real(upper, self._tones)
        system = beams @ beams.swapaxes(-1, -2)
        system *= tones @ tones.swapaxes(-1, -2)
        system[:, np.arange(len(images)), np.arange(len(images))] += 1
        seen = (beams @ (self._to_real @ csi).view(np.float64)).view(np.complex128)  # [n, images, num_sc]
        half = self._tones // 2
        seen[..., half:] *= upper
        seen[..., :half] *= upper[..., : -half - 1 : -1].conj()
        weighed = np.linalg.solve(system, seen.view(np.float64)).view(np.complex128)

        energy = float((csi.real**2 + csi.imag**2).sum())
        # Of each pair of tones, and room behind them, so that each next row begins one to the left in `lags`.
        products = np.zeros((len(tried_m), self._tones, 2 * self._tones), dtype=np.complex128)
        np.matmul(seen.conj().swapaxes(-1, -2), weighed, out=products[..., : self._tones])
        one, row, column = products.strides
        shifted = np.lib.stride_tricks.as_strided(
            products, (len(tried_m), self._tones, self._tones), (one, row + column, column), writeable=False
        )
        lags = shifted.sum(axis=1)
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


def _upper_waves(turn: Floats, count: int) -> Complex:
    """exp(j·turn·m) for those of ``count`` places m, a step of 1 apart and centred, that are not below 0.

    Their number is ``count / 2`` rounded up, along the last axis; those below 0 are conjugates.
    """
    waves = np.empty((*turn.shape, (count + 1) // 2), dtype=np.complex128)
    waves[..., 0] = 1 if count % 2 else np.exp(0.5j * turn)
    step = np.exp(1j * turn)
    for at in range(1, waves.shape[-1]):
        np.multiply(waves[..., at - 1], step, out=waves[..., at])
    return waves


def _as_real(upper: Complex, count: int) -> Floats:
    """Waves over all centred places as real numbers, ``[..., count]``: their products with `_real_basis`.

    Args:
        upper: As `_upper_waves` makes them.
        count: Places.
    """
    odd, half = count % 2, upper.shape[-1]
    real = np.empty((*upper.shape[:-1], count))
    real[..., :half], real[..., half:] = upper.real, upper.imag[..., odd:]
    real *= np.sqrt(2)
    if odd:
        real[..., 0] = 1
    return real


def _real_basis(count: int) -> Complex:
    """The unitary matrix ``[count, count]`` in which waves over centred places have real coordinates.

    A wave's sum and difference with its mirror image are a cosine and a sine (Huarng and Yeh, 1991).
    """
    places = np.arange(count) - (count - 1) / 2
    upper = places[places >= 0]
    there = (places[:, None] == upper).astype(np.complex128)
    mirrored = there[::-1]
    scale = np.where(upper == 0, 0.5, np.sqrt(0.5))
    cosines, sines = (there + mirrored) * scale, (there - mirrored) * (-1j * scale)
    return np.concatenate([cosines, sines[:, upper > 0]], axis=1)
