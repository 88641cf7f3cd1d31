"""The positioning network: one encoder per base station, and fusion at the central unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.gaussian import chol3, local_gaussian, solve3
from models.layers import CentralUnit, DenseBlock, SiteLinear, SiteNorm, exact
from models.shape import Shape

NORMED_TO = 10.0
"""Root mean square of what a ``normed`` central unit gives to its LSTM, whose weights start small."""


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
        """``[L, B, tokens, width]`` to the same."""
        sites, batch, tokens, width = x.shape
        part = width // self.heads
        y = self.norm_tokens(x).reshape(sites, batch, tokens, self.heads, part)
        y = y.permute(0, 3, 2, 1, 4).reshape(sites * self.heads, tokens, batch * part)
        y = torch.bmm(self.mix, y).reshape(sites, self.heads, tokens, batch, part)
        x = x + y.permute(0, 3, 2, 1, 4).reshape(sites, batch, tokens, width)
        y = self.norm_channels(x).reshape(sites, batch * tokens, width)
        y = self.narrow(F.gelu(self.widen(y), approximate="tanh"))
        mixed: Tensor = x + y.reshape(sites, batch, tokens, width)
        return mixed


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
        """See the class."""
        batch, sites, tokens, _ = x.shape
        assert (sites, tokens) == (self.shape.num_bs, self.shape.subcarriers), x.shape
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
        latent: Tensor = y.reshape(sites, batch, tokens, -1).transpose(0, 1)
        return latent


class Fusion(CentralUnit):
    """Central unit: channel-masked attention (23)–(28), then frequency evidence accumulation (32)–(33).

    Gains enter in dB, a missing base station is masked out of both softmaxes, and a head for the covariance
    of the final error looks on without a say in the position. With ``cu: paper`` that is all. ``extended``
    adds a dense layer beside the attention, a token that tells the base stations apart, and each site's own
    Gaussian of the position, whose product is where the regression starts from.
    """

    fixed_query: Tensor | None

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape.num_bs)
        self.shape = shape
        self.extended = shape.cu == "extended"
        sites, width = shape.num_bs, shape.token or shape.latent
        dims = shape.subcarriers * width
        self.beta = nn.Parameter(torch.tensor(0.1))
        self.fusion_token = nn.Parameter(torch.randn(dims) * 0.1)
        if self.extended:
            self.site_token = nn.Parameter(torch.randn(sites, dims) * 0.1)
        self.query, self.key = nn.Linear(dims, dims, bias=False), nn.Linear(dims, dims, bias=False)
        self.value = nn.Linear(dims, dims, bias=False)
        if self.extended and shape.site_estimates:
            self.site_in = SiteLinear(sites, dims + 1, shape.site_hidden)
            self.site_mid = SiteLinear(sites, shape.site_hidden, shape.site_hidden)
            self.site_out = SiteLinear(sites, shape.site_hidden, 10, gain=0.1)
        if self.extended:
            self.beside_in = nn.Linear(sites * (dims + 2) + 9, shape.fusion)
            self.beside_mid = nn.Linear(shape.fusion, shape.fusion)
            self.beside_out = nn.Linear(shape.fusion, dims)
        self.lstm = nn.LSTM(width, shape.hidden, batch_first=True)
        self.head = nn.Linear(shape.hidden, 3)
        self.spread = nn.Linear(shape.hidden + (6 if self.extended else 0), 6)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.spread.weight)
        self.width = width
        self.register_buffer("fixed_query", None)
        if shape.token is not None and shape.cu != "fixes":
            self.to_token = nn.Linear(shape.latent, width, bias=False)

    def forward(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> dict[str, Tensor]:
        """Estimates in scaled axes: positions in units of ``SCALE_M`` around ``CENTRE_M``.

        Args:
            latent: ``[B, L, N, d_z]``; what absent base stations hold does not matter, if it is finite.
            gain_db: ``[B, L]``, dB.
            present: ``[B, L]``, bool.

        Returns:
            ``position`` after each subcarrier ``[B, N, 3]``; ``spread`` ``[B, 6]``, see
            :func:`models.gaussian.lower`; ``extended`` also ``first``, the mean of the Gaussians' product,
            ``total``, its information, and ``site_mean`` and ``site_factor`` of each site.
        """
        shape = self.shape
        batch = latent.shape[0]
        assert latent.shape[1:] == (shape.num_bs, shape.subcarriers, shape.latent), latent.shape
        assert gain_db.shape == present.shape == latent.shape[:2], (gain_db.shape, present.shape)
        here = present.to(latent.dtype)
        token = self.tokens(latent) * here[..., None]
        if not self.extended:
            states = self.accumulate(self.attend(token, gain_db, present))
            with exact(states):
                return {"position": self.head(states), "spread": self.spread(states[:, -1].detach())}
        level = (gain_db / 30.0 - 1.0) * here
        sites_say = self.product_of_gaussians(token, level, here)
        first, root = sites_say["first"], chol3(sites_say["total"])
        certainty = torch.cat([torch.log(root[..., :3]), root[..., 3:] * 0.1], -1)
        beside = torch.cat([token.reshape(batch, -1), level, here, first, certainty], -1)
        hidden = F.gelu(self.beside_in(beside), approximate="tanh")
        hidden = hidden + F.gelu(self.beside_mid(hidden), approximate="tanh")
        states = self.accumulate(self.attend(token, gain_db, present) + self.beside_out(hidden))
        with exact(states):
            position = first[:, None] + self.head(states)
            spread = self.spread(torch.cat([states[:, -1].detach(), certainty.detach()], -1))
        return sites_say | {"position": position, "spread": spread}

    def tokens(self, latent: Tensor) -> Tensor:
        """What attention sees of each message, ``[B, L, N·d]``: as it is, or projected to d numbers."""
        if self.shape.token is not None:
            latent = self.to_token(latent)
        return latent.reshape(latent.shape[0], self.shape.num_bs, -1)

    def accumulate(self, fused: Tensor) -> Tensor:
        """Frequency evidence accumulation (32): hidden states ``[B, N, hidden]`` from ``fused [B, D]``."""
        if self.shape.normed:
            fused = fused * (torch.rsqrt(fused.square().mean(-1, keepdim=True) + 1e-9) * NORMED_TO)
        states: Tensor = self.lstm(fused.reshape(-1, self.shape.subcarriers, self.width))[0]
        return states.float()

    def attend(self, token: Tensor, gain_db: Tensor, present: Tensor) -> Tensor:
        """Channel-masked attention (23)–(28) for the fusion token's row, ``[B, D]``.

        Since only that row is read, the keys need not be formed: their products with the one query are.
        """
        batch = token.shape[0]
        gate = self.gates(gain_db, present)
        tokens = token + self.site_token * present.to(token.dtype)[..., None] if self.extended else token
        query = self.asked()
        pull = (tokens @ query).masked_fill(~present, -1e4)
        score = torch.cat([(self.fusion_token @ query).expand(batch, 1), pull], 1)
        weight = torch.softmax(score, 1)
        gated = torch.cat([self.fusion_token.expand(batch, 1, -1), tokens * gate[..., None]], 1)
        fused: Tensor = self.value((weight[:, None] @ gated)[:, 0])
        return fused

    def asked(self) -> Tensor:
        """What a token is multiplied with for its score, ``[D]``: the one query through all keys."""
        if self.fixed_query is not None:
            return self.fixed_query
        query: Tensor = self.query(self.fusion_token) @ self.key.weight * len(self.fusion_token) ** -0.5
        return query

    @torch.no_grad()
    def fix_query(self) -> None:
        """Keep what :meth:`asked` gives, and let go of the two matrices that it is made of."""
        self.fixed_query = self.asked()
        del self.query, self.key

    def gates(self, gain_db: Tensor, present: Tensor) -> Tensor:
        """The weights m of (23) and (26), ``[B, L]``; ``extended`` scales them to a mean of one."""
        if not self.shape.cma:
            return torch.ones_like(gain_db)
        gate = torch.softmax((self.beta * gain_db).masked_fill(~present, -1e4), -1)
        return gate * self.shape.num_bs if self.extended else gate

    def product_of_gaussians(self, token: Tensor, level: Tensor, here: Tensor) -> dict[str, Tensor]:
        """Each site's estimate of the position, and what they say together."""
        prior = torch.eye(3, device=token.device, dtype=torch.float32) * 0.3
        if not self.shape.site_estimates:
            return {"first": torch.zeros_like(token[:, 0, :3]), "total": prior.expand(token.shape[0], 3, 3)}
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


class Decoder(nn.Module):
    """Mirror of the dense encoder for stage I: ``latent [B, L, N, d_z] -> features [B, L, N, 2·C]``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        sites, width = shape.num_bs, shape.width
        self.embed = SiteLinear(sites, shape.dims, width)
        self.blocks = nn.ModuleList(DenseBlock(sites, width) for _ in range(shape.depth))
        self.project = SiteLinear(sites, width, shape.subcarriers * shape.features)

    def forward(self, latent: Tensor) -> Tensor:
        """See the class."""
        batch, sites, tokens, _ = latent.shape
        y = self.embed(latent.reshape(batch, sites, -1).transpose(0, 1))
        for block in self.blocks:
            y = block(y)
        rebuilt: Tensor = self.project(y).transpose(0, 1).reshape(batch, sites, tokens, -1)
        return rebuilt
