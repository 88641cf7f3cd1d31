"""Figures of a run against closed forms."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.metrics import (
    Ages,
    FrameCounts,
    age_of_information,
    error_figures,
    nees,
    summarise_fixes,
    summarise_frames,
)
from sim.run_folder import SCHEMAS, TableName

SECOND = 1_000_000_000


class Cut:
    """Tables in memory, in pieces of so many rows: figures have to be put together from them."""

    def __init__(self, name: TableName, rows: list[dict[str, Any]], rows_per_piece: int) -> None:
        self._name, self._rows_per_piece = name, rows_per_piece
        values = [{column: row.get(column) for column in SCHEMAS[name].names} for row in rows]
        self._table = pa.Table.from_pylist(values, SCHEMAS[name])

    def batches(self, name: TableName, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        assert name == self._name
        table = self._table if columns is None else self._table.select(columns)
        yield from table.to_batches(max_chunksize=self._rows_per_piece)


def fixes(rows: list[dict[str, Any]], rows_per_piece: int = 2) -> Cut:
    return Cut("fixes", rows, rows_per_piece)


def frames(rows: list[dict[str, Any]], rows_per_piece: int = 2) -> Cut:
    return Cut("frames", rows, rows_per_piece)


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


def test_errors_by_direction() -> None:
    rows = [fix(0, (3.0, 4.0, 0.0)), fix(1, (0.0, 0.0, -2.0)), fix(2, (0.0, 0.0, 2.0))]
    summary = summarise_fixes(fixes(rows), end_ns=SECOND)
    assert summary["fix_error_3d_mean_m"] == pytest.approx(3.0)
    assert summary["fix_error_3d_e50_m"] == pytest.approx(2.0)
    assert summary["fix_error_3d_e90_m"] == pytest.approx(4.4)
    assert summary["fix_error_h_e50_m"] == pytest.approx(0.0)
    assert summary["fix_error_v_e90_m"] == pytest.approx(2.0)
    assert summary["track_error_3d_mean_m"] == pytest.approx(1.5)
    assert summary["fixes"] == 3
    assert summary["latency_p50_s"] == pytest.approx(0.05)


def test_every_figure_of_errors_is_of_its_own_direction_and_share() -> None:
    error_m = np.array([(3.0 * k, 4.0 * k, -12.0 * k) for k in range(11)])
    assert error_figures("fix", error_m) == pytest.approx(
        {"fix_3d_mean_m": 65, "fix_3d_e50_m": 65, "fix_3d_e90_m": 117}
        | {"fix_h_e50_m": 25, "fix_h_e90_m": 45, "fix_v_e50_m": 60, "fix_v_e90_m": 108}
    )
    with_gaps = np.concatenate([error_m, [(np.nan, 0, 0), (0, 0, np.nan)]])
    assert error_figures("fix", with_gaps) == error_figures("fix", error_m)


def test_latencies_of_fixes_and_peak_ages_by_share() -> None:
    rows = [fix(k, (0.0, 0.0, 0.0), latency_s=0.01 * k) for k in range(101)]
    summary = summarise_fixes(fixes(rows), end_ns=10 * SECOND + SECOND // 20)
    assert (summary["latency_p50_s"], summary["latency_p99_s"]) == pytest.approx((0.5, 0.99))
    # Every age from 0.05 to 0.15 s is as frequent as any other.
    assert (summary["age_p50_s"], summary["age_p99_s"]) == pytest.approx((0.1, 0.149))


def test_missed_snapshots_are_counted_but_carry_no_error() -> None:
    summary = summarise_fixes(fixes([fix(0, (1.0, 0.0, 0.0)), missed(1), missed(2)]), end_ns=SECOND)
    assert (summary["fixes"], summary["fixes_missed"]) == (1, 2)
    assert summary["fix_error_3d_mean_m"] == pytest.approx(1.0)
    assert summary["latency_p99_s"] == pytest.approx(0.05)


def test_without_any_fix_every_figure_is_none() -> None:
    summary = summarise_fixes(fixes([missed(0)]), end_ns=SECOND)
    assert summary["fixes"] == 0
    figures = {key: value for key, value in summary.items() if not key.startswith("fixes")}
    assert set(figures.values()) == {None}


def test_anees_is_one_when_the_error_is_the_claimed_one() -> None:
    summary = summarise_fixes(fixes([fix(0, (2.0, -2.0, 2.0))]), end_ns=SECOND)
    assert summary["fix_anees"] == pytest.approx(1.0)
    assert summary["track_anees"] == pytest.approx(1.0)


def test_anees_takes_in_how_errors_hang_together() -> None:
    covariance_m2 = np.array([[4.0, 1.0, -0.5], [1.0, 3.0, 0.25], [-0.5, 0.25, 2.0]])
    pairs = zip(("xx", "xy", "xz", "yy", "yz", "zz"), covariance_m2[np.triu_indices(3)], strict=True)
    claimed = {f"cov_{pair}": float(value) for pair, value in pairs}
    errors = [(1.0, 2.0, 3.0), (-2.0, 0.5, 1.0), (0.0, 0.0, -1.0)]
    summary = summarise_fixes(
        fixes([*(fix(k, error, **claimed) for k, error in enumerate(errors)), missed(3)]),
        end_ns=SECOND,
    )
    squared = [np.array(error) @ np.linalg.inv(covariance_m2) @ np.array(error) for error in errors]
    assert summary["fix_anees"] == pytest.approx(sum(squared) / 9)
    # The track is half as far off and claims a quarter of a covariance of 4 m² without any of that.
    assert summary["track_anees"] == pytest.approx(sum(np.square(errors).sum(axis=1)) / 4 / 9)


def test_nees_averages_three_for_draws_from_the_covariance() -> None:
    generator = np.random.default_rng(1)
    factor = np.array([[2.0, 0, 0], [1.0, 1.0, 0], [0.5, -1.0, 3.0]])
    errors = generator.standard_normal((20_000, 3)) @ factor.T
    covariance = np.broadcast_to(factor @ factor.T, (20_000, 3, 3))
    assert nees(errors, covariance).mean() == pytest.approx(3.0, abs=0.1)


class TestAgeOfInformation:
    """The age is a sawtooth: it grows by one second per second and falls to the latency at each fix."""

    def test_periodic_fixes(self) -> None:
        # Fixes every 0.1 s with latency 0.05 s: the age is uniform between 0.05 and 0.15 s.
        folder = fixes([fix(seq, (0.0, 0.0, 0.0)) for seq in range(100)])
        ages = age_of_information(folder, end_ns=99 * SECOND // 10 + SECOND // 20)
        assert ages.quantile(0.5) == pytest.approx(0.10)
        assert ages.quantile(0.99) == pytest.approx(0.149)
        assert ages.quantile(0.0) == pytest.approx(0.05)
        assert ages.quantile(1.0) == pytest.approx(0.15)

    def test_a_gap_ages_on(self) -> None:
        folder = fixes([fix(0, (0.0, 0.0, 0.0)), *(missed(seq) for seq in range(1, 10))])
        ages = age_of_information(folder, end_ns=SECOND)
        assert ages.quantile(1.0) == pytest.approx(1.0)
        assert ages.quantile(0.5) == pytest.approx((0.05 + 1.0) / 2)

    def test_what_is_known_after_the_end_does_not_count(self) -> None:
        late = fix(1, (0.0, 0.0, 0.0), t_fix_ns=2 * SECOND)
        folder = fixes([fix(0, (0.0, 0.0, 0.0)), late])
        ages = age_of_information(folder, end_ns=SECOND)
        assert ages.quantile(1.0) == pytest.approx(1.0)
        assert ages.quantile(0.5) == pytest.approx((0.05 + 1.0) / 2)
        assert age_of_information(folder, end_ns=SECOND // 20).quantile(0.5) is None

    def test_a_late_older_fix_makes_nothing_fresher(self) -> None:
        late = fix(0, (0.0, 0.0, 0.0), t_fix_ns=3 * SECOND // 10)
        folder = fixes([fix(1, (0.0, 0.0, 0.0)), late])
        ages = age_of_information(folder, end_ns=SECOND)
        assert ages.quantile(1.0) == pytest.approx(0.9)

    def test_ues_are_pooled(self) -> None:
        """One UE's only fix took 0.1 s, the other's 0.5 s: 0.9 s and 0.5 s in which they age to 1 s."""
        fix_ns = {"ue1": SECOND // 10, "ue2": SECOND // 2}
        rows = [fix(0, (0.0, 0.0, 0.0), ue=ue, t_fix_ns=t_ns) for ue, t_ns in fix_ns.items()]
        ages = age_of_information(fixes(rows), end_ns=SECOND)
        assert ages.quantile(0.0) == pytest.approx(0.1)
        assert ages.quantile(0.2) == pytest.approx(0.1 + 0.2 * 1.4)
        assert ages.quantile(0.5) == pytest.approx((0.1 + 0.5 + 0.7) / 2)
        assert ages.quantile(1.0) == pytest.approx(1.0)

    @pytest.mark.parametrize("rows_per_piece", [1, 2, 3, 7, 100])
    def test_neither_order_nor_parts_of_a_table_matter(self, rows_per_piece: int) -> None:
        rows = []
        for ue, after in (("ue2", SECOND // 5), ("ue1", SECOND // 20), ("ue3", SECOND // 4)):
            for seq in range(6):
                row = fix(seq, (0.0, 0.0, 0.0), ue=ue)
                rows.append(row | {"t_fix_ns": row["t_sample_ns"] + after})
        rows.sort(key=lambda row: (row["t_fix_ns"], row["ue"] != "ue3"))
        ages = age_of_information(fixes(rows, rows_per_piece), end_ns=SECOND)
        length_s = np.sort(ages.stop_s - ages.start_s)
        # Five tenths of a second between fixes of each UE, and from its last one to the end.
        assert length_s[length_s > 0] == pytest.approx(sorted([0.1] * 15 + [0.45, 0.3, 0.25]))
        assert sorted(set(np.round(ages.start_s[ages.stop_s > ages.start_s], 9))) == [0.05, 0.2, 0.25]
        assert ages.quantile(1.0) == pytest.approx(0.5)

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


def test_frames_by_fate_in_all_and_per_bs() -> None:
    silent = frame("bs2", "dropped", "bs_down", payload_bits=0, wire_bits=0, t_publish_ns=None)
    rows = [frame("bs1", "delivered"), frame("bs1", "dropped", "loss"), frame("bs2", "in_flight"), silent]
    summary = summarise_frames(frames(rows, rows_per_piece=3), csi_bits=122_880)
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


def test_figures_of_each_bs_are_of_its_own_frames() -> None:
    rows = [
        frame("bs1", "delivered", t_arrival_ns=SECOND // 100 * k, payload_bits=1000 * k, wire_bits=2000 * k)
        for k in range(1, 5)
    ]
    rows += [frame("bs2", "delivered", t_sample_ns=SECOND, t_arrival_ns=3 * SECOND, used=False)]
    rows += [frame("bs2", "dropped", "late", t_sample_ns=SECOND, t_arrival_ns=7 * SECOND)]
    summary = summarise_frames(frames(rows), csi_bits=10_000)
    one, two = (summary["frames"]["per_bs"][bs] for bs in ("bs1", "bs2"))
    assert (one["used"], two["used"]) == (4, 0)
    assert (one["payload_ratio"], one["wire_ratio"]) == pytest.approx((0.25, 0.5))
    assert (two["payload_ratio"], two["wire_ratio"]) == pytest.approx((0.768, 0.85))
    assert (one["delay_p50_s"], one["delay_p99_s"]) == pytest.approx((0.025, 0.0397))
    assert (two["delay_p50_s"], two["delay_p99_s"]) == pytest.approx((4.0, 5.96))
    assert (summary["payload_bits"], summary["wire_bits"]) == (10_000 + 15_360, 20_000 + 17_000)
    assert summary["wire_ratio"] == pytest.approx(37_000 / 6 / 10_000)
    assert summarise_frames(frames(rows), csi_bits=0)["wire_ratio"] is None


def test_counts_add_up() -> None:
    counts = FrameCounts()
    for _ in range(2):
        counts.add("delivered", None, 3)
        counts.add("in_flight", None, 2)
        counts.add("dropped", "loss")
        counts.add("dropped", "late", 4)
    assert counts == FrameCounts(20, 6, 4, {"loss": 2, "late": 8})
    assert counts.as_dict() == {"sent": 20, "delivered": 6, "in_flight": 4, "dropped": {"late": 8, "loss": 2}}
    assert counts.conserved


def test_counts_notice_a_frame_too_many() -> None:
    counts = FrameCounts()
    counts.add("delivered", None, 3)
    counts.add("dropped", "loss", 2)
    counts.add("in_flight", None)
    assert counts.conserved
    counts.sent += 1
    assert not counts.conserved
