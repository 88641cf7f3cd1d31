"""Training samples made on the fly from a path table: each has a fresh offset, velocity, clock and noise."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from models.config import Impairments
from models.path_table import PathTable
from models.synthesis import Radio, displace, synthesise, world_from_array

PATH_BUCKETS = (2, 4, 8, 16)
"""Links are computed together by their number of paths: up to two, up to four …"""
NOISE_POOL = 1 << 24
POOL_USES = 8


class Sampler:
    """Draws batches of noisy CSI, scaled so that the noise of one resource element has unit variance.

    Args:
        table: Path table of the training, validation or test points.
        bs_position_m, boresight_m: Sites, ``[L, 3]`` and ``[3]``, m.
        radio, impairments: What is drawn.
        seed: Seed of the generator.
        device: Where samples are made.
        noise_pool: Normal draws kept (None: 2^24), since making them costs as much as all the rest. Each draw
            of CSI takes a random stretch of the pool; it is made anew when every number has been used eight
            times on average. 0, or CSI that needs more than half of the pool: all noise is fresh.
        subcarriers: Indices of those of the radio's that are made; None: all.
    """

    def __init__(
        self,
        table: PathTable,
        bs_position_m: Any,
        boresight_m: Any,
        radio: Radio,
        impairments: Impairments,
        seed: int,
        device: str = "cpu",
        noise_pool: int | None = None,
        subcarriers: Sequence[int] | None = None,
    ) -> None:
        self.radio, self.impairments, self.device = radio, impairments, device
        self.generator = torch.Generator(device).manual_seed(seed)
        antennas = radio.antenna_position_m()
        self.antenna_position = torch.tensor(
            np.stack([antennas @ world_from_array(site, boresight_m).T for site in bs_position_m]),
            dtype=torch.float32, device=device,
        )  # fmt: skip
        self.scale = radio.noise_variance() ** -0.5
        self.slot_time = torch.tensor(radio.slot_time_s(), dtype=torch.float32, device=device)
        frequency_hz = radio.frequency_hz()
        if subcarriers is not None:
            frequency_hz = frequency_hz[list(subcarriers)]
        self.frequency = torch.tensor(frequency_hz, dtype=torch.float32, device=device)
        self.seconds_making = 0.0
        self._pool = torch.empty(0, device=device)
        self._pool_size, self._pool_used = NOISE_POOL if noise_pool is None else noise_pool, 0
        self._pool_seed = self.generator.get_state()
        self.use(table)
        self.favour(np.empty(0, np.int64), 0.0)

    def use(self, table: PathTable) -> None:
        """Draw from this table from now on."""

        def tensor(array: Any, dtype: torch.dtype) -> torch.Tensor:
            return torch.tensor(array, dtype=dtype, device=self.device)

        self.position = tensor(table.position_m, torch.float32)
        self.first, self.count = tensor(table.first, torch.int64), tensor(table.count, torch.int64)
        self.gain = tensor(np.append(table.gain * self.scale, 0), torch.complex64)
        self.delay = tensor(np.append(table.delay_s, 0.0), torch.float64)
        self.ue_direction = tensor(np.concatenate([table.ue_direction, [[0, 0, 0]]]), torch.float32)
        self.bs_direction = tensor(np.concatenate([table.bs_direction, [[1, 0, 0]]]), torch.float32)
        self.mirror = tensor(np.concatenate([table.mirror, np.zeros((1, 3, 3))]), torch.float32)
        self.image_distance = tensor(np.append(table.image_distance_m, 1.0), torch.float32)
        self.pad = len(table.gain)
        most = max(int(table.count.max(initial=0)), 1)
        self._buckets = [*(size for size in PATH_BUCKETS if size < most), most]

    def favour(self, rows: Any, share: float) -> None:
        """From now on take this share of each batch from these rows of the table alone."""
        if share and not len(rows):
            raise ValueError("there is no row to favour")
        self.favoured, self.favoured_share = torch.as_tensor(rows, device=self.device), share

    def state(self) -> dict[str, Any]:
        """Where the draws are, for :meth:`restore`; small, since the pool is made again and not kept."""
        return {
            "generator": self.generator.get_state(),
            "pool_seed": self._pool_seed,
            "pool_used": self._pool_used if len(self._pool) else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on drawing where :meth:`state` was taken."""
        self._pool = self._pool[:0]
        if state["pool_used"] is not None:
            self.generator.set_state(state["pool_seed"].cpu())
            self._refill()
            self._pool_used = state["pool_used"]
        self.generator.set_state(state["generator"].cpu())

    def reseed(self, seed: int) -> None:
        """Draw from now on as a new sampler of this seed does."""
        self.generator.manual_seed(seed)
        self._pool = self._pool[:0]

    def __len__(self) -> int:
        return int(self.position.shape[0])

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def _in_ball(self, count: int, radius: float) -> torch.Tensor:
        direction = torch.nn.functional.normalize(self._normal(count, 3), dim=1)
        return direction * radius * self._uniform(count, 1) ** (1 / 3)

    def draw(self, size: int, *, noisy: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """A random batch.

        Args:
            size: Samples.
            noisy: Whether noise is added.

        Returns:
            CSI ``[size, L, T, N_r, N_sc]``, complex64, and true positions ``[size, 3]``, m.
        """
        rows = torch.randint(len(self), (size,), generator=self.generator, device=self.device)
        favoured = round(size * self.favoured_share)
        if favoured:
            chosen = torch.randint(
                len(self.favoured), (favoured,), generator=self.generator, device=self.device
            )
            rows[:favoured] = self.favoured[chosen]
        return self.at(rows, noisy=noisy)

    def at(self, rows: torch.Tensor, *, noisy: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples at the given rows of the table, see :meth:`draw`."""
        started = time.perf_counter()
        drawn = self.impairments
        size, num_bs = len(rows), self.first.shape[1]
        offset = self._in_ball(size, drawn.displacement_m)
        velocity = self._in_ball(size, drawn.speed_mps)
        clock = (self._uniform(size, 1) * 2 - 1) * drawn.ue_clock_s + self._normal(
            size, num_bs
        ) * drawn.bs_sync_s
        radio = self.radio
        csi = torch.zeros(
            size * num_bs,
            radio.slots,
            radio.antennas,
            len(self.frequency),
            dtype=torch.complex64,
            device=self.device,
        )
        first, count = self.first[rows].reshape(-1), self.count[rows].reshape(-1)
        low = 0
        for high in self._buckets:
            links = torch.nonzero((count > low) & (count <= high))[:, 0]
            low = high
            if len(links):
                csi[links] = self._links(links, high, first, count, offset, velocity, clock.reshape(-1))
        if noisy:
            csi = self.add_noise(csi)
        csi = csi.reshape(size, num_bs, *csi.shape[1:])
        self.seconds_making += time.perf_counter() - started
        return csi, self.position[rows] + offset

    def _links(
        self, links: torch.Tensor, most: int, first: torch.Tensor, count: torch.Tensor,
        offset: torch.Tensor, velocity: torch.Tensor, clock: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        num_bs = self.first.shape[1]
        rank = torch.arange(most, device=self.device)
        path = torch.where(rank < count[links, None], first[links, None] + rank, self.pad)
        sample = links // num_bs
        delay, gain, leaving, arriving = (
            self.delay[path],
            self.gain[path],
            self.ue_direction[path],
            self.bs_direction[path],
        )
        if self.impairments.displacement_m > 0:
            delay, gain, leaving, arriving = displace(
                offset[sample, None],
                delay,
                gain,
                leaving,
                arriving,
                self.mirror[path],
                self.image_distance[path],
            )
        result: torch.Tensor = synthesise(
            gain, delay, leaving, arriving, self.antenna_position[links % num_bs], velocity[sample],
            clock[links], self.slot_time, self.frequency, self.radio.carrier_hz,
        )  # fmt: skip
        return result

    def add_noise(self, csi: torch.Tensor) -> torch.Tensor:
        """Noise of unit variance on every resource element, by default out of the pool."""
        need = 2 * csi.numel()
        if 2 * need >= self._pool_size:
            noise = torch.randn(
                csi.shape, dtype=torch.complex64, generator=self.generator, device=self.device
            )
            return csi + noise
        if not len(self._pool) or self._pool_used > POOL_USES * self._pool_size:
            self._refill()
        start = 2 * int(
            torch.randint((self._pool_size - need) // 2, (1,), generator=self.generator, device=self.device)
        )
        self._pool_used += need
        return csi + torch.view_as_complex(self._pool[start : start + need].reshape(*csi.shape, 2))

    def _refill(self) -> None:
        self._pool_seed, self._pool_used = self.generator.get_state(), 0
        self._pool = self._normal(self._pool_size) * 0.5**0.5
