"""Algebra of 3 × 3 Gaussians in closed form: it exports to ONNX, and is fast for large batches."""

from __future__ import annotations

import torch
from torch import Tensor


def lower(parameters: Tensor) -> Tensor:
    """Lower triangular ``[..., 3, 3]`` from six numbers; the first three are the diagonal's logarithm."""
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
    """Cholesky factor of ``[..., 3, 3]`` as six numbers: diagonal, then (1,0), (2,0), (2,1)."""
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


def towards(out: Tensor, world_from_array: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors ``[B, L, 3]`` and distances ``[B, L, 1]``, scaled: the first four of a site's outputs."""
    ahead = torch.zeros_like(out[..., :3])
    ahead[..., 0] = 1.0
    direction = out[..., :3] + ahead
    direction = direction * torch.rsqrt(direction.square().sum(-1, keepdim=True) + 1e-6)
    radial = (world_from_array @ direction[..., None])[..., 0]
    return radial, 2.4 * torch.exp(torch.clamp(out[..., 3:4], -3.0, 1.5))


def local_gaussian(out: Tensor, site: Tensor, world_from_array: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and information factor of a site's own estimate of the position, made in its array's axes.

    Args:
        out: Direction in the array's axes less (1, 0, 0), log range, log precisions (radial and two angular),
            three couplings: ``[B, L, 10]``.
        site: Scaled positions ``[L, 3]``.
        world_from_array: ``[L, 3, 3]``.

    Returns:
        Means ``[B, L, 3]``, scaled, and factors F ``[B, L, 3, 3]`` of the information matrices F Fᵀ.
    """
    radial, distance = towards(out, world_from_array)
    mean = site + distance * radial
    side = torch.stack([-radial[..., 1], radial[..., 0], torch.zeros_like(radial[..., 0])], -1)
    side = side * torch.rsqrt(side.square().sum(-1, keepdim=True) + 1e-6)
    frame = torch.stack([radial, side, torch.linalg.cross(radial, side, dim=-1)], -1)
    log_range = torch.log(distance[..., 0].detach())
    diagonal = out[..., 4:7]
    precision = torch.cat([diagonal[..., :1], diagonal[..., 1:] + 2.0 - log_range[..., None]], -1)
    return mean, frame @ lower(torch.cat([precision, out[..., 7:]], -1))
