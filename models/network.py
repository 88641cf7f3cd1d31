"""The positioning network: one encoder per base station, and fusion at the central unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.preprocessing import HARMONICS

CENTRE_M = (30.0, 60.0, 15.0)
SCALE_M = 50.0


@dataclass(frozen=True)
class Shape:
    """Sizes of the networks.

    Attributes:
        num_bs, slots, antennas, subcarriers: Of the CSI.
        slot_modes: Polynomials over the slots that the encoder sees, see :func:`models.preprocessing.slot_basis`.
        encoder: ``dense`` sees all subcarriers at once, ``tokens`` mixes over subcarriers and channels in turn.
        width, depth: Of the encoder.
        latent: d_z, numbers per subcarrier that a base station sends.
        hidden: Of the LSTM.
        fusion, site_hidden: Of the dense layers at the central unit.
        site_estimates: Whether the central unit starts from the product of the sites' own Gaussians.
        gain_floor_db: Weaker links count as this weak.
    """

    num_bs: int = 6
    slots: int = 10
    antennas: int = 8
    subcarriers: int = 24
    slot_modes: int = 1
    encoder: str = "dense"
    width: int = 384
    depth: int = 3
    latent: int = 32
    hidden: int = 192
    fusion: int = 512
    site_hidden: int = 256
    site_estimates: bool = True
    gain_floor_db: float = -30.0

    @property
    def dims(self) -> int:
        """D, numbers in one message."""
        return self.subcarriers * self.latent

    @property
    def features(self) -> int:
        """Numbers per subcarrier that the encoder sees."""
        return 2 * self.slot_modes * self.antennas


def side_features(phase_reference: str) -> int:
    """Numbers per link that the encoder sees beside the CSI."""
    return 2 + 2 * len(HARMONICS) if phase_reference == "delay" else 1


class SiteLinear(nn.Module):
    """A linear map with its own weights at each base station: ``[L, S, in] -> [L, S, out]``."""

    def __init__(self, sites: int, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(sites, inputs, outputs) * gain * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(sites, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x, self.weight) + self.bias


class SiteNorm(nn.Module):
    def __init__(self, sites: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(sites, *(1,), width))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.scale.reshape(self.scale.shape[0], *(1,) * (x.dim() - 2), -1)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * scale


class TokenBlock(nn.Module):
    """Residual block: mixing over all subcarriers (per head), then over channels."""

    def __init__(self, sites: int, tokens: int, width: int, heads: int = 8) -> None:
        super().__init__()
        self.sites, self.tokens, self.heads = sites, tokens, heads
        self.norm_tokens, self.norm_channels = SiteNorm(sites, width), SiteNorm(sites, width)
        self.mix = nn.Parameter(torch.randn(sites * heads, tokens, tokens) * tokens**-0.5)
        self.widen = SiteLinear(sites, width, 2 * width)
        self.narrow = SiteLinear(sites, 2 * width, width, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        sites, batch, tokens, width = x.shape
        part = width // self.heads
        y = self.norm_tokens(x).reshape(sites, batch, tokens, self.heads, part)
        y = y.permute(0, 3, 2, 1, 4).reshape(sites * self.heads, tokens, batch * part)
        y = torch.bmm(self.mix, y).reshape(sites, self.heads, tokens, batch, part)
        x = x + y.permute(0, 3, 2, 1, 4).reshape(sites, batch, tokens, width)
        y = self.norm_channels(x).reshape(sites, batch * tokens, width)
        y = self.narrow(F.gelu(self.widen(y), approximate="tanh"))
        return x + y.reshape(sites, batch, tokens, width)


class DenseBlock(nn.Module):
    def __init__(self, sites: int, width: int) -> None:
        super().__init__()
        self.norm = SiteNorm(sites, width)
        self.widen = SiteLinear(sites, width, width)
        self.narrow = SiteLinear(sites, width, width, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(F.gelu(self.widen(self.norm(x)), approximate="tanh"))


class Encoder(nn.Module):
    """``[B, L, N, features] + [B, L, side] -> latent [B, L, N, d_z]``."""

    def __init__(self, shape: Shape, features: int, side: int) -> None:
        super().__init__()
        self.shape = shape
        sites, width = shape.num_bs, shape.width
        self.kind = shape.encoder
        if self.kind == "tokens":
            self.embed = SiteLinear(sites, features + side, width)
            self.blocks = nn.ModuleList(
                TokenBlock(sites, shape.subcarriers, width) for _ in range(shape.depth)
            )
            self.norm = SiteNorm(sites, width)
            self.project = SiteLinear(sites, width, shape.latent)
        else:
            self.embed = SiteLinear(sites, shape.subcarriers * features + side, width)
            self.blocks = nn.ModuleList(DenseBlock(sites, width) for _ in range(shape.depth))
            self.norm = SiteNorm(sites, width)
            self.project = SiteLinear(sites, width, shape.dims)

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        batch, sites, tokens, features = x.shape
        if self.kind == "tokens":
            x = torch.cat([x, side[:, :, None, :].expand(-1, -1, tokens, -1)], -1).transpose(0, 1)
            y = self.embed(x.reshape(sites, batch * tokens, -1)).reshape(sites, batch, tokens, -1)
            for block in self.blocks:
                y = block(y)
            y = self.project(self.norm(y).reshape(sites, batch * tokens, -1))
        else:
            y = torch.cat([x.reshape(batch, sites, -1), side], -1).transpose(0, 1)
            y = self.embed(y)
            for block in self.blocks:
                y = block(y)
            y = self.project(self.norm(y))
        y = y.reshape(sites, batch, tokens, -1).transpose(0, 1)
        return y


def exact(near: Tensor) -> torch.autocast:
    """Single precision inside mixed precision: eight bits of mantissa are half a metre at a hundred metres."""
    return torch.autocast(near.device.type, enabled=False)


class Fusion(nn.Module):
    """Central unit: channel-masked attention (23)–(28), then frequency evidence accumulation (32)–(33).

    Three things are added to the paper: a dense layer beside the attention; each site's own Gaussian of the position,
    whose product is where the regression starts from; and a head for the covariance of the final error. Gains enter
    in dB, and a missing base station is masked out of both softmaxes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        sites, dims = shape.num_bs, shape.dims
        self.beta = nn.Parameter(torch.tensor(0.1))
        self.fusion_token = nn.Parameter(torch.randn(dims) * 0.1)
        self.site_token = nn.Parameter(torch.randn(sites, dims) * 0.1)
        self.query, self.key = nn.Linear(dims, dims, bias=False), nn.Linear(dims, dims, bias=False)
        self.value = nn.Linear(dims, dims, bias=False)
        if shape.site_estimates:
            self.site_in = SiteLinear(sites, dims + 1, shape.site_hidden)
            self.site_mid = SiteLinear(sites, shape.site_hidden, shape.site_hidden)
            self.site_out = SiteLinear(sites, shape.site_hidden, 10, gain=0.1)
        self.register_buffer("site_position", torch.zeros(sites, 3))
        self.register_buffer("world_from_array", torch.eye(3).repeat(sites, 1, 1))
        self.beside_in = nn.Linear(sites * (dims + 2) + 9, shape.fusion)
        self.beside_mid = nn.Linear(shape.fusion, shape.fusion)
        self.beside_out = nn.Linear(shape.fusion, dims)
        self.lstm = nn.LSTM(shape.latent, shape.hidden, batch_first=True)
        self.head = nn.Linear(shape.hidden, 3)
        self.spread = nn.Linear(shape.hidden + 6, 6)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.spread.weight)

    def place_sites(self, position_m: Tensor, world_from_array: Tensor) -> None:
        """Tell where the base stations are, ``[L, 3]`` m, and how their arrays are turned, ``[L, 3, 3]``."""
        self.site_position.copy_((position_m - torch.tensor(CENTRE_M)) / SCALE_M)
        self.world_from_array.copy_(world_from_array)

    def forward(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> dict[str, Tensor]:
        """Estimates in scaled axes: positions in units of ``SCALE_M`` around ``CENTRE_M``.

        Args:
            latent: ``[B, L, N, d_z]``.
            gain_db: ``[B, L]``, dB.
            present: ``[B, L]``, bool.

        Returns:
            ``position`` after each subcarrier ``[B, N, 3]``; ``spread`` ``[B, 6]``, see :func:`lower`; ``first``, the
            product of Gaussians, ``total`` its information, ``site_mean`` and ``site_factor`` of each site.
        """
        batch, sites = latent.shape[:2]
        here = present.to(latent.dtype)
        token = latent.reshape(batch, sites, self.shape.dims) * here[..., None]
        level = (gain_db / 30.0 - 1.0) * here
        sites_say = self.product_of_gaussians(token, level, here)
        first, root = sites_say["first"], chol3(sites_say["total"])
        certainty = torch.cat([torch.log(root[..., :3]), root[..., 3:] * 0.1], -1)
        beside = torch.cat([token.reshape(batch, -1), level, here, first, certainty], -1)
        hidden = F.gelu(self.beside_in(beside), approximate="tanh")
        hidden = hidden + F.gelu(self.beside_mid(hidden), approximate="tanh")
        fused = self.attend(token, gain_db, present) + self.beside_out(hidden)
        states, _ = self.lstm(fused.reshape(batch, self.shape.subcarriers, self.shape.latent))
        with exact(states):
            states = states.float()
            position = first[:, None] + self.head(states)
            spread = self.spread(torch.cat([states[:, -1].detach(), certainty.detach()], -1))
        return sites_say | {"position": position, "spread": spread}

    def attend(self, token: Tensor, gain_db: Tensor, present: Tensor) -> Tensor:
        """Channel-masked attention (23)–(28) for the fusion token's row, ``[B, D]``.

        Since only that row is read, the keys need not be formed: their products with the one query are.
        """
        batch, sites, dims = token.shape
        gate = torch.softmax((self.beta * gain_db).masked_fill(~present, -1e4), -1) * sites
        tokens = token + self.site_token * present.to(token.dtype)[..., None]
        query = self.query(self.fusion_token) @ self.key.weight * dims**-0.5
        pull = (tokens @ query).masked_fill(~present, -1e4)
        score = torch.cat([(self.fusion_token @ query).expand(batch, 1), pull], 1)
        weight = torch.softmax(score, 1)
        gated = torch.cat([self.fusion_token.expand(batch, 1, -1), tokens * gate[..., None]], 1)
        return self.value((weight[:, None] @ gated)[:, 0])

    def product_of_gaussians(self, token: Tensor, level: Tensor, here: Tensor) -> dict[str, Tensor]:
        """Each site's estimate of the position, and what they say together."""
        prior = torch.eye(3, device=token.device, dtype=torch.float32) * 0.3
        if not self.shape.site_estimates:
            return {"first": torch.zeros_like(token[:, 0, :3]), "total": prior.expand(len(token), 3, 3)}
        x = torch.cat([token, level[..., None]], -1).transpose(0, 1)
        x = F.gelu(self.site_in(x), approximate="tanh")
        x = x + F.gelu(self.site_mid(x), approximate="tanh")
        with exact(x):
            out = self.site_out(x.float()).transpose(0, 1)
            mean, factor = local_gaussian(out, self.site_position, self.world_from_array)
            information = factor @ factor.transpose(-1, -2) * here[..., None, None]
            total = information.sum(1) + prior
            first = solve3(total, (information @ mean[..., None]).sum(1)[..., 0])
        return {"first": first, "total": total, "site_mean": mean, "site_factor": factor}

    def estimate(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Final position ``[B, 3]``, m, and covariance ``[B, 3, 3]``, m², not yet calibrated."""
        out = self(latent, gain_db, present)
        position = out["position"][:, -1].float() * SCALE_M + torch.tensor(CENTRE_M, device=latent.device)
        inverse = inverse_lower(lower(out["spread"].float()))
        return position, inverse.transpose(-1, -2) @ inverse * SCALE_M**2


def local_gaussian(out: Tensor, site: Tensor, world_from_array: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and information factor of a site's own estimate, from direction, range and precision as the array sees them.

    Args:
        out: Direction in the array's axes less (1, 0, 0), log range, log precisions (radial and two angular),
            three couplings: ``[B, L, 10]``.
        site: Scaled positions ``[L, 3]``.
        world_from_array: ``[L, 3, 3]``.
    """
    ahead = torch.zeros_like(out[..., :3])
    ahead[..., 0] = 1.0
    direction = out[..., :3] + ahead
    direction = direction * torch.rsqrt(direction.square().sum(-1, keepdim=True) + 1e-6)
    radial = (world_from_array @ direction[..., None])[..., 0]
    distance = 2.4 * torch.exp(torch.clamp(out[..., 3:4], -3.0, 1.5))
    mean = site + distance * radial
    side = torch.stack([-radial[..., 1], radial[..., 0], torch.zeros_like(radial[..., 0])], -1)
    side = side * torch.rsqrt(side.square().sum(-1, keepdim=True) + 1e-6)
    frame = torch.stack([radial, side, torch.linalg.cross(radial, side, dim=-1)], -1)
    log_range = torch.log(distance[..., 0].detach())
    diagonal = out[..., 4:7]
    precision = torch.cat([diagonal[..., :1], diagonal[..., 1:] + 2.0 - log_range[..., None]], -1)
    return mean, frame @ lower(torch.cat([precision, out[..., 7:]], -1))


def lower(parameters: Tensor) -> Tensor:
    """Lower triangular ``[..., 3, 3]`` from six numbers; the diagonal is the exponential of the first three."""
    d = torch.exp(torch.clamp(parameters[..., :3], -4.0, 6.0))
    o = parameters[..., 3:]
    zero = torch.zeros_like(d[..., 0])
    rows = [
        torch.stack([d[..., 0], zero, zero], -1),
        torch.stack([o[..., 0], d[..., 1], zero], -1),
        torch.stack([o[..., 1], o[..., 2], d[..., 2]], -1),
    ]
    return torch.stack(rows, -2)


def inverse_lower(factor: Tensor) -> Tensor:
    """Inverse of lower triangular ``[..., 3, 3]``."""
    a, b, c = factor[..., 0, 0], factor[..., 1, 1], factor[..., 2, 2]
    p, q, r = factor[..., 1, 0], factor[..., 2, 0], factor[..., 2, 1]
    zero = torch.zeros_like(a)
    rows = [
        torch.stack([1 / a, zero, zero], -1),
        torch.stack([-p / (a * b), 1 / b, zero], -1),
        torch.stack([(p * r - b * q) / (a * b * c), -r / (b * c), 1 / c], -1),
    ]
    return torch.stack(rows, -2)


def chol3(matrix: Tensor) -> Tensor:
    """Cholesky factor of ``[..., 3, 3]`` as six numbers: diagonal, then (1,0), (2,0), (2,1). Exports to ONNX."""
    a = torch.sqrt(torch.clamp(matrix[..., 0, 0], min=1e-6))
    b = matrix[..., 1, 0] / a
    c = matrix[..., 2, 0] / a
    d = torch.sqrt(torch.clamp(matrix[..., 1, 1] - b * b, min=1e-6))
    e = (matrix[..., 2, 1] - b * c) / d
    f = torch.sqrt(torch.clamp(matrix[..., 2, 2] - c * c - e * e, min=1e-6))
    return torch.stack([a, d, f, b, c, e], -1)


def solve3(matrix: Tensor, right: Tensor) -> Tensor:
    """Solution of the positive definite 3 × 3 systems ``matrix x = right``."""
    r = chol3(matrix)
    a, d, f, b, c, e = r.unbind(-1)
    y0 = right[..., 0] / a
    y1 = (right[..., 1] - b * y0) / d
    y2 = (right[..., 2] - c * y0 - e * y1) / f
    x2 = y2 / f
    x1 = (y1 - e * x2) / d
    x0 = (y0 - b * x1 - c * x2) / a
    return torch.stack([x0, x1, x2], -1)


def robust_nll(error: Tensor, factor: Tensor) -> Tensor:
    """−log density, but for a constant, of a heavy-tailed law around zero with information ``factor factorᵀ``."""
    white = (factor.transpose(-1, -2) @ error[..., None])[..., 0]
    log_det = torch.log(torch.abs(torch.linalg.det(factor)) + 1e-12)
    return 2 * torch.sqrt(white.square().sum(-1) + 1e-4) - log_det


def accumulation_weights(count: int) -> Tensor:
    """Weights of (34), ``[count]``: rising linearly, sum one."""
    return torch.arange(1, count + 1, dtype=torch.float32) * (2 / (count * (count + 1)))


def position_loss(out: dict[str, Tensor], target: Tensor, present: Tensor, kind: str = "norm") -> Tensor:
    """Loss of stage II: (34), and beside it the likelihoods that make the sites' Gaussians and the covariance.

    Args:
        out: From :class:`Fusion`.
        target: True positions, scaled, ``[B, 3]``.
        present: ``[B, L]``.
        kind: ``squared`` is (34); ``norm`` weighs distances instead, which far outliers pull at less.
    """
    squares = (out["position"] - target[:, None]).square().sum(-1)
    weights = accumulation_weights(squares.shape[1]).to(target.device)
    distance = torch.sqrt(squares + 1e-6) if kind == "norm" else squares
    main = (distance * weights).sum(1).mean()
    spread = robust_nll((out["position"][:, -1] - target).detach(), lower(out["spread"])).mean()
    loss = 10 * main + 0.05 * spread
    if "site_mean" not in out:
        return loss
    site = robust_nll(out["site_mean"] - target[:, None], out["site_factor"])
    error, total = out["first"] - target, out["total"]
    white = (error[:, None] @ total @ error[..., None])[:, 0, 0]
    fused = 2 * torch.sqrt(torch.clamp(white, min=0.0) + 1e-4) - torch.log(chol3(total)[..., :3]).sum(-1)
    return loss + 0.05 * (site * present).sum(1).mean() / present.shape[1] + 0.1 * fused.mean()


def reconstruction_loss(original: Tensor, rebuilt: Tensor) -> Tensor:
    """Loss of stage I, (22): minus the normalised correlation of each link's CSI with its reconstruction, ``[B, L]``.

    Args:
        original, rebuilt: ``[B, L, N, 2·C]``, real parts first, then imaginary parts.
    """
    half = original.shape[-1] // 2
    a, b = (
        torch.complex(x[..., :half], x[..., half:]).flatten(2) for x in (original.float(), rebuilt.float())
    )
    product = (a.conj() * b).sum(-1).abs()
    return -product / (a.abs().square().sum(-1).sqrt() * b.abs().square().sum(-1).sqrt() + 1e-9)


class Decoder(nn.Module):
    """Mirror of the encoder for stage I, thrown away after it: ``latent [B, L, N, d_z] -> features [B, L, N, 2·C]``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        sites, width = shape.num_bs, shape.width
        self.embed = SiteLinear(sites, shape.dims, width)
        self.blocks = nn.ModuleList(DenseBlock(sites, width) for _ in range(shape.depth))
        self.project = SiteLinear(sites, width, shape.subcarriers * shape.features)

    def forward(self, latent: Tensor) -> Tensor:
        batch, sites, tokens, _ = latent.shape
        y = self.embed(latent.reshape(batch, sites, -1).transpose(0, 1))
        for block in self.blocks:
            y = block(y)
        return self.project(y).transpose(0, 1).reshape(batch, sites, tokens, -1)


def build_network(shape: Shape, phase_reference: str) -> tuple[Encoder, Fusion]:
    """Fresh encoder and fusion."""
    return Encoder(shape, shape.features, side_features(phase_reference)), Fusion(shape)


def build_autoencoder(shape: Shape, phase_reference: str) -> nn.Module:
    """Fresh decoder for stage I."""
    return Decoder(shape)
