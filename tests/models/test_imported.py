"""Exported weights come back into networks: those that were exported, as precise as they were kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.build import build_network
from models.config import ConfigError
from models.export import export
from models.imported import import_weights, read_weights
from models.training import Trainer
from tests.models.kit import PAPER, SHAPE, tiny_config, tiny_trainer

SHAPES: dict[str, dict[str, Any]] = {
    "ours": {"shape": SHAPE},
    "tokens": {"shape": replace(SHAPE, encoder="tokens", width=16)},
    "fewer numbers in attention": {"shape": replace(SHAPE, token=4)},
    "the paper's": {"shape": PAPER, "phase_reference": "antenna"},
}


def exported(folder: Path, *, compact: bool = False, **changes: Any) -> Trainer:
    """A trainer after some steps, and its model in ``folder``."""
    trainer = tiny_trainer(folder.with_suffix(".pt"), tiny_config(**changes))
    for _ in range(2):
        trainer.step()
    export(trainer, folder, {}, compact=compact)
    return trainer


def fresh(trainer: Trainer) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(99)
    return build_network(trainer.config.shape, trainer.config.phase_reference)


@pytest.mark.parametrize("name", SHAPES)
def test_networks_get_their_weights_back(tmp_path: Path, name: str) -> None:
    trainer = exported(tmp_path / "model", **SHAPES[name])
    encoder, fusion = fresh(trainer)
    config = trainer.config
    import_weights(tmp_path / "model", encoder, fusion, config.shape, config.phase_reference)
    for wanted, found in ((trainer.encoder, encoder), (trainer.fusion, fusion)):
        assert dict(found.named_parameters()).keys() == dict(wanted.named_parameters()).keys()
        for layer, parameter in wanted.named_parameters():
            came = found.get_parameter(layer)
            assert came.shape == parameter.shape, layer
            error = (came - parameter).abs()
            assert (error <= parameter.abs() * 2**-11 + 2**-25).all(), layer  # half precision


def test_weights_in_a_byte_each_come_back_too(tmp_path: Path) -> None:
    wide = replace(SHAPE, fusion=64)  # a layer large enough to be compacted
    trainer = exported(tmp_path / "model", compact=True, shape=wide)
    encoder, fusion = fresh(trainer)
    import_weights(tmp_path / "model", encoder, fusion, wide, trainer.config.phase_reference)
    for name, parameter in trainer.fusion.named_parameters():
        error = (fusion.get_parameter(name) - parameter).abs()
        assert (error <= parameter.abs().max() / 127).all(), name


def test_training_goes_on_from_them(tmp_path: Path) -> None:
    """It errs as little as the model did, says where it comes from, and knows after a stop."""
    old = exported(tmp_path / "old")
    trainer = tiny_trainer(tmp_path / "new.pt", old.config)
    assert trainer.validate() != pytest.approx(old.validate(), rel=1e-3)
    weights = read_weights(tmp_path / "old", trainer.config)
    trainer.begin_with(weights)
    assert trainer.validate() == pytest.approx(old.validate(), rel=1e-3)
    trainer.step()
    trainer.keep()
    again = tiny_trainer(tmp_path / "new.pt", old.config)
    assert again.samples_in_all == again.done + old.done > old.done
    assert again.begun_with is not None
    assert again.begun_with["model"] == old.config.name
    with pytest.raises(ConfigError, match=r"new\.pt: has begun already"):
        again.begin_with(weights)


def test_other_networks_and_damaged_files_get_one_line(tmp_path: Path) -> None:
    trainer = exported(tmp_path / "model")
    shape, reference = trainer.config.shape, trainer.config.phase_reference
    for other, message in (
        (replace(shape, hidden=32), "weights of another network"),
        (replace(shape, depth=2), r"encoder-bs1\.onnx: weights of another network \(no encoder\.blocks\.1"),
        (replace(shape, num_bs=2), "3 base stations, not 2"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            import_weights(tmp_path / "model", *build_network(other, reference), other, reference)
        assert "\n" not in str(caught.value)
    (tmp_path / "model" / "fusion.onnx").write_bytes(b"no network")
    with pytest.raises(ConfigError, match=r"fusion\.onnx: damaged"):
        import_weights(tmp_path / "model", *build_network(shape, reference), shape, reference)


def test_a_page_without_what_a_training_says_gets_one_line(tmp_path: Path) -> None:
    trainer = exported(tmp_path / "model")
    page = json.loads((tmp_path / "model" / "model.json").read_text())
    del page["samples_trained"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(page))
    with pytest.raises(ConfigError, match=r"model\.json: damaged \(no samples_trained\)"):
        read_weights(tmp_path / "model", trainer.config)


def test_weights_are_not_given_to_other_networks(tmp_path: Path) -> None:
    trainer = exported(tmp_path / "model")
    weights = read_weights(tmp_path / "model", trainer.config)
    other = replace(trainer.config.shape, hidden=32)
    with pytest.raises(ConfigError, match="weights of another network"):
        weights.give(*build_network(other, trainer.config.phase_reference))
