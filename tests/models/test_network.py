"""The central unit against loops that follow the paper line by line; masks, permutations, shapes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.build import build_decoder, build_encoder, encoder_of
from models.network import Decoder, Encoder, Fusion
from models.preprocessing import side_features
from models.shape import Shape
from tests.models.kit import PAPER, SHAPE

BATCH = 3
ENCODERS = {
    "dense": SHAPE,
    "tokens": replace(SHAPE, encoder="tokens"),
    "res_segnet": replace(SHAPE, encoder="res_segnet", width=3),
}
CENTRAL_UNITS = {
    "extended": SHAPE,
    "no site estimates": replace(SHAPE, site_estimates=False),
    "paper": PAPER,
    "transformer": replace(PAPER, cma=False),
}


def fusion_of(shape: Shape, seed: int = 1) -> Fusion:
    """A fusion whose every weight matters."""
    torch.manual_seed(seed)
    fusion = Fusion(shape)
    for parameter in fusion.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    fusion.place_sites(torch.randn(shape.num_bs, 3) * 50, torch.linalg.qr(torch.randn(shape.num_bs, 3, 3))[0])
    return fusion.eval()


def messages(shape: Shape, seed: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    latent = torch.randn(BATCH, shape.num_bs, shape.subcarriers, shape.latent)
    gain_db = 15 * torch.randn(BATCH, shape.num_bs)
    return latent, gain_db, torch.ones(BATCH, shape.num_bs, dtype=torch.bool)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    result: np.ndarray = powers / powers.sum()
    return result


def attention_by_hand(fusion: Fusion, latent: np.ndarray, gain_db: np.ndarray, *, gated: bool) -> np.ndarray:
    """(23)–(28) for one sample, all rows and all products, ``[D]``: the fusion token's row."""
    weights = {name: value.double().numpy() for name, value in fusion.state_dict().items()}
    L, d = latent.shape[0], latent[0].size
    m = softmax(weights["beta"] * gain_db)  # (23)
    B = np.stack([weights["fusion_token"], *(latent[bs].ravel() for bs in range(L))])  # (24)
    M = np.diag([1.0, *m]) if gated else np.eye(L + 1)  # (26)
    W_Q, W_K, W_V = (weights[f"{name}.weight"].T for name in ("query", "key", "value"))
    Q, K, V = B @ W_Q, B @ W_K, M @ B @ W_V
    O = np.zeros_like(B)  # noqa: E741 - the paper's name
    for row in range(L + 1):  # (25), (27)
        share = softmax(np.array([Q[row] @ K[column] for column in range(L + 1)]) / np.sqrt(d))
        for column in range(L + 1):
            O[row] += share[column] * V[column]
    result: np.ndarray = O[0]  # the row of the fusion token, not the last one of (28)
    return result


def lstm_by_hand(fusion: Fusion, v: np.ndarray) -> np.ndarray:
    """(32) for one sample: ``v [N, d_z]`` to hidden states ``[N, hidden]``."""
    weights = {name: value.double().numpy() for name, value in fusion.lstm.state_dict().items()}
    hidden = weights["weight_hh_l0"].shape[1]
    s, c = np.zeros(hidden), np.zeros(hidden)
    states = []
    for v_n in v:
        total = (
            weights["weight_ih_l0"] @ v_n
            + weights["bias_ih_l0"]
            + weights["weight_hh_l0"] @ s
            + weights["bias_hh_l0"]
        )
        i, f, g, o = np.split(total, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        s = np.tanh(c) / (1 + np.exp(-o))
        states.append(s)
    return np.array(states)


@pytest.mark.parametrize("cma", [True, False])
def test_the_papers_central_unit_is_23_to_33(cma: bool) -> None:
    shape = replace(PAPER, cma=cma)
    fusion = fusion_of(shape)
    latent, gain_db, present = messages(shape)
    with torch.no_grad():
        found = fusion(latent, gain_db, present)["position"].numpy()
        head = fusion.head.weight.double().numpy(), fusion.head.bias.double().numpy()
        for sample in range(BATCH):
            fused = attention_by_hand(
                fusion, latent[sample].double().numpy(), gain_db[sample].double().numpy(), gated=cma
            )
            states = lstm_by_hand(fusion, fused.reshape(shape.subcarriers, shape.latent))
            wanted = states @ head[0].T + head[1]  # (33), after each subcarrier
            assert found[sample] == pytest.approx(wanted, abs=1e-4)


def test_the_masks_of_23_and_26_matter_and_m_is_the_identity_without_cma() -> None:
    latent, gain_db, present = messages(PAPER)
    gates = fusion_of(PAPER).gates(gain_db, present)
    assert gates.sum(1).tolist() == pytest.approx([1.0] * BATCH)
    assert fusion_of(SHAPE).gates(gain_db, present).mean(1).tolist() == pytest.approx([1.0] * BATCH)
    plain = fusion_of(replace(PAPER, cma=False))
    with torch.no_grad():
        one, other = plain(latent, gain_db, present), plain(latent, gain_db * 0, present)
    assert torch.equal(one["position"], other["position"])


def test_the_papers_central_unit_has_nothing_else() -> None:
    names = {name.split(".")[0] for name, _ in Fusion(PAPER).named_parameters()}
    assert names == {"beta", "fusion_token", "query", "key", "value", "lstm", "head", "spread"}


def test_the_covariance_head_has_no_say_in_the_position() -> None:
    for shape in CENTRAL_UNITS.values():
        fusion = fusion_of(shape)
        latent, gain_db, present = messages(shape)
        latent.requires_grad_()
        fusion(latent, gain_db, present)["spread"].sum().backward()
        assert latent.grad is None or not latent.grad.any()
        assert fusion.lstm.weight_ih_l0.grad is None


@pytest.mark.parametrize("kind", CENTRAL_UNITS)
def test_what_an_absent_base_station_sends_does_not_matter(kind: str) -> None:
    shape = CENTRAL_UNITS[kind]
    fusion = fusion_of(shape)
    latent, gain_db, present = messages(shape)
    for absent in (*itertools.combinations(range(3), 1), *itertools.combinations(range(3), 2), (0, 1, 2)):
        mask = present.clone()
        mask[:, list(absent)] = False
        junk, loud = latent.clone(), gain_db.clone()
        junk[:, list(absent)] = 1e3
        loud[:, list(absent)] = 90.0
        with torch.no_grad():
            for one, other in zip(
                fusion.estimate(latent, gain_db, mask), fusion.estimate(junk, loud, mask), strict=True
            ):
                assert torch.isfinite(one).all()
                assert one.numpy() == pytest.approx(other.numpy(), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("kind", CENTRAL_UNITS)
def test_a_present_base_station_matters(kind: str) -> None:
    fusion = fusion_of(CENTRAL_UNITS[kind])
    latent, gain_db, present = messages(CENTRAL_UNITS[kind])
    without = present.clone()
    without[:, 1] = False
    with torch.no_grad():
        one, other = fusion(latent, gain_db, present), fusion(latent, gain_db, without)
    assert (one["position"] - other["position"]).abs().max() > 1e-3


def test_the_papers_central_unit_does_not_know_the_order_of_base_stations() -> None:
    fusion = fusion_of(PAPER)
    latent, gain_db, present = messages(PAPER)
    order = [2, 0, 1]
    with torch.no_grad():
        one = fusion(latent, gain_db, present)["position"]
        other = fusion(latent[:, order], gain_db[:, order], present)["position"]
    assert one.numpy() == pytest.approx(other.numpy(), abs=1e-5)


def test_ours_knows_it_and_its_samples_keep_apart() -> None:
    fusion = fusion_of(SHAPE)
    latent, gain_db, present = messages(SHAPE)
    order = [2, 0, 1]
    with torch.no_grad():
        one = fusion(latent, gain_db, present)["position"]
        other = fusion(latent[:, order], gain_db[:, order], present)["position"]
        shuffled = fusion(latent[order], gain_db[order], present)["position"]
    assert (one - other).abs().max() > 1e-3
    assert one[order].numpy() == pytest.approx(shuffled.numpy(), abs=1e-5)


@pytest.mark.parametrize("kind", CENTRAL_UNITS)
def test_covariances_are_symmetric_and_positive(kind: str) -> None:
    fusion = fusion_of(CENTRAL_UNITS[kind])
    with torch.no_grad():
        position, covariance = fusion.estimate(*messages(CENTRAL_UNITS[kind]))
    assert position.shape == (BATCH, 3)
    assert covariance.numpy() == pytest.approx(covariance.mT.numpy(), abs=1e-3)
    assert (torch.linalg.eigvalsh(covariance) > 0).all()


def test_wrong_shapes_are_caught_at_the_border() -> None:
    fusion = fusion_of(SHAPE)
    latent, gain_db, present = messages(SHAPE)
    for wrong in (
        (latent[:, :2], gain_db, present),
        (latent[..., :3], gain_db, present),
        (latent, gain_db[:1], present),
        (latent, gain_db, present[:, :1]),
    ):
        with pytest.raises(AssertionError):
            fusion(*wrong)


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders_keep_base_stations_and_samples_apart(kind: str) -> None:
    """What one base station hears changes its own latent alone; and so with samples."""
    shape = ENCODERS[kind]
    torch.manual_seed(1)
    encoder = build_encoder(shape, "slot").eval()
    x, side = torch.randn(BATCH, 3, *shape.input_shape), torch.randn(BATCH, 3, side_features("slot"))
    changed = x.clone()
    changed[1, 2] += 1.0
    with torch.no_grad():
        before, after = encoder(x, side), encoder(changed, side)
    assert before.shape == (BATCH, 3, shape.subcarriers, shape.latent)
    moved = (before - after).abs().amax(dim=(2, 3)) > 1e-4
    assert moved.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_encoder_of_one_base_station_is_its_part_of_the_whole(kind: str) -> None:
    shape = ENCODERS[kind]
    torch.manual_seed(1)
    encoder = build_encoder(shape, "slot").eval()
    x, side = torch.randn(BATCH, 3, *shape.input_shape), torch.randn(BATCH, 3, side_features("slot"))
    with torch.no_grad():
        together = encoder(x, side)
        for bs in range(3):
            alone = encoder_of(encoder, shape, bs, "slot")(x[:, bs : bs + 1], side[:, bs : bs + 1])
            assert alone[:, 0].numpy() == pytest.approx(together[:, bs].numpy(), abs=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_decoders_give_back_the_encoders_input_shape(kind: str) -> None:
    shape = ENCODERS[kind]
    latent = torch.randn(BATCH, 3, shape.subcarriers, shape.latent)
    assert build_decoder(shape)(latent).shape == (BATCH, 3, *shape.input_shape)


def test_the_default_network_keeps_the_names_of_its_weights() -> None:
    """Checkpoints are loaded by them, and optimisers by their order."""
    shape = Shape()
    encoder = [name for name, _ in Encoder(shape, shape.features, 12).named_parameters()]
    assert encoder[:4] == ["embed.weight", "embed.bias", "blocks.0.norm.scale", "blocks.0.widen.weight"]
    assert encoder[-3:] == ["norm.scale", "project.weight", "project.bias"]
    fusion = list(dict.fromkeys(name.split(".")[0] for name, _ in Fusion(shape).named_parameters()))
    assert fusion == [
        "beta", "fusion_token", "site_token", "query", "key", "value", "site_in", "site_mid", "site_out",
        "beside_in", "beside_mid", "beside_out", "lstm", "head", "spread",
    ]  # fmt: skip
    assert isinstance(build_decoder(shape), Decoder)
