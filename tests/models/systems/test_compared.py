"""Each kind of system learns, is exported, and runs without the training stack as it did in training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from models.compact import BLOCK, LARGEST, SMALLEST_COMPACTED, rounded
from models.config import ConfigError, Schedule
from models.estimation import pilot_symbols
from models.layers import SiteLinear
from models.systems.compared import ComparedSystem
from models.systems.export import export_system
from models.training import Trainer
from tests.models.kit import PAPER, SHAPE, tiny_config, tiny_trainer
from tests.models.systems.test_networks import CNN, FIX, MAP

ROOMY = Schedule(samples=2048, batch=64, rate=5e-3, warmup=256, decay=1024)
ECC = replace(PAPER, encoder="dense", width=48, token=8, normed=True)
KINDS: dict[str, dict[str, Any]] = {
    "ecc": {"shape": ECC, "quantise_from": 1024, "bits": 6},
    "transformer": {"shape": replace(ECC, cma=False), "quantise_from": 1024},
    "mean": {"shape": ECC, "message": "mean-bfp9"},
    "adcpm": {"shape": replace(MAP, width=4), "message": "adcpm"},
    "mfcnet": {"shape": replace(CNN, width=12), "message": "complex64"},
    "fix": {"shape": FIX, "message": "fix"},
    "ours": {"shape": replace(SHAPE, token=4), "quantise_from": 0, "short_share": 0.5, "shortest_dims": 12},
}
FALLS_BY = {"ecc": 2, "transformer": 2, "mean": 2, "adcpm": 2.5, "mfcnet": 2.5, "fix": 5, "ours": 5}
"""How many times the mean error falls at least."""


def trainer_of(kind: str, folder: Path, **changes: Any) -> Trainer:
    config = tiny_config(**{"name": kind, "joint": ROOMY} | KINDS[kind] | changes)
    return tiny_trainer(folder / f"{kind}.pt", config)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_system_learns(tmp_path: Path, kind: str) -> None:
    trainer = trainer_of(kind, tmp_path)
    before = trainer.validate()["all_mean_m"]
    while not trainer.ended:
        trainer.step()
    after = trainer.validate()["all_mean_m"]
    assert after < before / FALLS_BY[kind], f"{before:.1f} m before, {after:.1f} m after"


@pytest.fixture(scope="module", params=KINDS)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trainer, ComparedSystem]:
    """A trainer after a few steps, and its system with weights in half precision.

    Its estimators change nothing: the trainer is given CSI, the system pilots without noise.
    """
    folder = tmp_path_factory.mktemp("compare")
    trainer = trainer_of(request.param, folder)
    for _ in range(3):
        trainer.step()
    path = export_system(trainer, folder / request.param, {"samples_trained": trainer.seen}, compact=False)
    system = ComparedSystem(path)
    symbols = pilot_symbols(system.csi_shape[-1])
    for estimator in system._estimators:
        estimator._filters = {1.0: (symbols.conj()[:, None, None] * np.eye(8)).astype(np.complex64)}
    return trainer, system


def as_in_training(trainer: Trainer, csi: torch.Tensor, present: torch.Tensor) -> np.ndarray:
    """Positions by torch, with weights in half precision as they are exported."""
    with torch.no_grad():
        for network in trainer.networks.modules():
            apart = isinstance(network, SiteLinear)
            for name, parameter in network.named_parameters(recurse=False):
                # Maps of sites are exported one by one.
                alone = parameter[0] if apart and name == "weight" else parameter
                if alone.numel() >= 256:
                    parameter.data = parameter.data.half().float()
        trainer.networks.eval()
        features, side, gain = trainer.inputs(csi)
        latent = trainer.quantised(trainer.encoder(features, side).float())
        found: np.ndarray = trainer.fusion.estimate(latent, trainer.audible(gain), present)[0].numpy()
        trainer.networks.train()
    return found


def test_exported_systems_do_as_in_training(exported: tuple[Trainer, ComparedSystem]) -> None:
    """To a millimetre, given the same CSI."""
    trainer, system = exported
    trainer.held_out.reseed(5)
    csi = trainer.held_out.at(torch.arange(6))[0]
    present = torch.ones(6, 3, dtype=torch.bool)
    present[0, 1] = present[1, 2] = False
    wanted = as_in_training(trainer, csi, present)
    pilots = csi.numpy() * pilot_symbols(csi.shape[-1])
    position, covariance = system.estimate(pilots, np.ones(3), present.numpy())
    # One step of a quantiser moves a fix by more than a rounding error: nearly all are equal.
    off = np.abs(position - wanted).max(axis=1)
    assert np.median(off) < 1e-3
    assert off.max() < 0.2
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_a_missing_message_has_no_say(exported: tuple[Trainer, ComparedSystem]) -> None:
    _, system = exported
    draws = np.random.default_rng(1)
    pilots = (draws.standard_normal((2, 3, *system.csi_shape)) + 0j).astype(np.complex64)
    other = pilots.copy()
    other[:, 1] *= 3.0
    present = np.array([[True, False, True], [True, True, True]])
    one, changed = (system.estimate(given, np.ones(3), present)[0] for given in (pilots, other))
    assert one[0] == pytest.approx(changed[0], abs=1e-4)
    assert np.abs(one[1] - changed[1]).max() > 1e-4


def test_fewer_subcarriers_are_all_that_is_looked_at(tmp_path: Path) -> None:
    narrow = {"shape": replace(SHAPE, subcarriers=3, token=4), "subcarrier_step": 4}
    trainer = trainer_of("ours", tmp_path, name="narrow", **narrow)
    trainer.step()
    assert trainer.samples.draw(2)[0].shape == (2, 3, 4, 8, 3)
    with pytest.raises(ConfigError, match=r"estimator\.npz: missing, and narrow does not see all"):
        export_system(trainer, tmp_path / "narrow", {"samples_trained": 1})
    export_system(trainer_of("ours", tmp_path, name="whole"), tmp_path / "whole", {"samples_trained": 0})
    system = ComparedSystem(export_system(trainer, tmp_path / "narrow", {"samples_trained": 1}))
    assert (system.csi_shape, system.payload_bits) == ((4, 8, 12), 3 * 8 * 10)
    draws = np.random.default_rng(1)
    pilots = draws.standard_normal((2, 3, *system.csi_shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    present, found = np.ones((2, 3), bool), []
    for scaled in ((), (0, 2, 3, 4, 6, 7, 8, 10, 11), (5,)):  # 1, 5 and 9 are kept
        given = pilots.copy()
        given[..., list(scaled)] *= 3.0
        found.append(system.estimate(given, np.ones(3), present)[0])
    assert np.abs(found[1] - found[0]).max() < 1e-4
    assert np.abs(found[2] - found[0]).max() > 1e-4
    with pytest.raises(ConfigError, match="12 subcarriers 4 apart are more than 12"):
        trainer_of("ours", tmp_path, name="wide", shape=SHAPE, subcarrier_step=4)


def test_a_byte_per_weight_is_half_a_step_off_at_most() -> None:
    values = np.random.default_rng(1).standard_normal((7, 33)).astype(np.float32)
    values[0, :8] = 0
    codes, scales = rounded(values)
    widened = (codes * scales.astype(np.float32)).ravel()[: values.size].reshape(values.shape)
    steps = np.repeat(scales.astype(np.float32).ravel(), BLOCK)[: values.size].reshape(values.shape)
    assert np.abs(codes).max() <= LARGEST
    assert (np.abs(widened - values) <= steps / 2 * 1.001).all()


def test_compact_systems_are_small_and_nearly_the_same(tmp_path: Path) -> None:
    trainer = trainer_of("ecc", tmp_path)
    for _ in range(3):
        trainer.step()
    large = export_system(trainer, tmp_path / "large", {"samples_trained": 0}, compact=False)
    small = export_system(trainer, tmp_path / "small", {"samples_trained": 0})
    assert (small / "encoder.onnx").stat().st_size < 0.65 * (large / "encoder.onnx").stat().st_size
    pilots = trainer.held_out.at(torch.arange(4))[0].numpy()
    present = np.ones((4, 3), bool)
    one, other = (ComparedSystem(path).estimate(pilots, np.ones(3), present)[0] for path in (large, small))
    assert np.abs(one - other).max() < 2.0


def test_layers_of_few_weights_keep_half_precision_in_compact_systems(tmp_path: Path) -> None:
    """A last layer in bytes turned 0.6 m in the median into 1.0 m."""
    trainer = trainer_of("ours", tmp_path, shape=replace(SHAPE, token=4, site_hidden=32))
    last = trainer.fusion.get_parameter("site_out.weight")[0]
    small = export_system(trainer, tmp_path / "small", {"samples_trained": 0})
    centre = onnx.load(str(small / "centre.onnx"))
    kept = {one.name: numpy_helper.to_array(one) for one in centre.graph.initializer}
    coded = [int(size[0]) for name, size in kept.items() if name.endswith(".size")]
    assert min(coded) >= SMALLEST_COMPACTED
    halves = [values for values in kept.values() if values.dtype == np.float16 and values.shape == last.shape]
    assert any(np.array_equal(values, last.detach().numpy().astype(np.float16)) for values in halves)


def test_a_branch_goes_on_from_its_trunk(tmp_path: Path) -> None:
    """From stage II with everything; from stage I with the encoders, under another central unit."""
    local = Schedule(samples=128, batch=64, rate=1e-3, warmup=64)
    short = replace(ROOMY, samples=128)
    first = trainer_of("ecc", tmp_path, name="first", local=local, joint=short, only_local=True)
    first.train()
    assert (first.stage, first.done, first.seen, first.ended) == ("local", 128, 128, True)
    other = trainer_of("transformer", tmp_path, local=local, joint=short)
    other.branch(tmp_path / "ecc.pt")
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(value, other.encoder.state_dict()[name]), name
    other.train()
    assert (other.stage, other.done, other.seen) == ("joint", 128, 256)
    longer = tiny_trainer(tmp_path / "longer.pt", replace(other.config, joint=ROOMY))
    longer.branch(tmp_path / "transformer.pt")
    assert (longer.stage, longer.done) == ("joint", 128)
    for ours, theirs in zip(longer.networks.parameters(), other.networks.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ConfigError, match=r"nothing.pt: damaged"):
        longer.branch(tmp_path / "nothing.pt")
