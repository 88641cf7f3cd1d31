"""Each snapshot makes one row, a fix or missed, with what it was off by and how old everything was."""

from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from nodes import Fix, Outcome, Track
from sim.fix_book import FixBook, Snapshot
from sim.run_folder import SCHEMAS

MS = 1_000_000
SPREAD_M2 = np.array([[4.0, 0.1, 0.2], [0.1, 5.0, 0.3], [0.2, 0.3, 6.0]])
TRUE_M = np.array([10.0, 20.0, 30.0])


def track(ue: str, t_ns: int) -> Track:
    covariance = np.eye(6)
    covariance[:3, :3] = 2 * SPREAD_M2
    return Track(ue, t_ns, TRUE_M + np.array([0, 0, 0.5]), np.array([1.0, 2.0, 3.0]), covariance, t_ns, False)


def fix(ue: str, t_ms: int, t_fix_ms: int, *, tracked: bool = True) -> Fix:
    return Fix(
        ue=ue,
        seq=0,
        t_sample_ns=t_ms * MS,
        t_fix_ns=t_fix_ms * MS,
        position_m=TRUE_M + np.array([3.0, 0.0, -4.0]),
        covariance_m2=SPREAD_M2,
        bs_used=("bs1", "bs3"),
        ages_ns=MappingProxyType({}),
        revision=0,
        outcome=Outcome.ACCEPTED,
        track=track(ue, t_ms * MS) if tracked else None,
    )


class Written:
    """A book and what it wrote."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.book = FixBook(lambda row: self.rows.append(dict(zip(SCHEMAS["fixes"].names, row, strict=True))))

    def open(self, ue: str, *times_ms: int) -> None:
        for seq, t_ms in enumerate(times_ms):
            self.book.open(Snapshot(ue, seq, t_ms * MS, TRUE_M))


def test_a_fix_beside_the_truth() -> None:
    written = Written()
    written.open("ue1", 100)
    snapshot = written.book.fix(fix("ue1", 100, 130))
    assert snapshot is not None
    assert snapshot.seq == 0
    (row,) = written.rows
    pairs = ("xx", "xy", "xz", "yy", "yz", "zz")
    assert (row["ue"], row["t_sample_ns"], row["t_fix_ns"], row["missed"]) == (
        "ue1",
        100 * MS,
        130 * MS,
        False,
    )
    assert [row[f"{axis}_m"] for axis in "xyz"] == [13.0, 20.0, 26.0]
    assert [row[f"cov_{pair}"] for pair in pairs] == [4.0, 0.1, 0.2, 5.0, 0.3, 6.0]
    assert [row[f"track_{axis}_m"] for axis in "xyz"] == [10.0, 20.0, 30.5]
    assert [row[f"track_v{axis}_mps"] for axis in "xyz"] == [1.0, 2.0, 3.0]
    assert [row[f"track_cov_{pair}"] for pair in pairs] == [8.0, 0.2, 0.4, 10.0, 0.6, 12.0]
    assert [row[f"true_{axis}_m"] for axis in "xyz"] == [10.0, 20.0, 30.0]
    assert (row["error_3d_m"], row["track_error_3d_m"]) == (5.0, 0.5)
    assert (row["bs_used"], row["num_bs"]) == ("bs1,bs3", 2)
    assert row["latency_s"] == pytest.approx(0.03)
    assert row["age_s"] is None


def test_a_miss_has_a_track_at_most() -> None:
    written = Written()
    written.open("ue1", 0, 100)
    assert written.book.miss("ue1", 0, 50 * MS, None) is not None
    assert written.book.miss("ue1", 100 * MS, 150 * MS, track("ue1", 100 * MS)) is not None
    bare, coasted = written.rows
    assert {key for key, value in bare.items() if value is not None} == {
        *("ue", "seq", "t_sample_ns", "t_fix_ns", "true_x_m", "true_y_m", "true_z_m"),
        *("bs_used", "num_bs", "missed"),
    }
    assert (bare["bs_used"], bare["num_bs"], bare["missed"], bare["t_fix_ns"]) == ("", 0, True, 50 * MS)
    assert (written.book.fixes, written.book.missed) == (0, 2)
    assert (coasted["error_3d_m"], coasted["track_error_3d_m"]) == (None, 0.5)


def test_the_age_is_that_of_the_freshest_earlier_fix_of_the_same_ue() -> None:
    written = Written()
    written.open("ue1", 0, 100, 200, 300)
    written.open("ue2", 200)
    written.book.fix(fix("ue1", 100, 130))  # nothing before it
    written.book.fix(fix("ue1", 0, 140))  # late: what is known is of 100 ms
    written.book.miss("ue1", 200 * MS, 250 * MS, None)
    written.book.fix(fix("ue2", 200, 260))
    written.book.fix(fix("ue1", 300, 330))
    assert (written.book.fixes, written.book.missed) == (4, 1)
    assert [row["age_s"] for row in written.rows] == pytest.approx([None, 0.04, 0.15, None, 0.23])


def test_a_snapshot_closes_once() -> None:
    written = Written()
    written.open("ue1", 0, 100)
    book = written.book
    assert book.still_open == 2
    assert book.fix(fix("ue1", 0, 30)) is not None
    assert book.fix(fix("ue1", 0, 60)) is None  # revises it
    assert book.miss("ue1", 0, 70 * MS, None) is None
    assert book.snapshot("ue1", 0) is None
    assert book.snapshot("ue1", 100 * MS) is not None
    assert book.miss("ue1", 100 * MS, 150 * MS, None) is not None
    assert book.miss("ue1", 100 * MS, 150 * MS, None) is None
    assert book.fix(fix("ue1", 100, 160)) is None
    assert (book.fixes, book.missed, book.still_open, len(written.rows)) == (1, 1, 0, 2)
