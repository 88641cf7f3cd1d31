"""The networks that a shape asks for."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from models.layers import CentralUnit
from models.network import Decoder, Encoder, Fusion
from models.preprocessing import side_features
from models.res_segnet import ResSegNetDecoder, ResSegNetEncoder
from models.shape import Shape
from models.systems.centres import FixFusion, LateFusion
from models.systems.encoders import LocalFixEncoder, OfdmCnn, PowerMapEncoder


def build_encoder(shape: Shape, phase_reference: str) -> nn.Module:
    """Fresh encoder of all base stations."""
    side = side_features(phase_reference)
    if shape.encoder == "res_segnet":
        return ResSegNetEncoder(shape)
    if shape.encoder == "power_map":
        return PowerMapEncoder(shape)
    if shape.encoder == "ofdm_cnn":
        return OfdmCnn(shape, side)
    if shape.encoder == "local_fix":
        return LocalFixEncoder(shape, side)
    return Encoder(shape, shape.features, side)


def build_fusion(shape: Shape) -> CentralUnit:
    """Fresh central unit."""
    if shape.cu == "late_fusion":
        return LateFusion(shape)
    if shape.cu == "fixes":
        return FixFusion(shape)
    return Fusion(shape)


def build_network(shape: Shape, phase_reference: str) -> tuple[nn.Module, CentralUnit]:
    """Fresh encoder and fusion."""
    return build_encoder(shape, phase_reference), build_fusion(shape)


def build_decoder(shape: Shape) -> Decoder | ResSegNetDecoder:
    """Fresh decoder for stage I."""
    return ResSegNetDecoder(shape) if shape.encoder == "res_segnet" else Decoder(shape)


def encoder_of(encoder: nn.Module, shape: Shape, bs: int, phase_reference: str) -> nn.Module:
    """The encoder of one base station alone, with its share of the weights, on the CPU."""
    alone = build_encoder(replace(shape, num_bs=1), phase_reference)
    state = {}
    for name, value in encoder.state_dict().items():
        share = len(value) // shape.num_bs
        state[name] = value[bs * share : (bs + 1) * share].cpu()
    alone.load_state_dict(state)
    return alone.eval()
