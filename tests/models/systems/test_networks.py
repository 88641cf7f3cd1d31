"""Networks of the systems compared with, against plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models.build import build_encoder, build_fusion, encoder_of
from models.layers import CENTRE_M, SCALE_M
from models.messages import product_of_gaussians
from models.network import NORMED_TO, Fusion
from models.preprocessing import side_features
from models.systems.centres import FixFusion, LateFusion
from models.systems.encoders import OfdmCnn, halved
from models.systems.local_fix import covariance_root
from tests.models.kit import PAPER, SHAPE

FIX = replace(SHAPE, encoder="local_fix", cu="fixes", token=4, normed=True, latent=2)
CNN = replace(SHAPE, encoder="ofdm_cnn", cu="late_fusion", width=6, latent=2)
MAP = replace(SHAPE, encoder="power_map", cu="late_fusion", width=3, latent=2)
BATCH = 4


def shaken(module: nn.Module) -> nn.Module:
    """Every weight matters."""
    torch.manual_seed(3)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return module.eval()


@pytest.mark.parametrize("shape", [FIX, CNN, MAP], ids=["fix", "cnn", "map"])
def test_base_stations_and_samples_keep_apart(shape: object) -> None:
    assert isinstance(shape, type(SHAPE))
    encoder = shaken(build_encoder(shape, "delay"))
    x, side = torch.randn(BATCH, 3, *shape.input_shape), torch.randn(BATCH, 3, side_features("delay"))
    changed = x.clone()
    changed[1, 2] += 1.0
    with torch.no_grad():
        before, after = encoder(x, side), encoder(changed, side)
        assert before.shape == (BATCH, 3, *shape.message_shape)
        assert ((before - after).abs().amax(dim=(2, 3)) > 1e-5).nonzero().tolist() == [[1, 2]]
        alone = encoder_of(encoder, shape, 2, "delay")(x[:, 2:], side[:, 2:])
    assert alone[:, 0].numpy() == pytest.approx(before[:, 2].numpy(), abs=1e-4)


def test_a_convolution_is_a_sum_over_three_neighbours() -> None:
    kernel = nn.Linear(3 * 2, 5)
    x = torch.randn(2, 3, 7, 2)
    found = OfdmCnn.convolved(kernel, x)
    weight, bias = kernel.weight.detach().numpy(), kernel.bias.detach().numpy()
    for n in range(7):
        wanted = np.tile(bias, (2, 3, 1))
        for shift in (-1, 0, 1):
            if 0 <= n + shift < 7:
                columns = slice(2 * (shift + 1), 2 * (shift + 2))
                wanted = wanted + x[:, :, n + shift].numpy() @ weight[:, columns].T
        assert found[:, :, n].detach().numpy() == pytest.approx(wanted, abs=1e-5)


def test_pooling_keeps_the_larger_of_two() -> None:
    x = torch.tensor([1.0, 5.0, 2.0, -1.0, 9.0]).reshape(1, 1, 5, 1)
    assert halved(x).flatten().tolist() == [5.0, 2.0]


def test_late_fusion_is_an_mlp_over_what_is_there() -> None:
    fusion = shaken(LateFusion(CNN))
    latent, gain = torch.randn(BATCH, 3, *CNN.message_shape), 10 * torch.randn(BATCH, 3)
    present = torch.tensor([[True, False, True]]).expand(BATCH, 3)
    other = latent.clone()
    other[:, 1] = 7.0
    with torch.no_grad():
        found = fusion(latent, gain, present)["position"]
        assert found.shape == (BATCH, 1, 3)
        assert torch.equal(found, fusion(other, gain, present)["position"])
        assert not torch.equal(found, fusion(other, gain, present | True)["position"])


def test_fixes_start_from_the_product_of_the_gaussians_that_arrive() -> None:
    """Against inverses of matrices in metres, with the prior around the middle of the city."""
    torch.manual_seed(1)
    fusion = FixFusion(FIX).eval()
    nn.init.zeros_(fusion.head.bias)  # its weights are zero still, so it corrects nothing
    site = torch.tensor([[130.0, 80, 28], [30, 200, 32], [-110, 50, 40]])
    fusion.place_sites(site, torch.eye(3).repeat(3, 1, 1))
    draws = np.random.default_rng(1)
    offset, octaves = draws.uniform(-90, 90, (BATCH, 3, 3)), draws.uniform(0, 4, (BATCH, 3, 3))
    numbers = np.concatenate([offset, octaves, draws.normal(size=(BATCH, 3, 3))], axis=-1)
    present = np.ones((BATCH, 3), bool)
    present[0, 1] = False
    axes, root = covariance_root(numbers)
    whole = axes @ root
    covariance = whole @ whole.swapaxes(-1, -2)
    mean = site.numpy() + numbers[..., :3]
    prior = np.broadcast_to(np.eye(3) * SCALE_M**2 / 0.3, (BATCH, 1, 3, 3))
    wanted, _ = product_of_gaussians(
        np.concatenate([mean, np.broadcast_to(CENTRE_M, (BATCH, 1, 3))], axis=1),
        np.concatenate([covariance, prior], axis=1),
        np.concatenate([present, np.ones((BATCH, 1), bool)], axis=1),
    )
    with torch.no_grad():
        latent = torch.tensor(numbers[:, :, None], dtype=torch.float32)
        found, _ = fusion.estimate(latent, torch.full((BATCH, 3), 20.0), torch.tensor(present))
    assert found.numpy() == pytest.approx(wanted, abs=0.05)


def test_tokens_are_projected_and_scaled_to_a_fixed_power() -> None:
    shape = replace(PAPER, token=3, normed=True)
    fusion = shaken(Fusion(shape))
    assert isinstance(fusion, Fusion)
    latent, gain = torch.randn(BATCH, 3, *shape.message_shape), torch.zeros(BATCH, 3)
    present = torch.ones(BATCH, 3, dtype=torch.bool)
    seen: list[torch.Tensor] = []
    fusion.lstm.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        fusion(latent, gain, present)
        fusion(5 * latent, gain, present)
        tokens = fusion.tokens(latent)
    assert seen[0].shape == (BATCH, 12, 3)
    assert seen[0].square().mean(dim=(1, 2)).tolist() == pytest.approx([NORMED_TO**2] * BATCH, rel=1e-3)
    one = fusion.to_token.weight.detach() @ latent[0, 1, 4]
    assert tokens[0, 1].reshape(12, 3)[4].numpy() == pytest.approx(one.numpy(), abs=1e-5)


@pytest.mark.parametrize("shape", [PAPER, SHAPE, FIX], ids=["paper", "ours", "fix"])
def test_a_fixed_query_asks_the_same(shape: object) -> None:
    assert isinstance(shape, type(SHAPE))
    fusion = shaken(build_fusion(shape))
    assert isinstance(fusion, Fusion)
    latent = torch.randn(BATCH, 3, *shape.message_shape)
    gain, present = torch.randn(BATCH, 3), torch.ones(BATCH, 3, dtype=torch.bool)
    with torch.no_grad():
        before = fusion.estimate(latent, gain, present)[0]
        fusion.fix_query()
        after = fusion.estimate(latent, gain, present)[0]
    assert not hasattr(fusion, "query")
    assert after.numpy() == pytest.approx(before.numpy(), abs=1e-3)
