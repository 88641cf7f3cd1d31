"""Central units of the systems compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.gaussian import chol3, inverse_lower, solve3
from models.layers import SCALE_M, CentralUnit, SiteLinear, exact
from models.network import Fusion
from models.shape import Shape
from models.systems.local_fix import covariance_root


class LateFusion(CentralUnit):
    """An MLP over the messages of all base stations side by side."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape.num_bs)
        self.shape = shape
        self.wide = nn.Linear(shape.num_bs * (shape.dims + 2), shape.fusion)
        self.middle = nn.Linear(shape.fusion, shape.fusion)
        self.narrow = nn.Linear(shape.fusion, shape.hidden)
        self.head, self.spread = nn.Linear(shape.hidden, 3), nn.Linear(shape.hidden, 6)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.spread.weight)

    def forward(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> dict[str, Tensor]:
        """As :meth:`models.network.Fusion.forward`, with one estimate, ``position [B, 1, 3]``."""
        shape = self.shape
        assert latent.shape[1:] == (shape.num_bs, *shape.message_shape), latent.shape
        assert gain_db.shape == present.shape == latent.shape[:2], (gain_db.shape, present.shape)
        here = present.to(latent.dtype)
        heard = latent.reshape(*latent.shape[:2], -1) * here[..., None]
        x = torch.cat([heard.reshape(heard.shape[0], -1), (gain_db / 30.0 - 1.0) * here, here], -1)
        x = F.gelu(self.wide(x), approximate="tanh")
        x = x + F.gelu(self.middle(x), approximate="tanh")
        x = F.gelu(self.narrow(x), approximate="tanh")
        with exact(x):
            states = x.float()
            return {"position": self.head(states)[:, None], "spread": self.spread(states.detach())}


class FixFusion(Fusion):
    """The paper's central unit over positions and covariances: it corrects the product of the Gaussians.

    A layer per base station makes a token of what its message says, and of how far that is from the product.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        sites = shape.num_bs
        self.lift = SiteLinear(sites, 14, shape.site_hidden)
        self.to_tokens = SiteLinear(sites, shape.site_hidden, len(self.fusion_token))
        self.spread = nn.Linear(shape.hidden + 6, 6)
        nn.init.zeros_(self.spread.weight)

    def forward(self, latent: Tensor, gain_db: Tensor, present: Tensor) -> dict[str, Tensor]:
        """As :meth:`models.network.Fusion.forward`, from messages ``[B, L, 1, 9]``."""
        shape = self.shape
        assert latent.shape[1:] == (shape.num_bs, *shape.message_shape), latent.shape
        assert gain_db.shape == present.shape == latent.shape[:2], (gain_db.shape, present.shape)
        here = present.to(latent.dtype)
        with exact(latent):
            numbers = latent.float()[:, :, 0]
            mean = numbers[..., :3] / SCALE_M + self.site_position
            axes, root = covariance_root(numbers)
            factor = axes @ inverse_lower(root / SCALE_M).transpose(-1, -2)
            information = factor @ factor.transpose(-1, -2) * here[..., None, None]
            total = information.sum(1) + torch.eye(3, device=latent.device) * 0.3
            first = solve3(total, (information @ mean[..., None]).sum(1)[..., 0])
            whole = chol3(total)
            certainty = torch.cat([torch.log(whole[..., :3]), whole[..., 3:] * 0.1], -1)
            beyond = torch.clamp(mean - first[:, None], -4.0, 4.0)
            says = torch.cat([mean, numbers[..., 3:6] - 1.0, numbers[..., 6:], beyond], -1)
            seen = torch.cat([says, (gain_db / 30.0 - 1.0)[..., None], here[..., None]], -1)
        tokens = F.gelu(self.lift(seen.transpose(0, 1)), approximate="tanh")
        tokens = self.to_tokens(tokens).transpose(0, 1) * here[..., None]
        states = self.accumulate(self.attend(tokens, gain_db, present))
        with exact(states):
            position = first[:, None] + self.head(states)
            spread = self.spread(torch.cat([states[:, -1].detach(), certainty.detach()], -1))
        product = {"first": first, "total": total, "site_mean": mean, "site_factor": factor}
        return product | {"position": position, "spread": spread}
