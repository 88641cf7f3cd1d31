"""Figures of a run against closed forms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.metrics import Ages, FrameCounts, age_of_information, nees, summarise_fixes, summarise_frames
from sim.record import TableWriter
from sim.run_folder import SCHEMAS, RunFolder

SECOND = 1_000_000_000


def fixes(path: Path, rows: list[dict[str, Any]], rows_per_part: int = 2) -> RunFolder:
    return table(path, "fixes", rows, rows_per_part)


def table(path: Path, name: Any, rows: list[dict[str, Any]], rows_per_part: int = 2) -> RunFolder:
    folder = RunFolder.create(path / "run")
    writer = TableWriter(folder, name, rows_per_part=rows_per_part)
    for row in rows:
        writer.append([row.get(column) for column in SCHEMAS[name].names])
    writer.close()
    return folder


def fix(seq: int, error_m: tuple[float, float, float], **values: Any) -> dict[str, Any]:
    sample = seq * SECOND // 10
    truth = {"true_x_m": 10.0, "true_y_m": 20.0, "true_z_m": 30.0}
    row: dict[str, Any] = {"ue": "ue1", "seq": seq, "t_sample_ns": sample, "t_fix_ns": sample + SECOND // 20}
    row |= truth | {"bs_used": "bs1,bs2", "num_bs": 2, "latency_s": 0.05, "missed": False}
    for (key, true), error in zip(truth.items(), error_m, strict=True):
        row[key.replace("true_", "")] = true + error
        row[key.replace("true_", "track_")] = true + error / 2
    for pair, value in zip(("xx", "xy", "xz", "yy", "yz", "zz"), (4.0, 0.0, 0.0, 4.0, 0.0, 4.0), strict=True):
        row[f"cov_{pair}"] = value
        row[f"track_cov_{pair}"] = value / 4
    return row | values


def missed(seq: int) -> dict[str, Any]:
    row = fix(seq, (0.0, 0.0, 0.0), missed=True, latency_s=None, bs_used="", num_bs=0)
    estimates = [key for key in row if key in ("x_m", "y_m", "z_m") or key.startswith(("cov", "track"))]
    return row | dict.fromkeys(estimates)


def test_errors_by_direction(tmp_path: Path) -> None:
    rows = [fix(0, (3.0, 4.0, 0.0)), fix(1, (0.0, 0.0, -2.0)), fix(2, (0.0, 0.0, 2.0))]
    summary = summarise_fixes(fixes(tmp_path, rows), end_ns=SECOND)
    assert summary["fix_error_3d_mean_m"] == pytest.approx(3.0)
    assert summary["fix_error_3d_e50_m"] == pytest.approx(2.0)
    assert summary["fix_error_3d_e90_m"] == pytest.approx(4.4)
    assert summary["fix_error_h_e50_m"] == pytest.approx(0.0)
    assert summary["fix_error_v_e90_m"] == pytest.approx(2.0)
    assert summary["track_error_3d_mean_m"] == pytest.approx(1.5)
    assert summary["fixes"] == 3
    assert summary["latency_p50_s"] == pytest.approx(0.05)


def test_missed_snapshots_are_counted_but_carry_no_error(tmp_path: Path) -> None:
    summary = summarise_fixes(fixes(tmp_path, [fix(0, (1.0, 0.0, 0.0)), missed(1), missed(2)]), end_ns=SECOND)
    assert (summary["fixes"], summary["fixes_missed"]) == (1, 2)
    assert summary["fix_error_3d_mean_m"] == pytest.approx(1.0)
    assert summary["latency_p99_s"] == pytest.approx(0.05)


def test_without_any_fix_every_figure_is_none(tmp_path: Path) -> None:
    summary = summarise_fixes(fixes(tmp_path, [missed(0)]), end_ns=SECOND)
    assert summary["fixes"] == 0
    figures = {key: value for key, value in summary.items() if not key.startswith("fixes")}
    assert set(figures.values()) == {None}


def test_anees_is_one_when_the_error_is_the_claimed_one(tmp_path: Path) -> None:
    summary = summarise_fixes(fixes(tmp_path, [fix(0, (2.0, -2.0, 2.0))]), end_ns=SECOND)
    assert summary["fix_anees"] == pytest.approx(1.0)
    assert summary["track_anees"] == pytest.approx(1.0)


def test_nees_averages_three_for_draws_from_the_covariance() -> None:
    generator = np.random.default_rng(1)
    factor = np.array([[2.0, 0, 0], [1.0, 1.0, 0], [0.5, -1.0, 3.0]])
    errors = generator.standard_normal((20_000, 3)) @ factor.T
    covariance = np.broadcast_to(factor @ factor.T, (20_000, 3, 3))
    assert nees(errors, covariance).mean() == pytest.approx(3.0, abs=0.1)


class TestAgeOfInformation:
    """The age is a sawtooth: it grows by one second per second and falls to the latency at each fix."""

    def test_periodic_fixes(self, tmp_path: Path) -> None:
        # Fixes every 0.1 s with latency 0.05 s: the age is uniform between 0.05 and 0.15 s.
        folder = fixes(tmp_path, [fix(seq, (0.0, 0.0, 0.0)) for seq in range(100)])
        ages = age_of_information(folder, end_ns=99 * SECOND // 10 + SECOND // 20)
        assert ages.quantile(0.5) == pytest.approx(0.10)
        assert ages.quantile(0.99) == pytest.approx(0.149)
        assert ages.quantile(0.0) == pytest.approx(0.05)
        assert ages.quantile(1.0) == pytest.approx(0.15)

    def test_a_gap_ages_on(self, tmp_path: Path) -> None:
        folder = fixes(tmp_path, [fix(0, (0.0, 0.0, 0.0)), *(missed(seq) for seq in range(1, 10))])
        ages = age_of_information(folder, end_ns=SECOND)
        assert ages.quantile(1.0) == pytest.approx(1.0)
        assert ages.quantile(0.5) == pytest.approx((0.05 + 1.0) / 2)

    def test_what_is_known_after_the_end_does_not_count(self, tmp_path: Path) -> None:
        late = fix(1, (0.0, 0.0, 0.0), t_fix_ns=2 * SECOND)
        folder = fixes(tmp_path, [fix(0, (0.0, 0.0, 0.0)), late])
        ages = age_of_information(folder, end_ns=SECOND)
        assert ages.quantile(1.0) == pytest.approx(1.0)
        assert ages.quantile(0.5) == pytest.approx((0.05 + 1.0) / 2)
        assert age_of_information(folder, end_ns=SECOND // 20).quantile(0.5) is None

    def test_a_late_older_fix_makes_nothing_fresher(self, tmp_path: Path) -> None:
        late = fix(0, (0.0, 0.0, 0.0), t_fix_ns=3 * SECOND // 10)
        folder = fixes(tmp_path, [fix(1, (0.0, 0.0, 0.0)), late])
        ages = age_of_information(folder, end_ns=SECOND)
        assert ages.quantile(1.0) == pytest.approx(0.9)

    def test_ues_are_pooled(self, tmp_path: Path) -> None:
        quick = [fix(seq, (0.0, 0.0, 0.0)) for seq in range(10)]
        slow = [row | {"ue": "ue2", "t_fix_ns": row["t_fix_ns"] + SECOND // 2} for row in quick]
        folder = fixes(tmp_path, [row for pair in zip(quick, slow, strict=True) for row in pair])
        ages = age_of_information(folder, end_ns=2 * SECOND)
        assert ages.quantile(0.0) == pytest.approx(0.05)

    @given(
        st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0.001, 1.0)), min_size=1, max_size=20),
        st.floats(0.01, 0.99),
    )
    def test_quantile_is_the_share_of_time(self, pieces: list[tuple[float, float]], share: float) -> None:
        start = np.array([piece[0] for piece in pieces])
        length = np.array([piece[1] for piece in pieces])
        quantile = Ages(start, start + length).quantile(share)
        assert quantile is not None
        below = np.clip(quantile - start, 0.0, length).sum()
        assert below / length.sum() == pytest.approx(share, abs=1e-6)


def frame(bs: str, fate: str, cause: str | None = None, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"bs": bs, "ue": "ue1", "seq": 0, "t_sample_ns": 0, "t_publish_ns": 1, "fate": fate}
    row |= {"cause": cause, "payload_bits": 7680, "wire_bits": 8500, "gain_db": 1.0, "used": False}
    return row | ({"t_arrival_ns": SECOND // 100, "used": True} if fate == "delivered" else {}) | values


def test_frames_by_fate_in_all_and_per_bs(tmp_path: Path) -> None:
    silent = frame("bs2", "dropped", "bs_down", payload_bits=0, wire_bits=0, t_publish_ns=None)
    rows = [frame("bs1", "delivered"), frame("bs1", "dropped", "loss"), frame("bs2", "in_flight"), silent]
    summary = summarise_frames(table(tmp_path, "frames", rows, rows_per_part=3), csi_bits=122_880)
    counts = summary["frames"]
    assert {key: counts[key] for key in ("sent", "delivered", "in_flight", "dropped")} == {
        "sent": 4,
        "delivered": 1,
        "in_flight": 1,
        "dropped": {"bs_down": 1, "loss": 1},
    }
    assert counts["per_bs"]["bs2"]["sent"] == 2
    assert counts["per_bs"]["bs1"]["used"] == 1
    assert counts["per_bs"]["bs1"]["delay_p50_s"] == pytest.approx(0.01)
    assert counts["per_bs"]["bs2"]["delay_p50_s"] is None
    assert summary["payload_ratio"] == pytest.approx(0.0625)
    assert summary["wire_ratio"] == pytest.approx(8500 / 122_880)


def test_counts_notice_a_frame_too_many() -> None:
    counts = FrameCounts()
    counts.add("delivered", None, 3)
    counts.add("dropped", "loss", 2)
    counts.add("in_flight", None)
    assert counts.conserved
    counts.sent += 1
    assert not counts.conserved
