"""Training samples made on the fly from a path table: fresh displacement, velocity, clock and noise for every draw."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models.path_table import PathTable
from models.synthesis import Radio, displace, synthesise, world_from_array

PATH_BUCKETS = (2, 4, 8, 16, 24)


@dataclass(frozen=True)
class Impairments:
    """What is drawn anew for every sample.

    Attributes:
        displacement_m: Radius of the ball around the traced point; 0 for validation and test.
        speed_mps: Highest speed of the UE.
        ue_clock_s: Half the range of the UE's timing offset, common to all base stations; 0 = synchronised.
        bs_sync_s: Standard deviation of each base station's own timing error.
    """

    displacement_m: float = 1.0
    speed_mps: float = 4.0
    ue_clock_s: float = 100e-9
    bs_sync_s: float = 5e-9


class Sampler:
    """Draws batches of noisy CSI, scaled so that the noise of one resource element has unit variance.

    Args:
        table: Path table of the training, validation or test points.
        bs_position_m, boresight_m: Sites, ``[L, 3]`` and ``[3]``, m.
        radio, impairments: What is drawn.
        seed: Seed of the generator.
        device: Where samples are made.
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
        self.frequency = torch.tensor(radio.frequency_hz(), dtype=torch.float32, device=device)
        self.seconds_making = 0.0
        pool_size = 1 << 24
        self._noise_pool = torch.randn(pool_size, generator=self.generator, device=device) * 0.5**0.5
        self.use(table)

    def use(self, table: PathTable) -> None:
        """Draw from this table from now on."""

        def tensor(array: Any, dtype: torch.dtype) -> torch.Tensor:
            return torch.tensor(array, dtype=dtype, device=self.device)

        self.position = tensor(table.position_m, torch.float32)
        self.first, self.count = tensor(table.first, torch.int64), tensor(table.count, torch.int64)
        self.gain = tensor(np.append(table.gain * self.scale, 0), torch.complex64)
        self.delay = tensor(np.append(table.delay_s, 0.0), torch.float64)
        zero = np.zeros((1, 3))
        self.ue_direction = tensor(np.concatenate([table.ue_direction, zero]), torch.float32)
        self.bs_direction = tensor(np.concatenate([table.bs_direction, zero + [1, 0, 0]]), torch.float32)
        self.mirror = tensor(np.concatenate([table.mirror, np.zeros((1, 3, 3))]), torch.float32)
        self.image_distance = tensor(np.append(table.image_distance_m, 1.0), torch.float32)
        self.pad = len(table.gain)

    def __len__(self) -> int:
        return int(self.position.shape[0])

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def _in_ball(self, count: int, radius: float) -> torch.Tensor:
        direction = self._normal(count, 3)
        direction = direction / direction.norm(dim=1, keepdim=True)
        return direction * radius * self._uniform(count, 1) ** (1 / 3)

    def draw(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A random batch: CSI ``[size, L, T, N_r, N_sc]`` complex64 and positions ``[size, 3]``."""
        rows = torch.randint(len(self), (size,), generator=self.generator, device=self.device)
        return self.at(rows)

    def at(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples at the given rows of the table."""
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
            radio.subcarriers,
            dtype=torch.complex64,
            device=self.device,
        )
        first, count = self.first[rows].reshape(-1), self.count[rows].reshape(-1)
        low = 0
        for high in PATH_BUCKETS:
            links = torch.nonzero((count > low) & (count <= high))[:, 0]
            low = high
            if len(links):
                csi[links] = self._links(links, high, first, count, offset, velocity, clock.reshape(-1))
        csi = self.add_noise(csi).reshape(size, num_bs, *csi.shape[1:])
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
        """Unit-variance noise: a random stretch of a large pool, whose parts are drawn afresh now and then."""
        need = csi.numel() * 2
        pool = self._noise_pool
        if need * 2 >= len(pool):
            noise = torch.randn(
                csi.shape, dtype=torch.complex64, generator=self.generator, device=self.device
            )
            return csi + noise
        start = 2 * int(
            torch.randint((len(pool) - need) // 2, (1,), generator=self.generator, device=self.device)
        )
        fresh = min(need // 8, len(pool))
        place = int(torch.randint(len(pool) - fresh, (1,), generator=self.generator, device=self.device))
        pool[place : place + fresh] = (
            torch.randn(fresh, generator=self.generator, device=self.device) * 0.5**0.5
        )
        noise = torch.view_as_complex(pool[start : start + need].reshape(*csi.shape, 2))
        return csi + noise
