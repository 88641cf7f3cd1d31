"""Judging models: figures against closed forms, intervals that cover, one row for everything asked."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console
from typer.testing import CliRunner

from sim.channel.held_out import held_out
from sim.cli.app import app
from sim.engine import opener
from sim.errors import UserError
from sim.evaluate import (
    Estimates,
    estimate,
    evaluate,
    figures,
    intervals,
    stretches,
    write_json,
)
from sim.evaluate_text import metres, print_rows
from sim.missing import Missing
from sim.scenario.scenario import Clock
from sim.systems import (
    EmbeddingSystem,
    EvaluationError,
    System,
    embedding_systems,
    kept_encodings,
    shipped_models,
    systems_named,
)

Array = npt.NDArray[Any]
ASKED = {
    "system",
    "split",
    "subset",
    "payload_bits",
    "wire_bits",
    "mean_m",
    "e90_m",
    "h90_m",
    "v90_m",
    "anees",
    "samples_trained",
}
STRONG = 3


class Compass:
    """Says always nearly the same place; its latents are how loud subcarriers are, so bits matter a bit."""

    bs_ids = tuple(f"bs{k}" for k in range(1, 7))
    csi_shape = (10, 8, 24)
    dims, bits = 24, 10
    digest = b"compass!"

    def __init__(self) -> None:
        self.steps = np.full(6, 0.01)
        self.seen: list[int] = []

    def encode_many(
        self, bs: str, pilots: Array, noise_variance: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        self.seen.append(len(pilots))
        power = (abs(pilots) ** 2).mean(axis=(1, 2))
        gain_db = 10 * np.log10(power.mean(axis=1) / noise_variance)
        return np.tanh(power / noise_variance / 100).astype(np.float32), gain_db

    def fuse(self, latents: Array, gain_db: Array, present: Array) -> tuple[Array, Array]:
        place = np.array([30.0, 60.0, 10.0]) + latents.mean(axis=(1, 2))[:, None]
        return place, np.tile(np.diag([60.0**2, 80.0**2, 8.0**2]), (len(latents), 1, 1))


def system_of(name: str, model: Compass, bits: int, samples: int | None = None) -> EmbeddingSystem:
    """All numbers, with so many bits."""
    return EmbeddingSystem(name, model, kept_encodings(model), bits, model.dims, samples)


class Oracle:
    """Knows the truth but for a metre per missing base station, and claims nothing: no model at all."""

    name = "oracle"
    payload_bits, wire_bits, samples_trained = 8, 500, None
    csi_shape, num_bs = (10, 8, 24), 6

    def __init__(self, position_m: Array) -> None:
        self.position_m = position_m

    def estimate(self, pilots: Array, noise_variance: Array, present: Array) -> tuple[Array, None]:
        assert pilots.shape[1:] == (6, 10, 8, 24)
        assert noise_variance.shape == (6,)
        rows = self.position_m[: len(pilots)]
        return rows + (~present).sum(axis=1)[:, None] * np.array([1.0, 0.0, 0.0]), None


def gaussian(count: int, sigma_m: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Estimates:
    """Errors whose covariance is honest."""
    draws = np.random.default_rng(4)
    scale = np.array(sigma_m)
    return Estimates(draws.standard_normal((count, 3)) * scale, np.tile(np.diag(scale**2), (count, 1, 1)))


def test_figures_of_honest_errors_are_those_of_a_gaussian() -> None:
    found = figures(gaussian(200_000))
    expected = {
        "mean_m": (8 / np.pi) ** 0.5,
        "e50_m": 2.366**0.5,
        "e90_m": 6.251**0.5,
        "h50_m": (2 * np.log(2)) ** 0.5,
        "h90_m": (2 * np.log(10)) ** 0.5,
        "v50_m": 0.6745,
        "v90_m": 1.6449,
        "availability": (1 - np.exp(-0.5)) * 0.9973,
        "anees": 1.0,
        "coverage_h95": 0.95,
        "coverage_v95": 0.95,
    }
    assert found == {name: pytest.approx(value, rel=0.01) for name, value in expected.items()}


def test_boasting_shows() -> None:
    honest = gaussian(20_000, (3.0, 2.0, 1.0))
    assert honest.covariance_m2 is not None
    boasting = figures(Estimates(honest.error_m, honest.covariance_m2 / 4))
    assert boasting["anees"] == pytest.approx(4.0, rel=0.05)
    assert boasting["coverage_h95"] == pytest.approx(1 - np.exp(-5.991 / 8), abs=0.02)
    assert boasting["coverage_v95"] == pytest.approx(0.673, abs=0.02)


def test_intervals_are_as_wide_as_theory_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.evaluate.RESAMPLES", 500)
    estimates = gaussian(2_000)
    low, high = intervals(estimates, np.arange(2_000), np.random.default_rng(1))["mean_m"]
    spread = (3 - 8 / np.pi) ** 0.5 / 2_000**0.5
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert low < np.linalg.norm(estimates.error_m, axis=1).mean() < high


def test_what_belongs_together_is_drawn_together() -> None:
    """Twenty ways with one error each: no more certain for a hundred snapshots on each."""
    ways = gaussian(20)
    repeated = ways.take(np.repeat(np.arange(20), 100))
    low, high = intervals(repeated, np.repeat(np.arange(20), 100), np.random.default_rng(1))["mean_m"]
    few = intervals(ways, np.arange(20), np.random.default_rng(1))["mean_m"]
    assert [low, high] == pytest.approx(few, rel=0.05)
    assert intervals(repeated, np.zeros(2_000, int), np.random.default_rng(1)) == {}
    mixed = np.random.default_rng(2).permutation(2_000)
    group = np.repeat(np.arange(20), 100)[mixed]
    assert intervals(repeated.take(mixed), group, np.random.default_rng(1))["mean_m"] == pytest.approx(
        few, rel=0.05
    )


def test_few_groups_give_no_interval() -> None:
    """Two trajectories would give one as narrow as chance has put them together."""
    estimates, groups = gaussian(600), np.arange(600) % 5
    assert intervals(estimates, groups, np.random.default_rng(1)) == {}
    assert "mean_m" in intervals(estimates, np.arange(600) % 6, np.random.default_rng(1))


def test_stretches_follow_each_other() -> None:
    assert stretches(np.array([5, 0, 7]), np.array([2, 3, 1])).tolist() == [5, 6, 0, 1, 2, 7]


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Enough to see that they are drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.evaluate.RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    model = Compass()
    systems = [system_of("compass", model, 10, 0), system_of("compass at 2 bits", model, 2)]
    return evaluate(systems, points=80)


def test_there_is_a_row_for_each_system_split_and_subset(rows: list[dict[str, Any]]) -> None:
    assert [(row["system"], row["split"], row["subset"]) for row in rows] == [
        (system, split, subset)
        for split in ("random", "blocked", "trajectory")
        for system in ("compass", "compass at 2 bits")
        for subset in ("served", "all")
    ]
    for row in rows:
        assert row.keys() >= ASKED
        assert row["points"] <= 80
        assert sum(part["points"] for part in row["by_sites_in_sight"].values()) == row["points"]
        low, high = row["intervals"]["mean_m"]
        assert low < row["mean_m"] < high
        assert (row["clock"], row["seed"]) == ("ue_unknown", 1)


def test_rows_tell_what_it_costs(rows: list[dict[str, Any]]) -> None:
    fine, coarse = rows[0], rows[2]
    assert (fine["payload_bits"], coarse["payload_bits"]) == (240, 48)
    assert fine["payload_ratio"] == 240 / (10 * 8 * 24 * 64)
    assert fine["wire_bits"] - fine["payload_bits"] == coarse["wire_bits"] - coarse["payload_bits"]
    assert 54 * 8 < fine["wire_bits"] - fine["payload_bits"] < 200 * 8
    assert (fine["samples_trained"], coarse["samples_trained"]) == (0, None)


def test_the_same_seed_gives_the_same_rows(rows: list[dict[str, Any]]) -> None:
    again = evaluate([system_of("compass", Compass(), 10, 0)], ["blocked"], points=80)
    wanted = [row for row in rows if row["system"] == "compass" and row["split"] == "blocked"]
    assert json.dumps(again) == json.dumps(wanted)
    other = evaluate([system_of("compass", Compass(), 10, 0)], ["blocked"], points=80, seed=2)
    assert other[0]["mean_m"] != wanted[0]["mean_m"]


def test_pilots_are_made_and_encoded_once_for_all_bits() -> None:
    model = Compass()
    snapshots = held_out("random", clock=Clock(kind="synchronised")).thinned(30)
    shares: list[float] = []
    encodings = kept_encodings(model)
    systems = [EmbeddingSystem("a", model, encodings, bits, 24) for bits in (10, 8, 6)]
    estimate(systems, snapshots, [Missing(), Missing(count=1)], done=shares.append)
    assert model.seen == [30] * 6
    assert shares == [1.0]


def test_a_model_that_does_not_fit_or_gives_no_number_is_told() -> None:
    snapshots = held_out("blocked", clock=Clock(kind="ue_unknown")).thinned(3)
    narrow = Compass()
    narrow.csi_shape = (10, 8, 12)
    with pytest.raises(EvaluationError, match=r"6 base stations and CSI \[10, 8, 12\] cannot be judged"):
        estimate([system_of("narrow", narrow, 10)], snapshots)

    class Lost(Compass):
        def fuse(self, latents: Array, gain_db: Array, present: Array) -> tuple[Array, Array]:
            position, covariance = super().fuse(latents, gain_db, present)
            return position * np.nan, covariance

    with pytest.raises(EvaluationError, match="lost: positions or covariances that are not numbers"):
        estimate([system_of("lost", Lost(), 10)], snapshots)
    with pytest.raises(EvaluationError, match="bits must be from 1 to 16, not 17"):
        system_of("fat", Compass(), 17)
    with pytest.raises(EvaluationError, match="dims must be from 1 to 24, not 25"):
        EmbeddingSystem("long", Compass(), kept_encodings(Compass()), 10, 25)


def test_any_system_is_judged_and_who_claims_nothing_has_no_honesty() -> None:
    snapshots = held_out("blocked", clock=Clock(kind="ue_unknown")).thinned(20)
    oracle: System = Oracle(snapshots.position_m)
    cases = [Missing(), Missing(bs="bs3", count=1), Missing(count=1), Missing(count=3)]
    rows = [
        row for row in evaluate([oracle], ["blocked"], missing=cases, points=20) if row["subset"] == "all"
    ]
    assert [row["missing"] for row in rows] == ["0", "bs3", "1", "3"]
    assert [row["mean_m"] for row in rows] == [pytest.approx(number) for number in (0, 1, 1, 3)]
    for row in rows:
        assert row["points"] == sum(part["points"] for part in row["by_sites_in_sight"].values()) == 20
        assert row["anees"] is row["coverage_h95"] is row["coverage_v95"] is None
        assert "anees" not in row["intervals"]
    assert list(rows[2]["by_missing"]) == ["bs1", "bs2", "bs3", "bs4", "bs5", "bs6"]
    assert rows[0]["by_missing"] == rows[1]["by_missing"] == {}
    stream = io.StringIO()
    print_rows(rows, Console(width=80, file=stream))
    assert "oracle, one missing in turn: 8 bits" in stream.getvalue()
    assert "oracle, 3 missing: 8 bits" in stream.getvalue()


def test_other_processes_give_the_same_rows() -> None:
    judged = [
        evaluate(
            [*embedding_systems(["ecc-r"], [4, 10]), *systems_named(["music"])],
            ["random"],
            missing=[Missing(), Missing(count=1)],
            points=260,
            open_engine=open_engine,
        )
        for open_engine in (None, opener("pool", None, 2))
    ]
    assert judged[0] == judged[1]


def test_numbers_that_are_not_sent_count_as_zero() -> None:
    model = Compass()
    short = EmbeddingSystem("short", model, kept_encodings(model), 10, 6)
    latents = np.random.default_rng(1).uniform(-1, 1, (4, 6, 24)).astype(np.float32)
    sent = short.sent(latents)
    assert not sent[..., 6:].any()
    np.testing.assert_array_equal(sent[..., :6], system_of("long", model, 10).sent(latents)[..., :6])
    assert short.payload_bits == 60


def test_figures_are_printed_in_eighty_columns(rows: list[dict[str, Any]]) -> None:
    stream = io.StringIO()
    print_rows(rows, Console(width=80, file=stream))
    text = stream.getvalue()
    assert "…" not in text
    assert "compass at 2 bits: 48 bits per base station and snapshot (0.04% of the CSI)" in text
    for row in rows:
        assert metres(row["mean_m"]) in text
    assert [metres(value) for value in (0.126, 9.994, 9.996, 99.94, 99.96, None)] == [
        "0.13",
        "9.99",
        "10.0",
        "99.9",
        "100",
        "–",
    ]


def test_systems_stand_side_by_side_in_one_table_per_split_and_subset(rows: list[dict[str, Any]]) -> None:
    stream = io.StringIO()
    print_rows(rows, Console(width=80, file=stream))
    lines = [line.split() for line in stream.getvalue().splitlines()]
    together = lines[[line[:5] for line in lines].index(["side", "by", "side:", "blocked,", "served,"]) :]
    assert together[1] == ["system", "bits", "mean", "95", "%", "e90", "available", "ANEES"]
    fine, coarse = (row for row in rows if (row["split"], row["subset"]) == ("blocked", "served"))
    assert together[2][:3] == ["compass", "240", metres(fine["mean_m"])]
    assert together[3][:6] == ["compass", "at", "2", "bits", "48", metres(coarse["mean_m"])]
    one = io.StringIO()
    print_rows([row for row in rows if row["system"] == "compass"], Console(width=80, file=one))
    assert "side by side" not in one.getvalue()


def test_json_appears_whole_or_not_at_all(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    write_json(rows, tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text()) == rows
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
    with pytest.raises(UserError, match=r"figures\.json: cannot be written \(No such file"):
        write_json(rows, tmp_path / "none" / "figures.json")


class TestCommandLine:
    """`python -m sim evaluate` with the shipped weights, on a few points."""

    def refused(self, *arguments: str) -> str:
        result = CliRunner().invoke(app, ["evaluate", *arguments])
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1
        return result.stderr

    def test_a_few_points(self, tmp_path: Path) -> None:
        name = shipped_models()[0]
        path = tmp_path / "figures.json"
        arguments = ["evaluate", "--model", name, "--points", "24", "--json", str(path)]
        result = CliRunner().invoke(app, [*arguments, "--bits", "4", "--bits", "10"])
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[-1] == f"figures: {path}"
        rows = json.loads(path.read_text())
        assert len(rows) == 12
        by_name = {(row["system"], row["split"], row["subset"]): row for row in rows}
        every = by_name[name, "random", "all"]
        assert every["payload_bits"] == 7_760
        assert every["payload_ratio"] == 7_760 / 122_880
        assert every["samples_trained"] > 0
        assert every["mean_m"] < 60
        assert by_name[f"{name} at 4 bits", "random", "all"]["payload_bits"] == 3_104

    def test_shipped_models_are_all_judged_unless_some_are_named(self) -> None:
        systems = embedding_systems(shipped_models())
        assert [system.name for system in systems] == shipped_models()
        assert all(system.samples_trained for system in systems)

    def test_systems_by_name(self) -> None:
        name = shipped_models()[0]
        systems = systems_named([name, "music-robust"], bits=(8, 4), dims=(96,))
        labels = [f"{name} at 96 numbers, 8 bits", f"{name} at 96 numbers, 4 bits", "music-robust"]
        assert [system.name for system in systems] == labels
        assert [system.payload_bits for system in systems] == [768, 384, 80]
        assert [system.samples_trained is None for system in systems] == [False, False, True]
        assert {"music", "music-robust", name} <= {system.name for system in systems_named(["all"])}

    def test_mistakes(self) -> None:
        assert (
            self.refused("--split", "tuesday")
            == "unknown split 'tuesday'; one of random, blocked, trajectory\n"
        )
        assert (
            self.refused("--clock", "sundial") == "unknown clock 'sundial'; one of ue_unknown, synchronised\n"
        )
        assert self.refused("--model", "none").startswith("no model 'none' (shipped: ")
        assert self.refused("--system", "none").startswith(
            f"unknown system 'none'; one of {shipped_models()[0]}"
        )
        wanted = "unknown 'bs9' missing; one of bs1, bs2, bs3, bs4, bs5, bs6, or 0 to 5\n"
        assert self.refused("--missing", "bs9") == wanted
        nobody = "--pictures needs a case with nobody missing: --missing 0\n"
        assert self.refused("--missing", "1", "--pictures", "somewhere") == nobody
        assert self.refused("--dims", "1000") == "dims must be from 1 to 776, not 1000\n"
        assert self.refused("--bits", "20") == "bits must be from 1 to 16, not 20\n"
