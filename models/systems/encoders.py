"""Encoders of the systems compared with; each base station has its own weights, all computed at once."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.gaussian import towards
from models.layers import SCALE_M, Placed, SiteLinear, SiteNorm, exact
from models.network import Encoder
from models.res_segnet import ResSegNetEncoder
from models.shape import Shape
from models.systems.local_fix import sent_numbers

ALONG_OCTAVES, ACROSS_OCTAVES = 4.6, -4.0
"""What the deviations of a fix start from, in octaves of 2 m: 50 m along the ray, 1/8 rad across it."""


class OfdmCnn(nn.Module):
    """Convolutions over the subcarriers, antennas as channels; pooled twice, then one dense layer.

    ``[B, L, N, features] + [B, L, side] -> [B, L, N, d_z]``, though nothing is aligned with subcarriers by
    then: N·d_z is just how many numbers go on to the late fusion.
    """

    def __init__(self, shape: Shape, side: int) -> None:
        super().__init__()
        self.shape = shape
        sites, width = shape.num_bs, shape.width
        self.stem = SiteLinear(sites, 3 * shape.features, width)
        self.first = nn.ModuleList(SiteLinear(sites, 3 * width, width) for _ in range(2 * shape.depth))
        self.second = nn.ModuleList(
            SiteLinear(sites, 3 * width, width, gain=0.5) for _ in range(2 * shape.depth)
        )
        self.norms = nn.ModuleList(SiteNorm(sites, width) for _ in range(2 * shape.depth))
        left = shape.subcarriers // 4
        self.project = SiteLinear(sites, left * width + side, shape.dims)

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        """See the class."""
        shape = self.shape
        batch, sites, tokens, _ = x.shape
        assert (sites, tokens) == (shape.num_bs, shape.subcarriers), x.shape
        y = self.convolved(self.stem, x.transpose(0, 1))
        for number, (first, second, norm) in enumerate(zip(self.first, self.second, self.norms, strict=True)):
            inner = F.gelu(self.convolved(first, norm(y)), approximate="tanh")
            y = y + self.convolved(second, inner)
            if (number + 1) % shape.depth == 0:
                y = halved(y)
        y = torch.cat([y.reshape(sites, batch, -1), side.transpose(0, 1)], -1)
        latent: Tensor = self.project(y).reshape(sites, batch, tokens, shape.latent).transpose(0, 1)
        return latent

    @staticmethod
    def convolved(kernel: nn.Module, x: Tensor) -> Tensor:
        """A kernel of three over the tokens, nothing beyond the ends: ``[L, B, N, C]`` to the same."""
        sites, batch, tokens, _ = x.shape
        padded = F.pad(x, (0, 0, 1, 1))
        windows = torch.cat([padded[:, :, shift : shift + tokens] for shift in range(3)], -1)
        result: Tensor = kernel(windows.reshape(sites, batch * tokens, -1)).reshape(sites, batch, tokens, -1)
        return result


def halved(x: Tensor) -> Tensor:
    """The larger of each two neighbouring tokens, ``[L, B, N, C] -> [L, B, N // 2, C]``."""
    even = x.shape[2] // 2 * 2
    return torch.maximum(x[:, :, 0:even:2], x[:, :, 1:even:2])


class PowerMapEncoder(nn.Module):
    """The paper's encoder over the ADCPM: angles are its rows, delays its columns, one channel."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.segnet = ResSegNetEncoder(shape, image=(shape.antennas, 1))

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        """``[B, L, N, angles] -> [B, L, N, d_z]``; ``side`` is not looked at."""
        latent: Tensor = self.segnet(x.transpose(2, 3)[..., None], side)
        return latent


class LocalFixEncoder(Placed):
    """A dense encoder whose message is the base station's own position and covariance: 96 bits.

    ``[B, L, N, features] + [B, L, side] -> [B, L, 1, 9]``, see :mod:`models.systems.local_fix`.
    """

    def __init__(self, shape: Shape, side: int) -> None:
        super().__init__(shape.num_bs)
        self.shape = shape
        inner = replace(shape, encoder="dense", cu="paper")
        self.dense = Encoder(inner, shape.features, side)
        self.fix = SiteLinear(shape.num_bs, shape.subcarriers * shape.latent, 10, gain=0.1)

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        """See the class."""
        hidden = F.gelu(self.dense(x, side).transpose(0, 1), approximate="tanh")
        with exact(x):
            out = self.fix(hidden.float().reshape(x.shape[1], x.shape[0], -1)).transpose(0, 1)
            radial, distance = towards(out, self.world_from_array)
            distance_m = distance * SCALE_M
            across = torch.log2(distance_m).detach() + ACROSS_OCTAVES
            octaves = torch.cat([across * 0 + ALONG_OCTAVES, across, across], -1) - out[..., 4:7]
            numbers = torch.cat(
                [radial * distance_m, octaves.clamp(-7.0, 7.0), out[..., 7:].clamp(-3.0, 3.0)], -1
            )
        return numbers[:, :, None]


def sent_fix(numbers: Tensor) -> Tensor:
    """What arrives of ``[..., 9]`` in 96 bits, with the gradient of what was sent."""
    rounded: Tensor = sent_numbers(numbers.detach())
    return numbers + (rounded - numbers.detach())
