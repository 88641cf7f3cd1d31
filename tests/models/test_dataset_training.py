"""Networks learn from sets of any shape, run from their files, and know what they were trained on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.config import Schedule
from models.dataset import Dataset, DatasetError, Grouping, read_dataset, split_of
from models.dataset_export import export_dataset_model
from models.dataset_features import link_features, shape_of
from models.dataset_runtime import DatasetModel, load_dataset_model
from models.dataset_sampler import NONE, DatasetSampler, Variation
from models.dataset_training import LIGHT, MEDIUM, STRONG, DatasetConfig, DatasetTrainer, suited_config
from models.runtime import ModelError
from tests.models.dataset_kit import arrays, write

SHORT = DatasetConfig(
    Schedule(samples=64 * 200, batch=64, rate=4e-3, warmup=1_000, decay=6_000), (MEDIUM,), width=24, latent=6,
    fusion=48,
)  # fmt: skip


def dataset_of(folder: Path, **shape: Any) -> Dataset:
    return read_dataset(write(folder / "set.h5", arrays(**shape)))


def trainer_of(dataset: Dataset, state: Path, config: DatasetConfig = SHORT) -> DatasetTrainer:
    return DatasetTrainer(config, dataset, split_of(dataset), state, report=lambda line: None)


def error_m(model: DatasetModel, dataset: Dataset, rows: Any) -> Any:
    position, _ = model.locate(dataset.csi[rows], dataset.heard[rows])
    return np.linalg.norm(position - dataset.position_m[rows], axis=1)


def deaf_in_training(dataset: Dataset, bs: int) -> Dataset:
    """The same, but one base station is heard in the test groups alone."""
    heard = dataset.heard.copy()
    split = split_of(dataset)
    for part in ("training", "validation"):
        heard[split.rows(dataset, part), bs] = False
    return replace(dataset, heard=heard, csi=dataset.csi * heard[..., None, None, None])


def centroid_error_m(dataset: Dataset, rows: Any) -> float:
    split = split_of(dataset)
    centre = dataset.position_m[split.rows(dataset, "training")].mean(axis=0)
    return float(np.linalg.norm(dataset.position_m[rows] - centre, axis=1).mean())


SHAPES = [
    ((1, 1, 1, 1), False), ((2, 1, 1, 7), False), ((10, 1, 1, 49), False), ((3, 2, 4, 5), False),
    ((1, 1, 1, 1), True), ((2, 1, 1, 2), True), ((3, 3, 4, 11), True), ((4, 1, 8, 24), True),
    ((2, 2, 3, 130), True), ((5, 1, 2, 256), False),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "phase"), SHAPES)
def test_any_shape_is_trained_exported_and_run(
    tmp_path: Path, shape: tuple[int, int, int, int], phase: bool
) -> None:
    dataset = dataset_of(tmp_path, shape=shape, phase=phase, places=12)
    short = replace(SHORT, schedule=replace(SHORT.schedule, samples=256))
    trainer = trainer_of(dataset, tmp_path / "state.pt", short)
    trainer.train()
    model = load_dataset_model(export_dataset_model(trainer, tmp_path / "model"))
    model.check(dataset)
    position, covariance = model.locate(dataset.csi, dataset.heard)
    assert position.shape == (len(dataset), 3)
    assert np.isfinite(position).all()
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    networks = trainer.best_networks()
    features, gain, there, _ = trainer.samples.at(torch.arange(len(trainer.samples)))
    with torch.no_grad():
        whole = trainer.blended(networks).estimate(networks.encoder(features), gain, there.float())
    rows = trainer.split.rows(dataset, "training")
    np.testing.assert_allclose(position[rows], whole[0], atol=0.05)  # half precision, quantised


@pytest.mark.parametrize("phase", [False, True])
def test_unseen_places_are_found(tmp_path: Path, phase: bool) -> None:
    """Held-out groups at less than half of the centroid's error (measured: a quarter and less)."""
    dataset = dataset_of(tmp_path, places=60, phase=phase)
    trainer = trainer_of(dataset, tmp_path / "state.pt")
    trainer.train()
    assert trainer.ended
    model = load_dataset_model(export_dataset_model(trainer, tmp_path / "model"))
    rows = trainer.split.rows(dataset, "test")
    position, _ = model.locate(dataset.csi[rows], dataset.heard[rows])
    error_m = float(np.linalg.norm(position - dataset.position_m[rows], axis=1).mean())
    assert error_m < 0.5 * centroid_error_m(dataset, rows), error_m


def test_the_scale_of_csi_does_not_matter_beyond_the_gain(tmp_path: Path) -> None:
    csi = arrays()["csi_magnitude"][:, 0]
    features, gain = link_features(csi, None)
    louder, gain_of_louder = link_features(csi * 100, None)
    np.testing.assert_allclose(features, louder, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gain_of_louder - gain, 40.0, atol=1e-3)
    _, over_noise = link_features(csi, 0.01)
    np.testing.assert_allclose(over_noise - gain, 20.0, atol=1e-3)


def test_a_common_phase_and_clock_do_not_matter() -> None:
    csi = arrays(phase=True, shape=(1, 2, 4, 16))["csi"][:, 0]
    turned = csi * np.exp(1j * np.arange(len(csi)))[:, None, None, None]
    late = turned * np.exp(-0.1j * np.arange(16))
    one, _ = link_features(csi, None)
    for other in (turned, late):
        same = link_features(other.astype(np.complex64), None)[0]
        np.testing.assert_allclose(one[:, :-11], same[:, :-11], atol=2e-3)  # the last eleven are the delay


def test_what_is_not_heard_does_not_matter(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    trainer = trainer_of(dataset, tmp_path / "state.pt")
    trainer.train(minutes=0)
    model = load_dataset_model(export_dataset_model(trainer, tmp_path / "model"))
    heard = dataset.heard.copy()
    heard[:, 1] = False
    garbage = dataset.csi.copy()
    garbage[:, 1] = 7.0
    np.testing.assert_array_equal(model.locate(dataset.csi, heard)[0], model.locate(garbage, heard)[0])
    assert not np.array_equal(
        model.locate(dataset.csi, heard)[0], model.locate(dataset.csi, ~~dataset.heard)[0]
    )


def test_places_are_found_while_half_of_the_base_stations_are_gone(tmp_path: Path) -> None:
    """At less than 0.28 of the centroid's error (measured: 0.22; 0.36 where who is gone counts as far)."""
    dataset = dataset_of(tmp_path, places=60, shape=(10, 1, 1, 8))
    trainer = trainer_of(dataset, tmp_path / "state.pt")
    trainer.train()
    model = load_dataset_model(export_dataset_model(trainer, tmp_path / "model"))
    rows = trainer.split.rows(dataset, "test")
    error = []
    for draw in range(10):
        heard = dataset.heard.copy()
        heard[:, np.random.default_rng(draw).permutation(10)[:5]] = False
        error.append(error_m(model, replace(dataset, heard=heard), rows).mean())
    assert np.mean(error) < 0.28 * centroid_error_m(dataset, rows), np.mean(error)


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_who_was_never_heard_in_training_does_not_matter_later(tmp_path: Path, scale: float) -> None:
    dataset = dataset_of(tmp_path, places=60)
    dataset = replace(dataset, csi=dataset.csi * np.float32(scale))
    deaf = deaf_in_training(dataset, 2)
    trainer = trainer_of(deaf, tmp_path / "state.pt")
    trainer.train()
    folder = export_dataset_model(trainer, tmp_path / "model")
    assert json.loads((folder / "model.json").read_text())["heard_in_training"] == [True, True, False, True]
    model = load_dataset_model(folder)
    rows = trainer.split.rows(deaf, "test")
    assert deaf.heard[rows, 2].all()
    error = error_m(model, deaf, rows)
    silent = replace(deaf, heard=deaf.heard & [True, True, False, True])
    np.testing.assert_array_equal(error, error_m(model, silent, rows))
    assert error.mean() < 0.6 * centroid_error_m(deaf, rows), error.mean()


def test_places_far_from_the_origin_are_found_as_well(tmp_path: Path) -> None:
    """Easting and northing in metres, which float32 resolves to half a metre."""
    near = dataset_of(tmp_path, places=40)
    near = replace(near, trajectory=Grouping("position").labels(near))
    shift = np.array([691_000.0, 5_334_000.0, 0.0])
    assert near.bs_position_m is not None
    far = replace(near, position_m=near.position_m + shift, bs_position_m=near.bs_position_m + shift)
    short = replace(SHORT, schedule=replace(SHORT.schedule, samples=64 * 60))
    error = []
    for name, dataset in (("near", near), ("far", far)):
        trainer = trainer_of(dataset, tmp_path / f"{name}.pt", short)
        trainer.train()
        folder = export_dataset_model(trainer, tmp_path / name)
        error.append(error_m(load_dataset_model(folder), dataset, np.arange(len(near))))
    assert json.loads((folder / "model.json").read_text())["origin_m"] == shift.tolist()
    np.testing.assert_allclose(error[1], error[0], atol=1e-3)


def test_models_of_before_the_origin_still_run(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    trainer = trainer_of(dataset, tmp_path / "state.pt")
    folder = export_dataset_model(trainer, tmp_path / "model")
    expected = load_dataset_model(folder).locate(dataset.csi, dataset.heard)
    page = json.loads((folder / "model.json").read_text())
    del page["origin_m"], page["heard_in_training"], page["split"]["grouping"]["within_m"]
    (folder / "model.json").write_text(json.dumps(page))
    old = load_dataset_model(folder)
    np.testing.assert_array_equal(old.locate(dataset.csi, dataset.heard)[0], expected[0])
    assert old.split == trainer.split


def test_a_state_of_before_the_origin_goes_on(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    trainer = trainer_of(dataset, tmp_path / "state.pt")
    trainer.step()
    trainer.keep()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["origin_m"]
    split = json.loads(state["split"])
    del split["grouping"]["within_m"]
    torch.save(state | {"split": json.dumps(split)}, tmp_path / "state.pt")
    assert trainer_of(dataset, tmp_path / "state.pt").done == 64
    torch.save(state | {"origin_m": [0.0, 100.0, 0.0]}, tmp_path / "state.pt")
    with pytest.raises(DatasetError, match="made with another origin_m"):
        trainer_of(dataset, tmp_path / "state.pt")


def test_samples_of_places_that_scatter_are_mixed_with_those_of_other_places(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, places=40, packets=10)
    moved = dataset.position_m + np.random.default_rng(12).normal(0, 0.004, dataset.position_m.shape)
    reach = []
    for one in (dataset, replace(dataset, position_m=moved)):
        sampler = DatasetSampler(one, np.arange(len(one)), seed=3)
        sampler.vary(Variation("some", 1.0, 0.5), torch.ones(4, sampler.features.shape[-1]), torch.ones(4))
        reach.append(sampler.reach_m)
    assert reach[1] == pytest.approx(reach[0], abs=0.05)


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    config = replace(SHORT, trials=(STRONG, LIGHT), schedule=replace(SHORT.schedule, samples=1_280))
    whole = trainer_of(dataset, tmp_path / "whole.pt", config)
    whole.train()
    part = trainer_of(dataset, tmp_path / "part.pt", config)
    for _ in range(7):
        part.step()
    part.keep()
    resumed = trainer_of(dataset, tmp_path / "part.pt", config)
    assert resumed.done == 7 * 64
    assert resumed.samples.seconds_making == part.samples.seconds_making > 0
    for _ in range(3):
        assert resumed.step() == part.step()
    ended = trainer_of(dataset, tmp_path / "whole.pt", config)
    assert ended.ended
    assert ended.best["mean_m"] == whole.best["mean_m"]
    for name, value in ended.best_networks().state_dict().items():
        assert torch.equal(value, whole.best_networks().state_dict()[name]), name


def test_a_state_of_another_set_is_refused(tmp_path: Path) -> None:
    trainer_of(dataset_of(tmp_path), tmp_path / "state.pt").keep()
    with pytest.raises(DatasetError, match="made with another dataset; leave out --resume"):
        trainer_of(dataset_of(tmp_path, seed=1), tmp_path / "state.pt")
    (tmp_path / "state.pt").write_bytes(b"no state")
    with pytest.raises(DatasetError, match="damaged"):
        trainer_of(dataset_of(tmp_path), tmp_path / "state.pt")


def test_every_state_and_model_says_what_it_was_trained_on(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    config = replace(SHORT, schedule=replace(SHORT.schedule, samples=256))
    trainer = trainer_of(dataset, tmp_path / "state.pt", config)
    trainer.train()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    folder = export_dataset_model(trainer, tmp_path / "model")
    for said in (state["trained_on"], json.loads((folder / "model.json").read_text())["trained_on"]):
        assert said["digest"] == dataset.digest
        assert said["file"] == "set.h5"
        assert said["samples_drawn"] == 256
        assert said["seconds"] >= 0
        assert said["groups"] == len(trainer.split.training)


@pytest.mark.parametrize("phase", [False, True])
def test_variation_leaves_no_trace_outside_training_rows(tmp_path: Path, phase: bool) -> None:
    dataset = dataset_of(tmp_path, phase=phase, shape=(3, 1, 2, 6))
    rows = np.arange(60)
    sampler = DatasetSampler(dataset, rows, seed=3)
    plain = sampler.draw(500)
    sampler.vary(Variation("some", 1.0, 0.5), torch.ones(3, sampler.features.shape[-1]), torch.ones(3))
    features, _, _, position = sampler.draw(500)
    assert shape_of(dataset.csi[:, 0]).features == features.shape[-1]
    low, high = dataset.position_m[rows].min(axis=0), dataset.position_m[rows].max(axis=0)
    assert ((position.numpy() >= low - 1e-4) & (position.numpy() <= high + 1e-4)).all()
    known = {tuple(place) for place in sampler.position.tolist()}
    assert {tuple(place) for place in plain[3].tolist()} <= known
    assert not {tuple(place) for place in position.tolist()} <= known
    sampler.vary(NONE, torch.ones(3, features.shape[-1]), torch.ones(3))
    before = sampler.state()
    first = sampler.draw(5)
    sampler.restore(before)
    for one, other in zip(first, sampler.draw(5), strict=True):
        assert torch.equal(one, other)


def test_the_network_suits_the_size(tmp_path: Path) -> None:
    small = dataset_of(tmp_path)
    assert suited_config(small, split_of(small)).trials == (STRONG, MEDIUM, LIGHT)
    assert suited_config(small, split_of(small), epochs=3).schedule.samples == 384
    large = dataset_of(tmp_path, places=400, packets=2, shape=(2, 1, 1, 2))
    config = suited_config(large, split_of(large))
    assert config.trials == (MEDIUM, LIGHT)
    assert config.width > SHORT.width


def test_models_that_cannot_be_used(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    trainer = trainer_of(dataset, tmp_path / "state.pt")
    folder = export_dataset_model(trainer, tmp_path / "model")
    with pytest.raises(ModelError, match=r"antennas 2, but .* was trained on 1"):
        load_dataset_model(folder).check(dataset_of(tmp_path, shape=(4, 1, 2, 8)))
    with pytest.raises(ModelError, match=r"phase True, but .* was trained on False"):
        load_dataset_model(folder).check(dataset_of(tmp_path, phase=True))
    (folder / "fusion.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"fusion.onnx: missing or damaged"):
        load_dataset_model(folder)
    with pytest.raises(ModelError, match="no such folder"):
        load_dataset_model(tmp_path / "none")
    (folder / "model.json").write_text('{"version": 1}')
    with pytest.raises(ModelError, match="not trained with --dataset"):
        load_dataset_model(folder)
