"""Errors after each step of the LSTM: the last is the fix, and rows say what was asked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.config import Schedule
from models.training import Trainer
from sim import accumulation
from sim.accumulation import STEPS, judge_steps, restored
from sim.channel.held_out import shipped_pool
from sim.errors import UserError
from sim.train import TrainOptions, make_trainer
from sim.variants import shortened_comparison
from tests.sim.test_compare import points, quick  # noqa: F401  (a fixture)


def trainer_in(folder: Path) -> Trainer:
    config = shortened_comparison()[0][accumulation.SYSTEM]
    shape = replace(config.shape, width=8, latent=2, token=2, hidden=8)
    joint = Schedule(samples=32, batch=16)
    config = replace(config, shape=shape, local=None, after=None, joint=joint, quantise_from=0)
    trainer = make_trainer(
        config, points(config), folder / "state.pt", TrainOptions(), report=lambda line: None
    )
    trainer.train()
    return trainer


@pytest.mark.usefixtures("quick")
def test_the_last_step_is_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_in(tmp_path)
    few = shipped_pool("test-random").select(np.arange(12))
    monkeypatch.setattr(accumulation, "shipped_pool", lambda pool: few)
    error_m = accumulation.errors(trainer, np.arange(12))
    assert error_m.shape == (12, 24)
    found = trainer.predict(trainer.held_out, accumulation.SEED)
    assert error_m[:, -1] == pytest.approx(
        np.linalg.norm(found["position"] - found["truth"], axis=1), rel=1e-4
    )


@pytest.mark.usefixtures("quick")
def test_rows_are_those_of_the_picture(tmp_path: Path) -> None:
    rows = list(judge_steps(trainer_in(tmp_path), points=10))
    assert [row["subcarriers"] for row in rows[::2]] == list(STEPS)
    assert [row["subset"] for row in rows[:2]] == ["served", "all"]
    assert rows[1]["points"] == 10 >= rows[0]["points"] > 0


def test_without_a_training_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"ecc-q10\.pt: no such training; --train makes it"):
        restored()
