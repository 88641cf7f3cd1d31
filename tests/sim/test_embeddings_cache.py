"""Runs of many snapshots take from the cache what base stations made of them before."""

import os
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim.api
import sim.embeddings_ahead
from models.runtime import load_model
from sim.api import run
from sim.embeddings_cache import cache_folder, embeddings_path, make_room
from sim.embeddings_file import EmbeddingsFile, EmbeddingsFileError, EmbeddingsWriter
from sim.errors import CacheWarning
from sim.scenario import Scenario
from sim.study.embeddings import embeddings_of
from sim.study.work import unlike
from tests.sim.kit import ROOT

SPIRAL = ROOT / "scenarios" / "spiral.yaml"
SHORT = {"duration": "7 s"}  # 70 snapshots: one whole block, and another


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one, in which few snapshots are kept too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("sim.embeddings_cache.WORTH_KEEPING", 1)


@pytest.fixture
def no_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode_chunk(*_: Any) -> None:
        raise AssertionError("encodes again")

    monkeypatch.setattr(sim.embeddings_ahead, "encode_chunk", encode_chunk)
    monkeypatch.setattr(sim.api, "channel_of", encode_chunk)


def kept(scenario: Scenario) -> Path:
    return embeddings_path(scenario, load_model(scenario.model.name).digest)


def test_a_second_run_encodes_nothing_and_comes_to_the_same(request: pytest.FixtureRequest) -> None:
    scenario = Scenario.load(SPIRAL, **SHORT)
    without = run(scenario, cache=False).summary
    assert not kept(scenario).exists()
    first = run(scenario).summary
    assert kept(scenario).exists()
    request.getfixturevalue("no_encoding")
    second = run(scenario).summary
    slower = run(Scenario.load(SPIRAL, ["fronthaul.default.capacity=60 kbit/s"], **SHORT)).summary
    assert unlike(without, first) == unlike(without, second) == []
    assert slower["digest"] != second["digest"]


def test_other_processes_read_and_write_the_same() -> None:
    scenario = Scenario.load(SPIRAL, duration="15 s")
    alone = run(scenario, cache=False).digest
    assert run(scenario, encoders=1).digest == alone
    content = kept(scenario).read_bytes()
    assert run(scenario, encoders=1).digest == alone
    assert kept(scenario).read_bytes() == content


def test_studies_and_runs_share_it(request: pytest.FixtureRequest) -> None:
    scenario = Scenario.load(SPIRAL, **SHORT)
    model = load_model(scenario.model.name)
    run(scenario)
    embeddings, was_there = embeddings_of(scenario, model, sim.api.channel_of)
    assert was_there
    assert len(embeddings.latent["ue1"]) == 70
    kept(scenario).unlink()
    again, was_there = embeddings_of(scenario, model, sim.api.channel_of)
    assert not was_there
    np.testing.assert_array_equal(again.latent["ue1"], embeddings.latent["ue1"])
    request.getfixturevalue("no_encoding")
    run(scenario)


def test_other_policies_need_no_encoding_either(request: pytest.FixtureRequest) -> None:
    changes = ["bs.policy={kind: delta, bound: 30 %}", "cu.min_bs=1"]
    scenario = Scenario.load(SPIRAL, changes, **SHORT)
    alone = run(scenario, cache=False).digest
    run(Scenario.load(SPIRAL, **SHORT))
    request.getfixturevalue("no_encoding")
    assert run(scenario).digest == alone


@pytest.mark.parametrize("place", [0.1, 0.5, 0.97])
def test_a_damaged_file_costs_time_and_one_line(place: float) -> None:
    scenario = Scenario.load(SPIRAL, **SHORT)
    digest = run(scenario).digest
    good = kept(scenario).read_bytes()
    damaged = bytearray(good)
    damaged[int(place * len(damaged))] ^= 0xFF
    kept(scenario).write_bytes(damaged)
    with pytest.warns(CacheWarning, match=r"cannot be used, computing again: ") as told:
        assert run(scenario).digest == digest
    assert len(told) == 1
    run(scenario)
    assert kept(scenario).read_bytes() == good


def test_a_file_cut_short_costs_time_and_one_line() -> None:
    scenario = Scenario.load(SPIRAL, **SHORT)
    digest = run(scenario).digest
    os.truncate(kept(scenario), kept(scenario).stat().st_size // 2)
    with pytest.warns(CacheWarning, match=r"cannot be used, computing again: "):
        assert run(scenario).digest == digest


def test_no_room_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    scenario = Scenario.load(SPIRAL, **SHORT)
    digest = run(scenario, cache=False).digest
    monkeypatch.setattr(EmbeddingsWriter, "add", is_full)
    with pytest.warns(CacheWarning, match="not cached: No space left on device") as told:
        assert run(scenario).digest == digest
    assert len(told) == 1
    assert list(cache_folder().iterdir()) == []


def test_a_run_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def stop(t_ns: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Scenario.load(SPIRAL, **SHORT), tmp_path / "run", progress=stop)
    assert list(cache_folder().iterdir()) == []


def test_few_snapshots_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.embeddings_cache.WORTH_KEEPING", 71)
    run(Scenario.load(SPIRAL, **SHORT))
    assert not cache_folder().exists()


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    for age, name in enumerate(("new.npz", "old.npz", "older.npz", "oldest.npz.7.writing")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    make_room(tmp_path, 400)
    assert len(list(tmp_path.iterdir())) == 4
    make_room(tmp_path, 299)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.npz", "old.npz"]
    make_room(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_blocks_come_back_as_they_went(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    blocks = [
        (random.standard_normal((rows, 6, 20)).astype(np.float32), random.standard_normal((rows, 6)))
        for rows in (4, 4, 1)
    ]
    writer = EmbeddingsWriter(tmp_path / "file.npz")
    for block in blocks:
        writer.add(*block)
    assert not (tmp_path / "file.npz").exists()
    writer.finish((10, 8, 24))
    with closing(EmbeddingsFile(tmp_path / "file.npz")) as file:
        assert file.csi_shape == (10, 8, 24)
        for number in (2, 0, 1):
            latent, gain_db = file.block(number, len(blocks[number][0]))
            np.testing.assert_array_equal(latent, blocks[number][0])
            np.testing.assert_array_equal(gain_db, blocks[number][1])
        with pytest.raises(EmbeddingsFileError, match="block 2 is not of 4 snapshots"):
            file.block(2, 4)
        with pytest.raises(EmbeddingsFileError):
            file.block(3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        writer.abandon()
    assert (tmp_path / "file.npz").exists()
