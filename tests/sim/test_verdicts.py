"""Claims are held against figures."""

from typing import Any

import pytest

from sim.verdicts import learning, verdicts


def row(system: str, bits: int, mean_m: float, **others: Any) -> dict[str, Any]:
    usual = {"split": "random", "subset": "served", "missing": "0", "e90_m": 2 * mean_m, "anees": 1.0}
    known = {
        "system": system,
        "payload_bits": bits,
        "mean_m": mean_m,
        "by_missing": {},
        "samples_trained": 100,
    }
    return known | usual | others


def said(*rows: dict[str, Any]) -> dict[str, bool]:
    return {verdict.claim.partition(",")[0]: verdict.holds for verdict in verdicts(rows)}


def test_the_best_that_fits_is_compared() -> None:
    ours = [row("ecc-r", 7680, 1.0), row("ecc-r at 4 bits", 3072, 1.2), row("ecc-r at 96 numbers", 960, 1.3)]
    found = said(*ours, row("csi-mean-bfp9", 3584, 1.25), row("ecc-q4", 3072, 1.1), row("ecc-q10", 7680, 1.1))
    assert found["better than slots averaged and sent in block floating point"]
    assert not found["ecc-r at least as good as ecc-q4"]
    assert found["ecc-r at least as good as ecc-q10"]
    assert not found["ecc-r as good as the paper in its city"]
    assert not said(*ours, row("csi-mean-bfp9", 3584, 1.15))[
        "better than slots averaged and sent in block floating point"
    ]


def test_the_worst_choice_decides() -> None:
    calm = {f"bs{k}": {"mean_m": 1.1, "anees": 1.0} for k in range(1, 6)}
    growth = "ecc-r: with any one base station missing"
    alone = said(row("ecc-r", 7680, 1.0), row("ecc-r", 7680, 1.1, missing="1", by_missing=calm))
    assert alone[growth]
    one_bad = calm | {"bs6": {"mean_m": 1.3, "anees": 1.3}}
    found = verdicts([row("ecc-r", 7680, 1.0), row("ecc-r", 7680, 1.13, missing="1", by_missing=one_bad)])
    by_claim = {verdict.claim: verdict for verdict in found}
    assert not by_claim[
        "ecc-r: with any one base station missing, the mean error grows by less than a quarter"
    ].holds
    boast = by_claim["ecc-r, any one missing: ANEES within 0.8 and 1.25"]
    assert str(boast) == "no: ecc-r, any one missing: ANEES within 0.8 and 1.25 (1.00 to 1.30)"


def test_sites_in_sight_explain_how_the_error_grows() -> None:
    """Of two sites one is gone: half of the points that saw one see none, those that saw two see one."""
    sites = {
        "0": {"points": 10, "mean_m": 8.0},
        "1": {"points": 20, "mean_m": 2.0},
        "2": {"points": 80, "mean_m": 1.0},
    }
    calm = {f"bs{k}": {"mean_m": 3.0, "anees": 1.0} for k in (1, 2)}
    rows = [
        row("ecc-r", 7680, 2.0, by_sites_in_sight=sites),
        row("ecc-r", 7680, 3.0, missing="1", by_missing=calm),
    ]
    (growth,) = (verdict.figures for verdict in verdicts(rows) if "missing, the mean" in verdict.claim)
    # (20 / 2 * 6 m + 80 * 1 m) of (80 + 40 + 80) m
    assert growth.endswith("; by 70% if each point erred as those with one site in sight less")


def test_rows_of_other_splits_and_systems_do_not_count() -> None:
    assert verdicts([row("ecc-r", 7680, 1.0, split="blocked"), row("music", 80, 1.0, anees=None)]) == []


def test_two_budgets_predict_a_third() -> None:
    few, many = (
        row("ecc-r-equal", 7680, 1.92, samples_trained=1_000),
        row("ecc-r", 7680, 0.96, samples_trained=4_000),
    )
    assert learning([few, many]) == (
        "1.92 m after 1,000 samples, 0.96 m after 4,000 samples: as samples^−0.50, "
        "which makes 0.48 m a matter of some 16,000 samples."
    )
    assert learning([many]) is None
    better = row("ecc-r", 7680, 0.45, samples_trained=1_000 * (1.92 / 0.45) ** 2)
    assert "makes 0.30 m a matter of some 41,000 samples" in str(learning([few, better]))


@pytest.mark.parametrize("anees", [0.79, 1.26])
def test_claims_may_be_too_small_or_too_large(anees: float) -> None:
    found = said(row("ecc-r", 7680, 0.4, anees=anees))
    assert found == {"ecc-r as good as the paper in its city": True, "ecc-r": False}


def test_the_best_of_both_models_is_held_to_the_next_aim() -> None:
    def aim(*rows: dict[str, Any]) -> str:
        (found,) = (verdict for verdict in verdicts(rows) if "at most 0.30 m" in verdict.claim)
        return str(found)

    ours = [row("ecc-r", 7680, 0.2), row("ecc-r at 4 bits", 3072, 0.5)]
    claim = "at most 0.30 m on average with no more than 3,072 bits"
    assert aim(*ours) == f"no: {claim} (0.50 m with 3,072 bits, ecc-r)"
    assert aim(*ours, row("ecc-r-map", 3072, 0.25)) == f"yes: {claim} (0.25 m with 3,072 bits, ecc-r-map)"
    assert aim(*ours, row("ecc-r-map", 3840, 0.2)).startswith("no")
