"""(22) and (34) against plain loops, and the algebra of 3 × 3 Gaussians."""

import cmath

import numpy as np
import pytest
import torch

from models.gaussian import chol3, inverse_lower, local_gaussian, lower, solve3
from models.losses import accumulation_weights, position_loss, reconstruction_loss, robust_nll
from models.preprocessing import stack


def matrices(count: int) -> torch.Tensor:
    """Symmetric and positive definite."""
    root = torch.randn(count, 3, 3, dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(3)


def test_reconstruction_loss_is_22() -> None:
    rng = np.random.default_rng(1)
    h, rebuilt = (
        (rng.standard_normal((2, 5, 4, 6)) + 1j * rng.standard_normal((2, 5, 4, 6))).astype(np.complex64)
        for _ in range(2)
    )
    found = reconstruction_loss(*(torch.tensor(stack(x))[None] for x in (h, rebuilt)))
    assert found.shape == (1, 2)
    for link in range(2):
        one, other = h[link].ravel().tolist(), rebuilt[link].ravel().tolist()
        product = sum(a.conjugate() * b for a, b in zip(one, other, strict=True))
        norms = [sum(abs(a) ** 2 for a in x) ** 0.5 for x in (one, other)]
        assert found[0, link] == pytest.approx(-abs(product) / (norms[0] * norms[1]), abs=1e-5)


def test_reconstruction_loss_does_not_see_scale_and_common_phase() -> None:
    x = torch.randn(2, 3, 8, 6, 2)
    z = torch.view_as_complex(x) * 3.0 * cmath.exp(0.7j)
    assert reconstruction_loss(x, torch.view_as_real(z)).numpy() == pytest.approx(-1.0, abs=1e-5)
    assert reconstruction_loss(x, x * 0).numpy() == pytest.approx(0.0)


def test_reconstruction_loss_of_features_pairs_their_halves() -> None:
    real, imaginary = torch.randn(2, 3, 12, 4), torch.randn(2, 3, 12, 4)
    turned = torch.cat([-imaginary, real], -1)  # times j
    assert reconstruction_loss(torch.cat([real, imaginary], -1), turned).numpy() == pytest.approx(
        -1.0, abs=1e-5
    )


def test_accumulation_weights_are_those_of_34() -> None:
    count = 24
    wanted = [2 * i / (count * (count + 1)) for i in range(1, count + 1)]
    assert accumulation_weights(count).tolist() == pytest.approx(wanted)
    assert sum(wanted) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["squared", "norm"])
def test_position_loss_is_34(kind: str) -> None:
    torch.manual_seed(1)
    batch, count = 4, 7
    out = {"position": torch.randn(batch, count, 3), "spread": torch.zeros(batch, 6)}
    target = torch.randn(batch, 3)
    power = 2 if kind == "squared" else 1
    main = 0.0
    for sample in range(batch):
        for i in range(1, count + 1):
            w = 2 * i / (count * (count + 1))
            main += w * float((target[sample] - out["position"][sample, i - 1]).norm()) ** power / batch
    spread = float(robust_nll(out["position"][:, -1] - target, torch.eye(3).expand(batch, 3, 3)).mean())
    found = float(position_loss(out, target, torch.ones(batch, 2, dtype=torch.bool), kind))
    assert found == pytest.approx(10 * main + 0.05 * spread, rel=1e-4)


def test_the_last_estimates_weigh_most() -> None:
    target, present = torch.zeros(1, 3), torch.ones(1, 2, dtype=torch.bool)
    losses = []
    for wrong in (0, 6):
        position = torch.zeros(1, 7, 3)
        position[0, wrong] = 5.0
        position[0, -1, 0] += 1e-9
        out = {"position": position, "spread": torch.full((1, 6), -4.0)}
        losses.append(float(position_loss(out, target, present, "squared")))
    assert losses[1] > 6 * losses[0]


def test_the_likelihood_is_least_at_the_true_spread() -> None:
    torch.manual_seed(2)
    error = torch.randn(4000, 3) * torch.tensor([1.0, 2.0, 0.5])
    scales = torch.linspace(0.3, 3, 28)

    def loss(scale: torch.Tensor) -> float:
        return float(
            robust_nll(error, torch.diag(scale / torch.tensor([1.0, 2.0, 0.5])).expand(4000, 3, 3)).mean()
        )

    best = scales[int(np.argmin([loss(scale) for scale in scales]))]
    assert 0.6 < best < 1.7


def test_closed_forms_are_those_of_linear_algebra() -> None:
    torch.manual_seed(3)
    matrix, right = matrices(50), torch.randn(50, 3, dtype=torch.float64)
    wanted = torch.linalg.cholesky(matrix)
    found = chol3(matrix)
    for number, (row, column) in enumerate([(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1)]):
        assert found[:, number].numpy() == pytest.approx(wanted[:, row, column].numpy())
    assert solve3(matrix, right).numpy() == pytest.approx(torch.linalg.solve(matrix, right).numpy())
    assert inverse_lower(wanted).numpy() == pytest.approx(torch.linalg.inv(wanted).numpy())


def test_lower_is_triangular_with_a_positive_diagonal() -> None:
    factor = lower(torch.tensor([0.0, 1.0, -9.0, 2.0, 3.0, 4.0]))
    wanted = [[1.0, 0, 0], [2.0, np.e, 0], [3.0, 4.0, np.exp(-4.0)]]
    assert factor.numpy() == pytest.approx(np.array(wanted), rel=1e-5)


def test_a_sites_gaussian_lies_along_its_ray() -> None:
    """Straight ahead at 2.4 scaled units, with twice the certainty across that there is along."""
    axes = torch.linalg.qr(torch.randn(1, 3, 3))[0]
    site = torch.tensor([[1.0, 2.0, 3.0]])
    mean, factor = local_gaussian(torch.zeros(1, 1, 10), site, axes)
    ahead = axes[0, :, 0]
    assert (mean[0, 0] - site[0]).numpy() == pytest.approx(2.4 * ahead.numpy(), abs=1e-4)
    information = factor[0, 0] @ factor[0, 0].T
    assert float(ahead @ information @ ahead) == pytest.approx(1.0, abs=1e-3)
    across = torch.linalg.cross(ahead, torch.tensor([0.0, 0.0, 1.0]))
    across = across / across.norm()
    assert float(across @ information @ across) == pytest.approx(float(np.exp(2.0) / 2.4) ** 2, rel=1e-3)
