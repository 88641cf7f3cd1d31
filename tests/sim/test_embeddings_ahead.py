"""Embeddings made ahead of time are those that base stations would make when their time comes."""

import dataclasses
import os
import signal
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.runtime import load_model
from models.testing import GeometryModel
from sim import Scenario
from sim.api import channel_of, run
from sim.embeddings_ahead import (
    TOGETHER,
    WORTH_A_PROCESS,
    EmbeddingsAhead,
    encode_chunk,
    in_order_of_time,
    processes_worth_it,
)
from sim.errors import UserError
from sim.interruption import interruptible
from tests.sim.kit import ROOT, GeometryChannel, scenario_of, walking_from

SPIRAL = ROOT / "scenarios" / "spiral.yaml"


def test_snapshots_come_in_order_of_time_and_of_ues() -> None:
    scenario = scenario_of({"ues": {"b": walking_from(80), "a": walking_from(70, rate="5 Hz")}})
    assert in_order_of_time(scenario) == [("b", 0), ("a", 0), ("b", 1), ("b", 2), ("a", 1)]


@pytest.mark.parametrize("late", ["drop", "retrodict"])
def test_snapshots_of_one_instant_are_found_in_any_order(late: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes those first that were sampled longest ago: at 0.2 s ue2 before ue1."""
    spiral = Scenario.load(SPIRAL, {"duration": "900 ms", "cu.late": late})
    way = spiral.model_dump(mode="json", by_alias=True)["ues"]["ue1"]
    both = {"duration": "900 ms", "cu.late": late, "ues.ue2": way | {"rate": "5 Hz"}}
    scenario = Scenario.load(SPIRAL, both)
    usual = run(scenario)
    assert usual.fixes.num_rows == 9 + 5
    monkeypatch.setattr("sim.embeddings_ahead.TOGETHER", 2)
    assert run(scenario).digest == usual.digest


@pytest.mark.parametrize("together", [1, 2, 5, 9])
def test_many_at_once_are_encoded_to_the_same_bits_as_one_by_one(together: int) -> None:
    scenario = Scenario.load(SPIRAL, duration="900 ms")
    channel, model = channel_of(scenario), load_model(scenario.model.name)
    places = [("ue1", index) for index in range(9)]
    chunks = [
        encode_chunk(channel, model, scenario.bs_ids, places[at : at + together])
        for at in range(0, 9, together)
    ]
    latent = np.concatenate([chunk.latent for chunk in chunks])
    gain_db = np.concatenate([chunk.gain_db for chunk in chunks])
    for index in range(9):
        pilots = channel.pilots("ue1", index)
        for column, bs in enumerate(scenario.bs_ids):
            alone = model.encode(bs, pilots[column], float(channel.noise_variance[column]))
            np.testing.assert_array_equal(latent[index, column], alone.latent)
            assert gain_db[index, column] == alone.gain_db


def test_a_model_that_encodes_one_by_one_will_do() -> None:
    scenario = scenario_of({"ues": {"ue1": walking_from(80, rate="1 kHz")}})
    model = GeometryModel(scenario.bs_ids)
    channel = GeometryChannel(scenario, model)
    ahead = EmbeddingsAhead(scenario, channel, model)
    assert ahead.pilots("ue1", 0).shape == channel.pilots("ue1", 0).shape
    for index in (0, 1, TOGETHER, 4 * TOGETHER):  # base stations that are down do not ask
        alone = model.encode("bs2", channel.pilots("ue1", index)[1], 1.0)
        found = ahead.embedding(1, "ue1", index)
        np.testing.assert_array_equal(found.latent, alone.latent)
        assert found.gain_db == alone.gain_db


def test_other_processes_encode_to_the_same_bits() -> None:
    scenario = Scenario.load(SPIRAL, duration="15 s")  # some chunks for each
    here, there = run(scenario), run(scenario, encoders=1)
    assert here.digest == there.digest
    assert here.fingerprint == there.fingerprint


def test_latents_that_nobody_sent_along_are_made_again() -> None:
    scenario = Scenario.load(SPIRAL, duration="1 s")
    channel, model = channel_of(scenario), load_model(scenario.model.name)
    with EmbeddingsAhead(scenario, channel, model, foresee=True) as ahead:
        there = ahead.embedding(2, "ue1", 1)
        assert ahead._chunk is not None
        ahead._chunk = dataclasses.replace(ahead._chunk, latent=ahead._chunk.latent[:0])
        again = ahead.embedding(2, "ue1", 1)
        np.testing.assert_array_equal(again.latent, there.latent)
        assert ahead.message(2, "ue1", 1) is not None


def test_encoders_are_for_the_scenarios_own_channel() -> None:
    scenario = scenario_of()
    model = GeometryModel(scenario.bs_ids)
    with pytest.raises(ValueError, match="own channel and model"):
        run(scenario, model=model, channel=GeometryChannel(scenario, model), encoders=1)


class DeadPool:
    """Every process in it has died."""

    def submit(self, *_: Any) -> Any:
        future: Future[Any] = Future()
        future.set_exception(BrokenProcessPool("gone"))
        return future

    def shutdown(self, **_: Any) -> None:
        pass


def test_a_process_that_dies_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sim.embeddings_ahead._pool", lambda *_: DeadPool())
    with pytest.raises(UserError, match="encodes ahead has died"):
        run(Scenario.load(SPIRAL, duration="1 s"), tmp_path / "run", encoders=1)


class BreakingPool(DeadPool):
    """All goes well until it breaks."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.is_broken = False

    def submit(self, *_: Any) -> Any:
        if self.is_broken:
            raise BrokenProcessPool("gone")
        self.futures.append(Future())
        return self.futures[-1]

    def breaks(self) -> None:
        self.is_broken = True
        for future in self.futures:
            future.set_exception(BrokenProcessPool("gone"))


def test_a_pool_that_takes_no_more_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, pool = Scenario.load(SPIRAL), BreakingPool()
    monkeypatch.setattr("sim.embeddings_ahead._pool", lambda *_: pool)
    with EmbeddingsAhead(scenario, channel_of(scenario), load_model("ecc-r"), 1) as ahead:
        pool.breaks()
        with pytest.raises(UserError, match="encodes ahead has died"):
            ahead.pilots("ue1", 0)


def test_a_signal_to_all_processes_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """It also ends those that encode, while the run is not to be interrupted yet."""
    scenario = Scenario.load(SPIRAL, duration="1 s")
    monkeypatch.setattr("sim.embeddings_ahead._pool", lambda *_: DeadPool())
    with interruptible() as interruption, interruption.hold():
        os.kill(os.getpid(), signal.SIGTERM)
        with (
            EmbeddingsAhead(scenario, channel_of(scenario), load_model("ecc-r"), 1) as ahead,
            pytest.raises(KeyboardInterrupt),
        ):
            ahead.pilots("ue1", 0)


def test_processes_are_started_only_for_much_to_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(4)))
    many = walking_from(80, rate="1 kHz")
    assert processes_worth_it(scenario_of({"ues": {"ue1": many}, "duration": "3.999 s"})) == 0
    assert (
        processes_worth_it(scenario_of({"ues": {"ue1": many}, "duration": "4 s"})) == WORTH_A_PROCESS // 4_000
    )
    assert processes_worth_it(scenario_of({"ues": {"ue1": many}, "duration": "100 s"})) == 3
