"""Layers that networks of all kinds are made of, and what central units of all kinds share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.gaussian import inverse_lower, lower

CENTRE_M = (30.0, 60.0, 15.0)
SCALE_M = 50.0


class SiteLinear(nn.Module):
    """A linear map with its own weights at each base station: ``[L, S, in] -> [L, S, out]``."""

    def __init__(self, sites: int, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(sites, inputs, outputs) * gain * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(sites, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if torch.onnx.is_in_onnx_export():
            # Site by site: ONNX Runtime lays matrices out for its kernels once, stacks of them at each call.
            apart = x.split_with_sizes([1] * len(self.weight))
            return torch.cat([one @ self.weight[at] for at, one in enumerate(apart)]) + self.bias
        return torch.bmm(x, self.weight) + self.bias


class SiteNorm(nn.Module):
    """Root-mean-square normalisation of the last axis, with a scale of its own at each base station."""

    def __init__(self, sites: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(sites, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """``[L, ..., width]`` to the same."""
        scale: Tensor = self.scale.reshape(self.scale.shape[0], *(1,) * (x.dim() - 2), -1)
        normed: Tensor = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * scale
        return normed


class DenseBlock(nn.Module):
    """Residual block of two dense layers at each base station."""

    def __init__(self, sites: int, width: int) -> None:
        super().__init__()
        self.norm = SiteNorm(sites, width)
        self.widen = SiteLinear(sites, width, width)
        self.narrow = SiteLinear(sites, width, width, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """``[L, B, width]`` to the same."""
        y: Tensor = x + self.narrow(F.gelu(self.widen(self.norm(x)), approximate="tanh"))
        return y


def exact(near: Tensor) -> torch.autocast:
    """Single precision inside mixed precision: eight bits of mantissa are half a metre in a hundred."""
    return torch.autocast(near.device.type, enabled=False)


class Placed(nn.Module):
    """Something that knows where the base stations stand."""

    site_position: Tensor
    world_from_array: Tensor

    def __init__(self, sites: int) -> None:
        super().__init__()
        self.register_buffer("site_position", torch.zeros(sites, 3))
        self.register_buffer("world_from_array", torch.eye(3).repeat(sites, 1, 1))

    def place_sites(self, position_m: Tensor, world_from_array: Tensor) -> None:
        """Tell where the base stations are, ``[L, 3]`` m, and how their arrays are turned, ``[L, 3, 3]``."""
        self.site_position.copy_((position_m - torch.tensor(CENTRE_M)) / SCALE_M)
        self.world_from_array.copy_(world_from_array)


class CentralUnit(Placed):
    """What turns messages into a position."""

    def estimate(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Final position ``[B, 3]``, m, and covariance ``[B, 3, 3]``, m², not yet calibrated."""
        out = self(latent, gain_db, present)
        position = out["position"][:, -1].float() * SCALE_M + torch.tensor(CENTRE_M, device=latent.device)
        inverse = inverse_lower(lower(out["spread"].float()))
        return position, inverse.transpose(-1, -2) @ inverse * SCALE_M**2
