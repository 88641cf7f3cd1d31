"""The network for data sets of any size: an encoder per base station, and a dense central unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.gaussian import inverse_lower, lower
from models.layers import DenseBlock, SiteLinear, SiteNorm, exact

FARTHEST = 4.0
"""Standard deviations from the mean that count as so many and no more."""


class LinkEncoder(nn.Module):
    """``[B, L, F] -> latent [B, L, D]``: features are standardised first, each by the training data."""

    mean: Tensor
    spread: Tensor

    def __init__(self, sites: int, features: int, width: int, depth: int, latent: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(sites, features))
        self.register_buffer("spread", torch.ones(sites, features))
        self.embed = SiteLinear(sites, features, width)
        self.blocks = nn.ModuleList(DenseBlock(sites, width) for _ in range(depth))
        self.norm = SiteNorm(sites, width)
        self.project = SiteLinear(sites, width, latent)

    def standardise(self, features: Tensor) -> Tensor:
        """Features with zero mean and unit spread over the training data."""
        return ((features - self.mean) / self.spread).clamp(-FARTHEST, FARTHEST)

    def encode(self, standard: Tensor) -> Tensor:
        """Latents from what :meth:`standardise` gives."""
        y = F.gelu(self.embed(standard.transpose(0, 1)), approximate="tanh")
        for block in self.blocks:
            y = block(y)
        latent: Tensor = self.project(self.norm(y)).transpose(0, 1)
        return latent

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return self.encode(self.standardise(features))


class PlaceFusion(nn.Module):
    """Central unit: starts from the mean of all sites, weighed by gain, and corrects it by what they say.

    Args:
        sites: Base stations, L.
        latent: Numbers of a message, D.
        width: Of the dense layers.
    """

    gain_mean: Tensor
    gain_spread: Tensor
    centre_m: Tensor
    scale_m: Tensor
    free: Tensor

    def __init__(self, sites: int, latent: int, width: int) -> None:
        super().__init__()
        self.register_buffer("gain_mean", torch.zeros(sites))
        self.register_buffer("gain_spread", torch.ones(sites))
        self.register_buffer("centre_m", torch.zeros(3))
        self.register_buffer("scale_m", torch.ones(()))
        self.register_buffer("free", torch.ones(3))  # 0: an axis along which all training places are one
        self.beta, self.bias = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.zeros(sites))
        self.site = nn.Parameter(torch.zeros(sites, 3))
        self.first = nn.Linear(sites * (latent + 2), width)
        self.second, self.third = nn.Linear(width, width), nn.Linear(width, width)
        self.head, self.spread = nn.Linear(width, 3), nn.Linear(width, 6)
        nn.init.zeros_(self.spread.weight)

    def levels(self, gain_db: Tensor) -> Tensor:
        """Gains with zero mean and unit spread over the training data, ``[B, L]``."""
        return ((gain_db - self.gain_mean) / self.gain_spread).clamp(-FARTHEST, FARTHEST)

    def forward(self, latent: Tensor, level: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Positions in units of ``scale_m`` around ``centre_m``, and six numbers of their certainty.

        Args:
            latent: ``[B, L, D]``.
            level: ``[B, L]``, see :meth:`levels`.
            present: ``[B, L]``, 0 or 1.
        """
        level = level * present
        pull = (self.beta * level + self.bias) + (present - 1) * 1e4
        start = torch.softmax(pull, -1) @ self.site
        token = torch.cat([latent * present[..., None], level[..., None], present[..., None]], -1)
        hidden = F.gelu(self.first(token.flatten(1)), approximate="tanh")
        hidden = hidden + F.gelu(self.second(hidden), approximate="tanh")
        hidden = hidden + F.gelu(self.third(hidden), approximate="tanh")
        return (start + self.head(hidden)) * self.free, self.spread(hidden.detach())

    def estimate(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Position ``[B, 3]``, m, and covariance ``[B, 3, 3]``, m², not yet calibrated."""
        position, spread = self(latent, self.levels(gain_db), present)
        with exact(position):
            inverse = inverse_lower(lower(spread.float()))
            covariance = inverse.transpose(-1, -2) @ inverse * self.scale_m**2
            return position.float() * self.scale_m + self.centre_m, covariance


class PlaceNetwork(nn.Module):
    """Encoders of all base stations and the central unit."""

    def __init__(self, encoder: LinkEncoder, fusion: PlaceFusion) -> None:
        super().__init__()
        self.encoder, self.fusion = encoder, fusion
