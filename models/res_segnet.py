"""Res-SegNet, the paper's encoder and decoder: residual convolutions, pooled along slots and antennas alone.

Each base station has its own weights: they are the groups of grouped convolutions, so that all are computed
at once. The rows (slots × antennas) are halved, 80 → 40 → 20 → 10 → 5, and the last convolution takes what
remains of them, so that there is one token per subcarrier. The paper does not name channel counts: here a
level has ``width`` channels more than the one above it. It does not say how it normalises either: here all of
a link's channels, rows and subcarriers together, so that its latent depends on nothing but the link itself.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.shape import Shape

FEWEST_ROWS = 5
"""Rows are halved until no more than these are left."""


def rows_by_level(rows: int) -> list[int]:
    """Rows at each level of the pyramid, from all of them down to at most five."""
    levels = [rows]
    while levels[-1] > FEWEST_ROWS:
        levels.append(-(-levels[-1] // 2))
    return levels


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut: ``[B, L·inputs, rows, N] -> [B, L·outputs, rows, N]``."""

    def __init__(self, sites: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(sites * inputs, sites * outputs, 3, padding=1, groups=sites, bias=False)
        self.first_norm = nn.GroupNorm(sites, sites * outputs)
        self.second = nn.Conv2d(sites * outputs, sites * outputs, 3, padding=1, groups=sites, bias=False)
        self.second_norm = nn.GroupNorm(sites, sites * outputs)
        self.shortcut = (
            nn.Identity()
            if inputs == outputs
            else nn.Conv2d(sites * inputs, sites * outputs, 1, groups=sites, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


def _blocks(sites: int, inputs: int, outputs: int, depth: int) -> nn.Sequential:
    widths = [inputs] + [outputs] * depth
    return nn.Sequential(*(ResidualBlock(sites, a, b) for a, b in pairwise(widths)))


class ResSegNetEncoder(nn.Module):
    """(16): ``[B, L, T·N_r, N, 2] -> latent [B, L, N, d_z]``. ``depth`` is the blocks per level.

    Args:
        shape: Sizes.
        image: Rows and channels of what it sees; None: slots × antennas, and real and imaginary part.
    """

    def __init__(self, shape: Shape, image: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.rows, self.channels = image or (shape.slots * shape.antennas, 2)
        sites = shape.num_bs
        rows = rows_by_level(self.rows)
        channels = [shape.width * (level + 1) for level in range(len(rows))]
        self.stem = nn.Conv2d(self.channels * sites, sites * channels[0], 3, padding=1, groups=sites)
        self.levels = nn.ModuleList(
            _blocks(sites, channels[max(level - 1, 0)], channels[level], shape.depth)
            for level in range(len(rows))
        )
        self.project = nn.Conv2d(sites * channels[-1], sites * shape.latent, (rows[-1], 1), groups=sites)

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        """Latents; ``side`` is not looked at, as the paper's encoder sees nothing but the CSI."""
        shape = self.shape
        batch = x.shape[0]
        assert x.shape[1:] == (shape.num_bs, self.rows, shape.subcarriers, self.channels), x.shape
        y = x.permute(0, 1, 4, 2, 3).reshape(batch, shape.num_bs * self.channels, -1, shape.subcarriers)
        y = self.stem(y.contiguous(memory_format=torch.channels_last))  # 1.4 times as fast on a CPU
        for number, level in enumerate(self.levels):
            if number:
                y = F.max_pool2d(y, (2, 1), ceil_mode=True)
            y = level(y)
        y = self.project(y)
        latent: Tensor = y.reshape(batch, shape.num_bs, shape.latent, shape.subcarriers).transpose(2, 3)
        return latent


class ResSegNetDecoder(nn.Module):
    """The encoder's mirror for stage I: ``latent [B, L, N, d_z] -> [B, L, T·N_r, N, 2]``.

    SegNet hands the places of the pooling's maxima to its decoder. Those would be a second message beside the
    latent, so rows are repeated instead.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        sites = shape.num_bs
        self.rows = rows_by_level(shape.slots * shape.antennas)[::-1]
        channels = [shape.width * (len(self.rows) - level) for level in range(len(self.rows))]
        self.spread = nn.ConvTranspose2d(
            sites * shape.latent, sites * channels[0], (self.rows[0], 1), groups=sites
        )
        self.levels = nn.ModuleList(
            _blocks(sites, channels[max(level - 1, 0)], channels[level], shape.depth)
            for level in range(len(self.rows))
        )
        self.project = nn.Conv2d(sites * channels[-1], 2 * sites, 3, padding=1, groups=sites)

    def forward(self, latent: Tensor) -> Tensor:
        """See the class."""
        shape = self.shape
        batch = latent.shape[0]
        assert latent.shape[1:] == (shape.num_bs, shape.subcarriers, shape.latent), latent.shape
        y = latent.transpose(2, 3).reshape(batch, shape.num_bs * shape.latent, 1, shape.subcarriers)
        y = self.spread(y)
        for rows, level in zip(self.rows, self.levels, strict=True):
            if y.shape[2] != rows:
                y = F.interpolate(y, size=(rows, shape.subcarriers), mode="nearest")
            y = level(y)
        y = self.project(y)
        rebuilt: Tensor = y.reshape(batch, shape.num_bs, 2, -1, shape.subcarriers).permute(0, 1, 3, 4, 2)
        return rebuilt
