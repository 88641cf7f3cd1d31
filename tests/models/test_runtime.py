"""Exported models: the same figures as in training, and one line for every damage."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from models.compact import halve
from models.config import TrainingConfig
from models.estimation import LmmseEstimator, pilot_symbols
from models.export import export
from models.runtime import ModelError, OnnxModel, load_model, weights_digest
from models.training import Trainer
from nodes import PositioningModel
from tests.models.kit import PAPER, RADIO, tiny_config, tiny_trainer

SAMPLES = 6
FILES = ["model.json", "estimator.npz", "encoder-bs1.onnx", "encoder-bs3.onnx", "fusion.onnx"]
KINDS = ["ours", "paper", "tokens"]


def config_of(kind: str) -> TrainingConfig:
    if kind == "paper":
        return tiny_config(name=kind, shape=PAPER, phase_reference="antenna", loss="squared")
    if kind == "tokens":
        return tiny_config(
            name=kind,
            shape=replace(tiny_config().shape, encoder="tokens", slot_modes=2, latent=4),
            phase_reference="slot",
        )
    return tiny_config(name=kind)


@pytest.fixture(scope="module")
def export_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Trainer, Path]]:
    """A trainer of a kind after a few steps, and where its model is; another had been there before it."""

    @cache
    def made(kind: str) -> tuple[Trainer, Path]:
        folder = tmp_path_factory.mktemp("weights")
        trainer = tiny_trainer(folder / "state.pt", config_of(kind))
        for _ in range(6):
            trainer.step()
        (folder / kind).mkdir()
        (folder / kind / "old.onnx").write_bytes(b"old")
        return trainer, export(trainer, folder / kind, {"about": "a test"})

    return made


@pytest.fixture(scope="module", params=KINDS)
def exported(
    request: pytest.FixtureRequest, export_of: Callable[[str], tuple[Trainer, Path]]
) -> tuple[Trainer, Path]:
    return export_of(request.param)


@pytest.fixture(scope="module")
def folder(export_of: Callable[[str], tuple[Trainer, Path]]) -> Path:
    """The files of one exported model."""
    return export_of("ours")[1]


def heard(trainer: Trainer) -> tuple[torch.Tensor, np.ndarray]:
    """CSI in units of its noise, and the pilots that it is the estimate of."""
    trainer.held_out.reseed(3)
    csi, _ = trainer.held_out.at(torch.arange(SAMPLES))
    return csi, csi.numpy() / trainer.held_out.scale * pilot_symbols(RADIO.subcarriers)


def test_the_encoder_gives_what_it_gave_in_training(exported: tuple[Trainer, Path]) -> None:
    trainer, path = exported
    model = OnnxModel(path)
    _, pilots = heard(trainer)
    scale = trainer.held_out.scale
    with np.load(path / "estimator.npz") as file:
        covariance = file["covariance"]
    estimators = [LmmseEstimator(one, pilot_symbols(RADIO.subcarriers)) for one in covariance]
    estimated = np.stack(
        [
            [estimators[bs].estimate(pilots[sample, bs], RADIO.noise_variance()) for bs in range(3)]
            for sample in range(SAMPLES)
        ]
    )
    features, side, gain = trainer.inputs(torch.tensor(estimated * np.float32(scale)))
    with torch.no_grad():
        latent = trainer.encoder(features, side).flatten(2).numpy()
    spread = float(latent.std())
    for sample in range(SAMPLES):
        for number, bs in enumerate(model.bs_ids):
            found = model.encode(bs, pilots[sample, number].astype(np.complex64), RADIO.noise_variance())
            assert found.latent.dtype == np.float32
            assert found.gain_db == pytest.approx(float(gain[sample, number]), abs=1e-3)
            # Large weights are kept in half precision.
            assert found.latent == pytest.approx(latent[sample, number], abs=0.01 * spread)


def test_the_fusion_gives_what_it_gave_in_training(exported: tuple[Trainer, Path]) -> None:
    trainer, path = exported
    model = OnnxModel(path)
    csi, _ = heard(trainer)
    features, side, gain = trainer.inputs(csi)
    present = torch.ones(SAMPLES, 3, dtype=torch.bool)
    present[1, 0] = present[2, 1:] = present[3] = False
    with torch.no_grad():
        latent = trainer.encoder(features, side)
        position, covariance = trainer.fusion.eval().estimate(latent, trainer.audible(gain), present)
    found = model.fuse(latent.flatten(2).numpy(), gain.numpy(), present.numpy())
    assert found[0].dtype == found[1].dtype == np.float64
    assert found[0] == pytest.approx(position.double().numpy(), abs=0.05)
    one, two, three = model.description.covariance_scales
    scaled = (
        covariance.double().numpy()
        * np.array([three, two, one] + [one] + [three] * (SAMPLES - 4))[:, None, None]
    )
    assert found[1] == pytest.approx(scaled, rel=0.02, abs=0.02 * np.abs(scaled).max())


def test_the_estimator_takes_noise_out(exported: tuple[Trainer, Path]) -> None:
    """Its covariance was averaged over channels without noise, in the units of the pilots."""
    trainer, path = exported
    trainer.held_out.reseed(4)
    channel, _ = trainer.held_out.at(torch.arange(50), noisy=False)
    power = (channel.abs() ** 2).mean(dim=(0, 2, 4)).numpy() / trainer.held_out.scale**2  # [bs, antenna]
    with np.load(path / "estimator.npz") as file:
        variance = np.diagonal(file["covariance"], axis1=-2, axis2=-1).real.mean(axis=1)
    assert variance == pytest.approx(power, rel=0.3)


def test_covariances_are_honest_on_the_validation_points(exported: tuple[Trainer, Path]) -> None:
    trainer, path = exported
    model = OnnxModel(path)
    trainer.held_out.reseed(trainer.config.seed + 2)
    csi, truth = trainer.held_out.at(torch.arange(len(trainer.held_out)))
    features, side, gain = trainer.inputs(csi)
    with torch.no_grad():
        latent = trainer.quantised(trainer.encoder(features, side)).flatten(2).numpy()
    position, covariance = model.fuse(latent, gain.numpy(), np.ones((len(latent), 3), bool))
    error = truth.double().numpy() - position
    squared = np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error)
    assert squared.mean() == pytest.approx(3.0, rel=0.1)


def test_batches_are_fused_as_one_by_one(exported: tuple[Trainer, Path]) -> None:
    model = OnnxModel(exported[1])
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((20, 3, model.dims)).astype(np.float32)
    gain_db, present = rng.uniform(-10, 40, (20, 3)), rng.random((20, 3)) < 0.7
    position, covariance = model.fuse(latents, gain_db, present)
    for row in range(20):
        alone = slice(row, row + 1)
        one = model.fuse(latents[alone], gain_db[alone], present[alone])
        assert one[0][0] == pytest.approx(position[row], abs=1e-3)
        assert one[1][0] == pytest.approx(covariance[row], rel=1e-3, abs=1e-3)
    assert covariance == pytest.approx(covariance.swapaxes(-1, -2))
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_the_model_is_what_nodes_expect(exported: tuple[Trainer, Path]) -> None:
    trainer, path = exported
    model: PositioningModel = OnnxModel(path)
    assert model.bs_ids == trainer.site.bs_ids
    assert (model.dims, model.bits) == (trainer.config.shape.dims, 10)
    assert model.steps == pytest.approx(trainer.steps.numpy())
    assert len(model.digest) == 8


def test_its_page_says_what_it_is(exported: tuple[Trainer, Path]) -> None:
    trainer, path = exported
    page = json.loads((path / "model.json").read_text())
    paper = trainer.config.name == "paper"
    assert page["encoder_input"] == ("slots" if paper else "modes")
    assert (page["name"], page["about"]) == (trainer.config.name, "a test")
    assert page["samples_trained"] == trainer.done
    assert sorted(page["files"]) == sorted(p.name for p in path.iterdir() if p.name != "model.json")
    assert not list(path.parent.glob("*.partial"))


def test_what_an_absent_base_station_holds_does_not_matter(folder: Path) -> None:
    model = OnnxModel(folder)
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((2, 3, model.dims)).astype(np.float32)
    gain_db, present = np.full((2, 3), 20.0), np.array([[True, True, False], [True, False, False]])
    junk, loud = latents.copy(), gain_db.copy()
    junk[~present], loud[~present] = np.nan, 99.0
    for one, other in zip(
        model.fuse(latents, gain_db, present), model.fuse(junk, loud, present), strict=True
    ):
        assert np.isfinite(one).all()
        assert one == pytest.approx(other)


def test_a_gain_that_is_not_finite_means_absent(folder: Path) -> None:
    model = OnnxModel(folder)
    latents = np.ones((1, 3, model.dims), np.float32)
    everybody = np.ones((1, 3), bool)
    one = model.fuse(latents, np.array([[20.0, np.nan, 20.0]]), everybody)
    other = model.fuse(latents, np.array([[20.0, 20.0, 20.0]]), np.array([[True, False, True]]))
    assert one[0] == pytest.approx(other[0])


def test_nothing_to_fuse_is_nothing_fused(folder: Path) -> None:
    model = OnnxModel(folder)
    position, covariance = model.fuse(
        np.zeros((0, 3, model.dims), np.float32), np.zeros((0, 3)), np.zeros((0, 3), bool)
    )
    assert (position.shape, covariance.shape) == ((0, 3), (0, 3, 3))


def test_wrong_shapes_are_refused(folder: Path) -> None:
    model = OnnxModel(folder)
    latents, gain_db, present = (
        np.zeros((2, 3, model.dims), np.float32),
        np.zeros((2, 3)),
        np.ones((2, 3), bool),
    )
    for wrong, message in (
        ((latents[:, :2], gain_db, present), r"latents must be \[2, 3, 96\], not \[2, 2, 96\]"),
        ((latents, gain_db[:, :1], present), r"gain_db must be \[2, 3\], not \[2, 1\]"),
        ((latents, gain_db, present[:1]), r"present must be \[2, 3\], not \[1, 3\]"),
        ((latents, gain_db, np.ones((2, 3, 1), bool)), r"present must be \[2, 3\], not \[2, 3, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fuse(*wrong)
    with pytest.raises(ValueError, match=r"pilots must be \[4, 8, 12\], not \[4, 8, 24\]"):
        model.encode("bs1", np.zeros((4, 8, 24), np.complex64), 1.0)


def test_encoding_does_not_depend_on_what_came_before(folder: Path) -> None:
    model = OnnxModel(folder)
    rng = np.random.default_rng(1)
    pilots = (rng.standard_normal((3, 4, 8, 12)) + 1j * rng.standard_normal((3, 4, 8, 12))).astype(
        np.complex64
    )
    before = model.encode("bs1", pilots[0], 0.1)
    model.encode("bs1", pilots[1], 0.5)
    model.encode("bs2", pilots[2], 0.1)
    after = model.encode("bs1", pilots[0], 0.1)
    assert np.array_equal(before.latent, after.latent)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "tiny")
    return tmp_path / "tiny"


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    line = str(caught.value)
    assert "\n" not in line
    return line


def without_hashes(folder: Path) -> None:
    """As models of earlier versions: the files themselves must show their damage."""
    page = json.loads((folder / "model.json").read_text())
    del page["files"]
    (folder / "model.json").write_text(json.dumps(page))


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "missing"])
@pytest.mark.parametrize("name", FILES)
def test_every_damage_gets_one_line_that_names_the_file(
    copy: Path, name: str, damage: str, hashed: bool
) -> None:
    if not hashed:
        without_hashes(copy)
    path = copy / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"{]garbage" * 30}[damage]
        )
    assert refusal(copy).startswith(f"{path}: ")


@pytest.mark.parametrize("name", FILES[1:])
def test_a_single_flipped_bit_is_noticed(copy: Path, name: str) -> None:
    path = copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert refusal(copy) == f"{path}: damaged (not the file that model.json was written with)"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 99, "version 99, expected 1"),
        ("version", None, "version None, expected 1"),
        ("bs_ids", 5, "damaged"),
        ("bs_ids", ["bs1"], "damaged (3 steps for 1 base stations)"),
        ("steps", [0.1, 0.1, 0.0], "damaged (steps must be positive)"),
        ("steps", "many", "damaged"),
        ("csi_shape", [4, 8], "damaged"),
        ("bits", 40, "damaged (bits must be an integer from 1 to 16, not 40)"),
        ("dims", 0, "damaged (sizes must be positive)"),
        ("covariance_scales", [1, 1, -1], "damaged (covariance_scales must be positive)"),
        ("covariance_scales", [1.0], "damaged (1 covariance_scales for 3 base stations)"),
        ("short_scales", [[24, 1.0], [12, 2.0]], "damaged (short_scales must ascend and be positive)"),
        ("short_scales", [[24, 0.0]], "damaged (short_scales must ascend and be positive)"),
        ("short_scales", 3, "damaged"),
        ("phase_reference", "none", "damaged (unknown input 'modes' by 'none')"),
        ("files", 3, "damaged"),
    ],
)
def test_a_page_that_makes_no_sense_gets_one_line(copy: Path, key: str, value: object, message: str) -> None:
    path = copy / "model.json"
    page = json.loads(path.read_text())
    page[key] = value
    path.write_text(json.dumps(page))
    assert refusal(copy).startswith(f"{path}: {message}")


def test_models_of_earlier_versions_have_one_scale(copy: Path) -> None:
    path = copy / "model.json"
    page = json.loads(path.read_text())
    del page["covariance_scales"]
    path.write_text(json.dumps(page | {"covariance_scale": 2.5}))
    assert OnnxModel(copy).description.covariance_scales == (2.5, 2.5, 2.5)


def test_covariances_are_wider_where_messages_are_short(copy: Path) -> None:
    dims = OnnxModel(copy).dims
    path = copy / "model.json"
    page = json.loads(path.read_text())
    latents = np.random.default_rng(1).normal(size=(3, 3, dims)).astype(np.float32)
    latents[1, :, dims // 4 :] = 0
    latents[2, :2, dims // 2 :] = 0
    present = np.array([[True, True, True], [True, True, True], [True, True, False]])
    given = latents, np.full((3, 3), 20.0), present
    covariance = {}
    for name, scales in {"none": [], "some": [[dims // 4, 4.0], [dims, 1.0]]}.items():
        path.write_text(json.dumps(page | {"short_scales": scales}))
        covariance[name] = OnnxModel(copy).fuse(*given)[1]
    ratio = covariance["some"][:, 0, 0] / covariance["none"][:, 0, 0]
    assert ratio == pytest.approx([1, 4, 2])
    assert covariance["some"] == pytest.approx(covariance["none"] * ratio[:, None, None])


def test_a_missing_key_is_named(copy: Path) -> None:
    path = copy / "model.json"
    page = json.loads(path.read_text())
    del page["steps"]
    path.write_text(json.dumps(page))
    assert refusal(copy) == f"{path}: damaged (no steps)"


@pytest.mark.parametrize("name", ["fusion.onnx", "encoder-bs1.onnx"])
def test_files_of_two_models_do_not_mix(
    copy: Path, export_of: Callable[[str], tuple[Trainer, Path]], name: str
) -> None:
    without_hashes(copy)
    shutil.copy(export_of("tokens")[1] / name, copy)
    assert refusal(copy).startswith(f"{copy / name}: damaged (input ")


def test_a_name_that_nobody_knows_gets_one_line() -> None:
    with pytest.raises(ModelError, match=r"no model 'nobody' \(shipped: "):
        load_model("nobody")


def test_the_digest_names_the_weights(folder: Path, copy: Path) -> None:
    assert weights_digest(copy) == weights_digest(folder) == OnnxModel(folder).digest
    page = json.loads((copy / "model.json").read_text())
    page["about"] = "something else"
    (copy / "model.json").write_text(json.dumps(page))
    assert weights_digest(copy) != weights_digest(folder)


def test_export_replaces_the_folder_as_a_whole(exported: tuple[Trainer, Path]) -> None:
    assert not (exported[1] / "old.onnx").exists()
    load_model(exported[1])


def test_small_weights_stay_in_single_precision(folder: Path) -> None:
    import onnx

    model = onnx.load(str(folder / "fusion.onnx"))
    kinds = {i.data_type for i in model.graph.initializer if np.prod(i.dims) >= 256}
    assert kinds == {onnx.TensorProto.FLOAT16}
    before = len(model.graph.initializer)
    assert len(halve(model).graph.initializer) == before  # nothing is left to halve


def test_the_benchmark_runs(folder: Path) -> None:
    """Its figures are for a quiet machine and the shipped model; here it must only work."""
    script = Path(__file__).resolve().parents[2] / "scripts" / "bench_model"
    command = [sys.executable, str(script), str(folder), "--repetitions", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("GB/s")
    assert "times the floor" in lines[1]
    assert lines[-1].startswith("a fix in a batch is ")
