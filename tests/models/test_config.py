"""Training configurations: the shipped ones, and what is said of wrong ones."""

from pathlib import Path

import pytest

from models.build import build_encoder
from models.config import ConfigError, Impairments, Schedule, TrainingConfig, read_config
from models.network import Fusion

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "models" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_load_and_build(path: Path) -> None:
    config = read_config(path)
    assert config.name == path.stem
    assert len(config.about) > 40
    assert config.shape.dims * config.bits <= 7680
    build_encoder(config.shape, config.phase_reference)
    Fusion(config.shape)


def test_the_papers_configuration_is_the_papers() -> None:
    config = read_config(CONFIGS[0].parent / "ecc-paper.yaml")
    shape = config.shape
    assert (shape.slots, shape.antennas, shape.subcarriers, shape.latent) == (10, 8, 24, 32)
    assert (shape.encoder, shape.cu, shape.cma) == ("res_segnet", "paper", True)
    assert (config.phase_reference, config.loss, config.bits) == ("antenna", "squared", 10)
    assert config.local is not None
    assert config.quantise_from == 0


MINIMAL = "name: mine\njoint: {samples: 10}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, MINIMAL))
    assert config == TrainingConfig(name="mine", joint=Schedule(samples=10))


def test_everything_can_be_said(tmp_path: Path) -> None:
    text = (
        MINIMAL + "local: {samples: 20_000, rate: 3e-4}\ntest_impairments: {ue_clock_s: 0}\n"
        "short_bits: [4, 10]\nquantise_from: 0\n"
    )
    config = read_config(written(tmp_path, text))
    assert config.local == Schedule(samples=20_000, rate=3e-4)
    assert config.test_impairments == Impairments(ue_clock_s=0)
    assert (config.short_bits, config.quantise_from) == ((4, 10), 0)


def test_overrides_win(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, MINIMAL), {"bits": 6, "name": "other"})
    assert (config.bits, config.name) == (6, "other")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: mine\njoint:\n  sample: 3\n", ":3:3 joint.sample: unknown key; did you mean 'samples'?"),
        (MINIMAL + "shap: {}\n", ":3:1 shap: unknown key; did you mean 'shape'?"),
        ("name: mine\n", " joint: is missing"),
        ("name: mine\njoint: {rate: 1}\n", ":2:1 joint.samples: is missing"),
        ("name: mine\njoint: {samples: ten}\n", ":2:9 joint.samples: input should be a valid integer"),
        ("name: mine\njoint: {samples: 1.5}\n", ":2:9 joint.samples: input should be a valid integer"),
        ("name: mine\njoint: {samples: -1}\n", ":2:9 joint: samples must be positive, not -1"),
        (MINIMAL + "bits: 33\n", ":3:1: bits must be an integer from 1 to 16, not 33"),
        (MINIMAL + "loss: cubic\n", ":3:1: loss must be one of norm, squared, not 'cubic'"),
        (MINIMAL + "hard_share: 2\n", ":3:1: hard_share must be from 0 to 1"),
        (MINIMAL + "bs_dropout: 1\n", ":3:1: bs_dropout must be from 0 to less than 1"),
        (MINIMAL + "shape: {encoder: lens}\n", ":3:9 shape: encoder must be one of dense, tokens"),
        (MINIMAL + "shape: {cu: papers}\n", ":3:9 shape: cu must be one of extended, paper, late_"),
        (MINIMAL + "shape: {width: 0}\n", ":3:9 shape: width must be at least 1, not 0"),
        (MINIMAL + "shape: {slot_modes: 11}\n", ":3:9 shape: slot_modes must be 1 to 10, not 11"),
        (MINIMAL + "shape: {encoder: res_segnet}\n", "encoder res_segnet needs phase_reference antenna"),
        (MINIMAL + "name: twice\n", ":3:1: not YAML (found duplicate key"),
        (MINIMAL + "shape: [\n", "not YAML"),
        ("- mine\n", "a training configuration is a mapping"),
        ("", "a training configuration is a mapping"),
        ("name: ../mine\njoint: {samples: 10}\n", ":1:1: name must be letters, digits"),
        (MINIMAL + "test_impairments: {speed_mps: -1}\n", ":3:20 test_impairments: speed_mps must not be"),
        (MINIMAL + "about: 2020-01-01\n", "is not JSON serializable"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line_that_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert message in line
    assert "\n" not in line


def test_a_missing_file_gets_one_line() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        read_config(Path("nowhere.yaml"))


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    schedule = Schedule(samples=1000, batch=10, warmup=100, decay=400)
    assert schedule.factor(0) == pytest.approx(0.1)
    assert schedule.factor(300) == 1.0
    assert schedule.factor(800) == pytest.approx(0.5)
    assert schedule.factor(1000) == 0.0
    assert Schedule(samples=1000, batch=10, warmup=0).factor(999) == 1.0
