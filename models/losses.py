"""What training minimises: (22) in stage I, (34) in stage II and, beside it, likelihoods."""

from __future__ import annotations

import torch
from torch import Tensor

from models.gaussian import chol3, lower


def reconstruction_loss(original: Tensor, rebuilt: Tensor) -> Tensor:
    """Loss of stage I, (22): minus the normalised correlation of each link's CSI with its reconstruction.

    Args:
        original: Encoder input ``[B, L, ..., 2·C]``, C real parts first, then the C imaginary parts.
        rebuilt: The decoder's output, of the same shape.

    Returns:
        ``[B, L]``, from −1 (equal but for a complex factor) to 0.
    """
    half = original.shape[-1] // 2
    a, b = (
        torch.complex(x[..., :half], x[..., half:]).flatten(2) for x in (original.float(), rebuilt.float())
    )
    product = (a.conj() * b).sum(-1).abs()
    return -product / (a.abs().square().sum(-1).sqrt() * b.abs().square().sum(-1).sqrt() + 1e-9)


def accumulation_weights(count: int) -> Tensor:
    """Weights of (34), ``[count]``: rising linearly, sum one."""
    return torch.arange(1, count + 1, dtype=torch.float32) * (2 / (count * (count + 1)))


def robust_nll(error: Tensor, factor: Tensor) -> Tensor:
    """−log density, but for a constant, of a heavy-tailed law around zero; its information is F Fᵀ.

    Args:
        error: ``[..., 3]``.
        factor: F, ``[..., 3, 3]``.
    """
    white = (factor.transpose(-1, -2) @ error[..., None])[..., 0]
    log_det = torch.log(torch.abs(torch.linalg.det(factor)) + 1e-12)
    loss: Tensor = 2 * torch.sqrt(white.square().sum(-1) + 1e-4) - log_det
    return loss


def position_loss(out: dict[str, Tensor], target: Tensor, present: Tensor, kind: str = "norm") -> Tensor:
    """Loss of stage II: (34) and, beside it, likelihoods that make the sites' Gaussians and the covariance.

    Args:
        out: From :class:`models.network.Fusion`.
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
