"""Points of a study have the summaries of separate runs, to the last bit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.quantiser import pack
from models.runtime import ROWS_AT_A_TIME, load_model
from nodes import PositioningModel, Tracker, TrackerParams
from sim.api import channel_of, model_of, run
from sim.embeddings_cache import embeddings_key
from sim.errors import CacheWarning
from sim.scenario import Scenario
from sim.study.embeddings import embed, embeddings_of
from sim.study.point import Bench
from sim.study.stations import pack_many
from sim.study.work import unlike

SPIRAL = Path(__file__).resolve().parents[3] / "scenarios" / "spiral.yaml"
CHANGE = "{at: 0.2 s, kind: capacity, link: bs2, to: 80 kbit/s, for: 0.4 s}"
OUTAGE = "{at: 0.3 s, kind: link_outage, link: bs3, for: 0.2 s}"
BURST = "{at: 0.1 s, kind: loss_burst, link: bs4, rate: 60 %, for: 1 s}"
TRUNK = "{capacity: 3 Mbit/s, latency: 0.5 ms, queue: 40 kB, members: [bs1, bs2, bs3, bs4, bs5, bs6]}"
SITUATIONS = {
    "plain": [],
    "few bits, slow and lossy": [
        "model.bits=3",
        "fronthaul.default.capacity=120 kbit/s",
        "fronthaul.default.loss.rate=20 %",
    ],
    "late frames retrodict": [
        "fronthaul.default.latency=60 ms",
        "fronthaul.default.jitter={kind: exponential, mean: 20 ms}",
        "cu.deadline=80 ms",
        "cu.late=retrodict",
    ],
    "all six or none": ["cu.min_bs=6", "fronthaul.default.loss.rate=20 %", "tracker.acceleration=0.3 m/s2"],
    "base stations die": ["faults=[{at: 0.4 s, kind: bs_down, bs: bs1, for: 0.3 s}]"],
    "nothing arrives": ["fronthaul.default.latency=1 s"],
    "messages fitted to the link": ["bs.policy=fit", "fronthaul.default.capacity=90 kbit/s"],
    "messages when something changed": ["bs.policy={kind: delta, bound: 30 %}", "cu.min_bs=1"],
    "messages when predictions are wrong": ["bs.policy={kind: innovation, bound: 50 cm}", "cu.min_bs=1"],
    "a shared segment": [
        "fronthaul.shared={core: {capacity: 400 kbit/s, latency: 1 ms, members: [bs1, bs2, bs4]}}",
        "cu.deadline=90 ms",
    ],
    "links change and fail": [
        "fronthaul.default.capacity=150 kbit/s",
        f"faults=[{CHANGE}, {OUTAGE}, {BURST}]",
    ],
    "snapshots overtake each other": ["cu.deadline=600 ms", "fronthaul.default.capacity=70 kbit/s"],
    "nothing to do in no time": ["bs.processing=0 ms", "cu.deadline=2 ms"],
    "messages of two sizes": ["model.per_bs={bs3: {bits: 4, dims: 100}}"],
}


def scenarios() -> list[Scenario]:
    return [Scenario.load(SPIRAL, ["duration=1 s", *changes]) for changes in SITUATIONS.values()]


@dataclass(frozen=True, eq=False)
class Together:
    model: PositioningModel
    bench: Bench
    scenarios: dict[str, Scenario]
    summaries: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def together() -> Together:
    """All situations computed in one go."""
    all_of_them = scenarios()
    model = model_of(all_of_them[0])
    bench = Bench(all_of_them[0], model, embed(all_of_them[0], model, channel_of(all_of_them[0])))
    summaries = bench.summaries(all_of_them)
    named = dict(zip(SITUATIONS, all_of_them, strict=True))
    return Together(model, bench, named, dict(zip(SITUATIONS, summaries, strict=True)))


@pytest.mark.parametrize("name", SITUATIONS)
def test_summaries_are_those_of_separate_runs(together: Together, name: str) -> None:
    separate = run(together.scenarios[name], model=together.model).summary
    assert unlike(separate, together.summaries[name]) == []
    assert separate["digest"] == together.summaries[name]["digest"]


def test_fusing_as_it_goes_comes_to_the_same(together: Together) -> None:
    for name in ("plain", "all six or none", "messages fitted to the link"):
        assert unlike(together.bench.at_once(together.scenarios[name]), together.summaries[name]) == []


def test_a_summary_does_not_depend_on_its_company(together: Together) -> None:
    backwards = list(together.scenarios.values())[::-1]
    expected = list(together.summaries.values())[::-1]
    for again, summary in zip(together.bench.summaries(backwards), expected, strict=True):
        assert unlike(again, summary) == []


def test_embeddings_come_back_from_the_cache() -> None:
    scenario = Scenario.load(SPIRAL, ["duration=0.3 s"])
    model = model_of(scenario)
    embeddings, _ = embeddings_of(scenario, model, channel_of)
    again, was_there = embeddings_of(scenario, model, channel_of)
    assert was_there
    assert (again.latent["ue1"] == embeddings.latent["ue1"]).all()


def test_many_ues_on_shared_segments_too() -> None:
    shared = [
        "duration=0.6 s",
        f"fronthaul.shared={{core: {TRUNK}}}",
    ]
    sets = [shared, [*shared, "cu.deadline=20 ms", "fronthaul.default.loss={kind: bernoulli, rate: 9 %}"]]
    together = [Scenario.load(SPIRAL.with_name("many_users.yaml"), changes) for changes in sets]
    assert len(together[0].ue_ids) > 5
    model = model_of(together[0])
    embeddings, _ = embeddings_of(together[0], model, channel_of)
    summaries = Bench(together[0], model, embeddings).summaries(together)
    for scenario, summary in zip(together, summaries, strict=True):
        assert unlike(run(scenario, model=model).summary, summary) == []
        assert summary["frames"]["dropped"]


def test_many_ues_whose_snapshots_overtake_each_other() -> None:
    """A step of the tracker ends where a UE comes again, in whatever order its snapshots close."""
    slow = ["duration=1.6 s", "cu.deadline=900 ms", "fronthaul.default.capacity=300 kbit/s"]
    lossy = "fronthaul.default.loss={kind: bernoulli, rate: 20 %}"
    scenario = Scenario.load(SPIRAL.with_name("many_users.yaml"), [*slow, lossy])
    model = model_of(scenario)
    embeddings, _ = embeddings_of(scenario, model, channel_of)
    summary = Bench(scenario, model, embeddings).summaries([scenario])[0]
    assert unlike(run(scenario, model=model).summary, summary) == []
    assert summary["fixes"] > 20


def test_a_fusion_does_not_depend_on_its_batch() -> None:
    model = load_model("ecc-r")
    random = np.random.default_rng(1)
    num = 24 * ROWS_AT_A_TIME
    latents = random.standard_normal((num, model.num_bs, model.dims)).astype(np.float32)
    gain_db = random.uniform(-10, 40, (num, model.num_bs))
    present = random.random((num, model.num_bs)) < 0.6
    present[:, 0] |= ~present.any(axis=1)
    whole = model.fuse(latents, gain_db, present)
    for rows in (ROWS_AT_A_TIME, 2 * ROWS_AT_A_TIME, 8 * ROWS_AT_A_TIME):
        order = random.permutation(num)
        for first in range(0, num, rows):
            some = order[first : first + rows]
            position_m, covariance_m2 = model.fuse(latents[some], gain_db[some], present[some])
            np.testing.assert_array_equal(position_m, whole[0][some])
            np.testing.assert_array_equal(covariance_m2, whole[1][some])


def test_a_track_does_not_depend_on_its_company() -> None:
    random = np.random.default_rng(2)
    alone, together = Tracker(TrackerParams()), Tracker(TrackerParams())
    for step in range(20):
        fixes = random.standard_normal((5, 3))
        covariances = np.repeat(np.eye(3)[None], 5, axis=0) * random.uniform(0.5, 2)
        t_ns = step * 100_000_000
        alone.update(["ue"], [t_ns], fixes[:1], covariances[:1])
        together.update([f"{number}/ue" for number in range(5)], [t_ns] * 5, fixes, covariances)
    one, other = alone.track("ue"), together.track("0/ue")
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.covariance, other.covariance)
    np.testing.assert_array_equal(one.position_m, other.position_m)


@pytest.mark.parametrize("bits", [1, 3, 8, 10, 16])
def test_many_messages_are_packed_like_one(bits: int) -> None:
    indices = np.random.default_rng(3).integers(0, 1 << bits, (5, 77)).astype(np.uint16)
    assert pack_many(indices, bits) == [pack(row, bits) for row in indices]


def test_a_damaged_cache_costs_time_and_one_line(cache: Path) -> None:
    scenario = Scenario.load(SPIRAL, ["duration=0.2 s"])
    model = model_of(scenario)
    good, _ = embeddings_of(scenario, model, channel_of)
    file = cache / "fronthaul-sim" / "embeddings" / f"{embeddings_key(scenario, model.digest)}.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.warns(CacheWarning, match=r"cannot be used, computing again: "):
        again, was_there = embeddings_of(scenario, model, channel_of)
    assert not was_there
    np.testing.assert_array_equal(again.latent["ue1"], good.latent["ue1"])


def test_what_does_not_decide_embeddings_shares_them() -> None:
    def key(*changes: str) -> str:
        return embeddings_key(Scenario.load(SPIRAL, changes), b"weights!")

    base = key()
    for change in ("cu.deadline=9 ms", "model.bits=3", "tracker.gate=0.9", "fronthaul.default.latency=2 ms"):
        assert key(change) == base
    for change in ("seed=2", "duration=2 s", "clock=synchronised", "ues.ue1.trajectory.turns=2"):
        assert key(change) != base
    assert embeddings_key(Scenario.load(SPIRAL), b"others!!") != base
