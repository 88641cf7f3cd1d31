"""The paper's encoder and decoder: sizes, and that pooling is along slots and antennas alone."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.res_segnet import ResidualBlock, ResSegNetDecoder, ResSegNetEncoder, rows_by_level
from models.shape import Shape

SHAPE = Shape(num_bs=2, encoder="res_segnet", width=4, depth=1)


def test_rows_are_those_of_the_paper() -> None:
    assert rows_by_level(80) == [80, 40, 20, 10, 5]


@pytest.mark.parametrize(("rows", "levels"), [(5, [5]), (6, [6, 3]), (32, [32, 16, 8, 4]), (15, [15, 8, 4])])
def test_other_rows_are_halved_until_five_or_fewer_remain(rows: int, levels: list[int]) -> None:
    assert rows_by_level(rows) == levels


def test_the_message_is_the_papers() -> None:
    """24 × 32 numbers, one token per subcarrier, and back to 80 × 24 × 2."""
    shape = Shape(encoder="res_segnet", width=2, depth=1)
    assert (shape.dims, shape.input_shape) == (768, (80, 24, 2))
    x = torch.randn(1, 6, 80, 24, 2)
    latent = ResSegNetEncoder(shape)(x, torch.zeros(1, 6, 1))
    assert latent.shape == (1, 6, 24, 32)
    assert ResSegNetDecoder(shape)(latent).shape == x.shape


@pytest.mark.parametrize(("slots", "antennas"), [(10, 8), (3, 5), (1, 4), (7, 2)])
def test_any_number_of_slots_and_antennas_goes_there_and_back(slots: int, antennas: int) -> None:
    shape = replace(SHAPE, slots=slots, antennas=antennas, subcarriers=6)
    x = torch.randn(2, 2, *shape.input_shape)
    rebuilt = ResSegNetDecoder(shape)(ResSegNetEncoder(shape)(x, torch.zeros(2, 2, 1)))
    assert rebuilt.shape == x.shape


def test_subcarriers_are_never_pooled() -> None:
    """Every layer keeps their number, and a token sees its neighbours first of all."""
    encoder = ResSegNetEncoder(SHAPE)
    seen = []
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[-1]))
    encoder(torch.randn(1, 2, 80, 24, 2), torch.zeros(1, 2, 1))
    assert set(seen) == {24}


def test_shifting_the_subcarriers_shifts_the_tokens() -> None:
    encoder = ResSegNetEncoder(SHAPE).eval()
    x = torch.zeros(1, 2, 80, 24, 2)
    x[..., 11:13, :] = torch.randn(1, 2, 80, 2, 2)
    with torch.no_grad():
        here, there = encoder(x, torch.zeros(1, 2, 1)), encoder(x.roll(1, dims=3), torch.zeros(1, 2, 1))
    # Away from the edges, where the padding is felt.
    assert torch.allclose(here[:, :, 11:13], there[:, :, 12:14], atol=0.05)
    assert not torch.allclose(here[:, :, 11], here[:, :, 12], atol=0.05)


def test_a_block_is_two_convolutions_and_a_shortcut() -> None:
    block = ResidualBlock(2, 4, 4)
    for name in ("first", "second"):
        nn.init.zeros_(getattr(block, name).weight)
    x = torch.rand(1, 8, 10, 6)
    assert torch.equal(block(x), x)  # positive, so the last ReLU lets it through


def test_the_encoder_does_not_look_at_side_features() -> None:
    encoder = ResSegNetEncoder(SHAPE).eval()
    x = torch.randn(1, 2, 80, 24, 2)
    assert torch.equal(encoder(x, torch.zeros(1, 2, 1)), encoder(x, torch.ones(1, 2, 1)))


def test_wrong_shapes_are_caught_at_the_border() -> None:
    with pytest.raises(AssertionError):
        ResSegNetEncoder(SHAPE)(torch.randn(1, 2, 79, 24, 2), torch.zeros(1, 2, 1))
    with pytest.raises(AssertionError):
        ResSegNetDecoder(SHAPE)(torch.randn(1, 2, 24, 31))
