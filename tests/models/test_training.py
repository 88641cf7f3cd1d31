"""Training learns, resumes without a trace, and runs both algorithms."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import ConfigError, Impairments, Schedule, TrainingConfig
from models.losses import reconstruction_loss
from models.quantiser import quantise
from models.training import Trainer, hard_points, knows_bfloat16
from tests.models.kit import (
    PAPER,
    RADIO,
    SHAPE,
    SITE,
    SITES,
    free_space,
    random_positions,
    tiny_config,
    tiny_trainer,
)

SHORT = Schedule(samples=256, batch=64, warmup=128)
BRIEF = Schedule(samples=64, batch=16, warmup=32)
"""For the paper's networks, which take their time."""
LEARNS_BY = 8
"""By how much at least the error falls in the tiny training (measured: 22)."""


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return dict(trainer.networks.state_dict())


def test_a_tiny_training_learns(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt")
    before = trainer.validate()["all_mean_m"]
    trainer.train()
    after = trainer.validate()["all_mean_m"]
    assert trainer.ended
    assert after < before / LEARNS_BY, f"{before:.1f} m before, {after:.1f} m after"


@pytest.mark.slow
def test_the_papers_two_stages_learn(tmp_path: Path) -> None:
    """Algorithms 1 and 2 with its networks, phase reference and losses (measured: by 7 to 8)."""
    stage_one = Schedule(samples=512, batch=16, rate=2e-3, warmup=256)
    config = tiny_config(
        shape=replace(PAPER, hidden=64, latent=16), phase_reference="antenna", loss="squared", bs_dropout=0.0,
        quantise_from=0, local=stage_one, joint=replace(stage_one, samples=10_240, decay=4096),
    )  # fmt: skip
    before = tiny_trainer(tmp_path / "untrained.pt", replace(config, local=None)).validate()["all_mean_m"]
    trainer = tiny_trainer(tmp_path / "tiny.pt", config)
    trainer.train()
    after = trainer.validate()["all_mean_m"]
    assert after < before / 3, f"{before:.1f} m before, {after:.1f} m after"


@pytest.mark.parametrize("steps", [2, 6])
def test_a_resumed_training_is_an_uninterrupted_one(
    tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit: over the border between the stages, quantised, shortened and with dropout."""
    monkeypatch.setattr("models.training.CALIBRATED_ON", 32)
    config = tiny_config(
        shape=PAPER, phase_reference="antenna", local=BRIEF, joint=BRIEF, loss="squared",
        quantise_from=16, recalibrate=32, short_share=0.5, shortest_dims=8, bs_dropout=0.2,
        training_impairments=Impairments(),
    )  # fmt: skip
    whole = tiny_trainer(tmp_path / "whole.pt", config)
    whole.train()
    part = tiny_trainer(tmp_path / "part.pt", config)
    for _ in range(steps):
        if part.stage == "local" and part.done >= BRIEF.samples:
            part._begin_joint()
        part.step()
    part.keep()
    resumed = tiny_trainer(tmp_path / "part.pt", config)
    assert (resumed.stage, resumed.done) == (part.stage, part.done)
    resumed.train()
    assert resumed.ended
    assert torch.equal(resumed.steps, whole.steps)
    ours, theirs = weights(resumed), weights(whole)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    assert resumed.validate() == whole.validate()


def test_a_training_without_time_keeps_its_state(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt")
    trainer.train(minutes=0)
    assert trainer.done == 0
    assert (tmp_path / "tiny.pt").is_file()
    assert not list(tmp_path.glob("*.partial"))


def test_an_interrupted_training_keeps_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt")
    step = trainer.step

    def interrupted() -> float:
        if trainer.done >= 256:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert tiny_trainer(tmp_path / "tiny.pt").done == 256


def test_keeping_the_state_is_not_interrupted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under `torchrun`, which passes on a Ctrl-C that the terminal has sent to all."""
    trainer = tiny_trainer(tmp_path / "tiny.pt", joint=SHORT)

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    def interrupted_while_saving(state: object, path: Path) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        path.write_bytes(b"saved")

    monkeypatch.setattr(type(trainer.ranks), "agree", interrupted)
    monkeypatch.setattr("models.training.torch.save", interrupted_while_saving)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert (tmp_path / "tiny.pt").read_bytes() == b"saved"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_progress_says_what_is_left(tmp_path: Path) -> None:
    lines: list[str] = []
    trainer = tiny_trainer(tmp_path / "tiny.pt", joint=SHORT)
    trainer.report = lines.append
    trainer.train()
    assert len(lines) == 1
    assert lines[0].startswith("tiny joint: 256 of 256 samples, ")
    assert "0 s to go; all_mean_m " in lines[0]
    assert trainer.history[-1]["samples"] == 256


@pytest.mark.parametrize("kind", ["dense", "res_segnet"])
def test_stage_one_learns_to_reconstruct(tmp_path: Path, kind: str) -> None:
    """Algorithm 1: nobody's position is used, and each encoder learns by itself."""
    shape = PAPER if kind == "res_segnet" else SHAPE
    long = Schedule(samples=768, batch=64, rate=1e-2, warmup=128)
    config = tiny_config(shape=shape, phase_reference="antenna", local=long, joint=SHORT)
    trainer = tiny_trainer(tmp_path / "tiny.pt", config)
    fusion = {name: value.clone() for name, value in trainer.fusion.state_dict().items()}
    before = trainer.validate()["reconstruction"]
    while trainer.done < long.samples:
        trainer.step()
    after = trainer.validate()["reconstruction"]
    assert before > -0.5
    assert after < -0.7
    assert all(torch.equal(value, fusion[name]) for name, value in trainer.fusion.state_dict().items())


def test_the_gradient_of_stage_one_stays_at_its_base_station(tmp_path: Path) -> None:
    config = tiny_config(shape=PAPER, phase_reference="antenna", local=BRIEF)
    trainer = tiny_trainer(tmp_path / "tiny.pt", config)
    assert trainer.decoder is not None
    features, side, _ = trainer.inputs(trainer.samples.draw(16)[0])
    loss = reconstruction_loss(features, trainer.decoder(trainer.encoder(features, side)))
    loss[:, 1].mean().backward()  # type: ignore[no-untyped-call]
    gradient = next(trainer.encoder.parameters()).grad
    assert gradient is not None
    per_site = gradient.reshape(3, -1).abs().sum(1)
    assert (per_site > 0).tolist() == [False, True, False]


def test_after_stage_one_the_decoder_is_gone_and_the_encoder_stays(tmp_path: Path) -> None:
    config = tiny_config(shape=PAPER, phase_reference="antenna", local=BRIEF, joint=BRIEF)
    trainer = tiny_trainer(tmp_path / "tiny.pt", config)
    while trainer.done < BRIEF.samples:
        trainer.step()
    encoder = {name: value.clone() for name, value in trainer.encoder.state_dict().items()}
    trainer._begin_joint()
    assert trainer.decoder is None
    assert all(torch.equal(value, encoder[name]) for name, value in trainer.encoder.state_dict().items())


@pytest.mark.parametrize("freeze", [True, False])
def test_stage_two_trains_the_encoder_unless_it_is_frozen(tmp_path: Path, freeze: bool) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt", joint=SHORT, freeze_encoder=freeze)
    before = {name: value.clone() for name, value in trainer.encoder.state_dict().items()}
    for _ in range(3):
        trainer.step()
    same = all(torch.equal(value, before[name]) for name, value in trainer.encoder.state_dict().items())
    assert same == freeze


def test_the_gradient_passes_the_quantiser(tmp_path: Path) -> None:
    """(35) in place: encoders still learn, and what is fused lies on the quantiser's levels."""
    trainer = tiny_trainer(tmp_path / "tiny.pt", joint=SHORT, quantise_from=0, bits=4)
    before = next(trainer.encoder.parameters()).clone()
    trainer.step()
    assert trainer.calibrated
    assert not torch.equal(before, next(trainer.encoder.parameters()))
    sent = trainer.quantised(trainer.latents(16))
    for bs in range(3):
        step = float(trainer.steps[bs])
        levels = sent[:, bs].detach().numpy() / step - 0.5
        assert levels == pytest.approx(np.rint(levels), abs=1e-3)
        assert np.abs(levels + 0.5).max() <= 7.5 + 1e-3
        assert len(np.unique(quantise(sent[:, bs].detach().numpy(), 4, step))) > 8


def test_the_quantiser_waits_for_its_time(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt", joint=SHORT, quantise_from=128)
    seen = []
    for _ in range(4):
        trainer.step()
        seen.append(trainer.calibrated)
    assert seen == [False, False, True, True]


def test_shortened_messages_are_prefixes(tmp_path: Path) -> None:
    """Nested dropout: what a sample loses is the tail of its message; whole samples stay whole."""
    trainer = tiny_trainer(tmp_path / "tiny.pt", short_share=0.5, shortest_dims=8, short_bits=(2, 10))
    trainer.calibrate()
    latent = trainer.latents(400)
    sent, whole = trainer.sent(latent).flatten(2), trainer.quantised(latent).flatten(2)
    kept = sent != 0  # no level of a midrise quantiser is zero
    length = kept.sum(-1)
    assert torch.equal(kept, torch.arange(kept.shape[-1]) < length[..., None])
    assert int(length.min()) >= 8
    unshortened = (sent == whole).all(-1).all(-1)
    assert 0.4 < float(unshortened.float().mean()) < 0.6
    coarse = (torch.where(kept, sent, whole) != whole).any(-1)[~unshortened]
    assert 0.3 < float(coarse.float().mean()) < 0.7


@pytest.mark.parametrize(
    ("able", "known"),
    [
        ({"avx2": True, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ],
)
def test_bfloat16_is_left_to_devices_with_instructions_for_it(
    able: dict[str, bool], known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert knows_bfloat16("cpu") == known
    assert knows_bfloat16("cuda")
    trainer = tiny_trainer(tmp_path / "tiny.pt")
    for asked in (True, False):
        trainer.config = replace(trainer.config, bfloat16=asked)
        with trainer._autocast():
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == (torch.bfloat16 if asked and known else torch.float32)


def test_without_word_from_the_processor_there_is_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not knows_bfloat16("cpu")


def test_hard_points_are_heard_but_see_few_sites() -> None:
    in_sight = free_space(random_positions(40, 3), sites_m=[*SITES, (0.0, 0.0, 30.0)])
    seen = in_sight.line_of_sight.reshape(40, 4)
    seen[:20, 1] = False  # heard round a corner
    gain = in_sight.gain.reshape(40, 4)
    gain[10:, 2:] *= 1e-9  # not heard
    table = replace(in_sight, line_of_sight=seen.ravel(), gain=gain.ravel())
    assert hard_points(table, RADIO).tolist() == list(range(10))


def test_a_share_of_the_samples_is_of_hard_points(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt", hard_share=0.5)
    assert len(trainer.samples.favoured) == 400  # three sites: nobody sees more
    assert trainer.samples.favoured_share == 0.5


def test_base_stations_drop_out_but_never_all_of_them(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt", bs_dropout=0.7)
    present = trainer._present(torch.zeros(4000, 3))
    assert present.any(1).all()
    assert float(present.float().mean()) == pytest.approx(0.3 + 0.7**3, abs=0.03)


def test_steps_without_a_finite_gradient_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt", joint=SHORT)
    before = {name: value.clone() for name, value in weights(trainer).items()}
    joint_loss = trainer._joint_loss
    monkeypatch.setattr(trainer, "_joint_loss", lambda *inputs: joint_loss(*inputs) * float("nan"))
    trainer.step()
    assert trainer.skipped == 1
    assert all(torch.equal(value, before[name]) for name, value in weights(trainer).items())


def test_predictions_are_the_same_whatever_was_drawn_before(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt", test_impairments=Impairments(displacement_m=0.0))
    first = trainer.predict(trainer.held_out, 5)
    trainer.held_out.draw(7)
    again = trainer.predict(trainer.held_out, 5)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    without = trainer.predict(trainer.held_out, 5, missing=(0, 2))
    assert not np.array_equal(first["position"], without["position"])


def test_every_checkpoint_says_what_it_was_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pt"
    trainer = tiny_trainer(path, joint=SHORT)
    trainer.site = replace(trainer.site, world="of the test")
    trainer.step()
    trainer.keep()
    said = torch.load(path, weights_only=True)["trained_on"]
    assert (said["world"], said["points"], said["samples"]) == ("of the test", len(trainer.samples), 64)
    assert said["seconds"] >= 0
    assert (said["device"], said["processes"]) == ("cpu", 1)


def test_a_checkpoint_without_the_samplers_place_can_be_resumed(tmp_path: Path) -> None:
    """As earlier versions wrote them."""
    path = tmp_path / "tiny.pt"
    trainer = tiny_trainer(path, joint=SHORT)
    trainer.step()
    trainer.keep()
    state = torch.load(path, weights_only=True)
    del state["samples"], state["skipped"]
    torch.save(state, path)
    resumed = tiny_trainer(path, joint=SHORT)
    assert resumed.done == 64
    resumed.train()
    assert resumed.ended


def test_a_training_can_be_given_a_later_end(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / "tiny.pt", joint=SHORT)
    trainer.train()
    longer = tiny_trainer(tmp_path / "tiny.pt", joint=replace(SHORT, samples=320))
    assert not longer.ended
    longer.train()
    assert longer.done == 320


def other_network(config: TrainingConfig) -> TrainingConfig:
    return replace(config, shape=replace(config.shape, hidden=8))


def other_reference(config: TrainingConfig) -> TrainingConfig:
    return replace(config, phase_reference="slot")


@pytest.mark.parametrize("change", [other_network, other_reference])
def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, change: object) -> None:
    assert callable(change)
    path = tmp_path / "tiny.pt"
    tiny_trainer(path, joint=SHORT).keep()
    with pytest.raises(ConfigError, match=r"tiny.pt: made with (hidden 24, not 8|phase_reference 'delay')"):
        tiny_trainer(path, change(tiny_config(joint=SHORT)))


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "tiny.pt"
    tiny_trainer(path, joint=SHORT).keep()
    content = path.read_bytes()
    path.write_bytes(
        {"truncated": content[: len(content) // 2], "garbage": b"x" * 1000, "empty": b""}[damage]
    )
    with pytest.raises(ConfigError) as caught:
        tiny_trainer(path, joint=SHORT)
    assert str(caught.value).startswith(f"{path}: damaged")
    assert "\n" not in str(caught.value)


def test_a_shape_that_does_not_fit_the_radio_is_refused(tmp_path: Path) -> None:
    config = tiny_config(shape=replace(SHAPE, subcarriers=24))
    table = free_space(random_positions(5, 1))
    with pytest.raises(ConfigError, match=r"tiny: shape.subcarriers is 24, the radio's is 12"):
        Trainer(config, SITE, table, table, tmp_path / "tiny.pt")


def test_a_fresh_training_does_not_look_at_a_state(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"of something else")
    table = free_space(random_positions(20, 1))
    trainer = Trainer(tiny_config(), SITE, table, table, tmp_path / "state.pt", fresh=True)
    assert trainer.done == 0
    assert (tmp_path / "state.pt").read_bytes() == b"of something else"
