"""Each frame gets one row with its fate, and all frames are accounted for at any time."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.frame import Frame
from sim.frame_ledger import BS_DOWN, LATE, FrameLedger, FrameRow
from sim.metrics import FrameCounts
from sim.run_folder import SCHEMAS


def frame(bs: str, seq: int) -> Frame:
    return Frame(
        run="r",
        bs=bs,
        ue="ue1",
        seq=seq,
        t_sample_ns=seq * 100,
        t_publish_ns=seq * 100 + 2,
        dims=8,
        bits=10,
        step=0.1,
        gain_db=3.0,
        model=bytes(8),
        payload=bytes(10),
    )


def as_mapping(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(SCHEMAS["frames"].names, row, strict=True))


def test_a_frame_that_is_used() -> None:
    rows: list[tuple[Any, ...]] = []
    ledger = FrameLedger(rows.append)
    ledger.owe("bs1", "ue1", 3, 300)
    ledger.publish(frame("bs1", 3), 900)
    ledger.arrive(("bs1", "ue1", 3), 310)
    assert not rows
    ledger.close("ue1", 300, ["bs1"])
    assert [as_mapping(row) for row in rows] == [
        {
            "bs": "bs1",
            "ue": "ue1",
            "seq": 3,
            "t_sample_ns": 300,
            "t_publish_ns": 302,
            "t_arrival_ns": 310,
            "fate": "delivered",
            "cause": None,
            "payload_bits": 80,
            "wire_bits": 900,
            "gain_db": 3.0,
            "used": True,
        }
    ]


def test_a_bs_that_is_down_owes_and_drops() -> None:
    rows: list[tuple[Any, ...]] = []
    ledger = FrameLedger(rows.append)
    ledger.owe("bs1", "ue1", 0, 0)
    ledger.drop(("bs1", "ue1", 0), BS_DOWN)
    row = as_mapping(rows[0])
    assert (row["fate"], row["cause"], row["t_publish_ns"], row["payload_bits"]) == (
        "dropped",
        "bs_down",
        None,
        0,
    )
    assert (row["wire_bits"], row["gain_db"], row["t_arrival_ns"], row["used"]) == (0, None, None, False)


def test_a_late_frame_has_arrived_but_is_dropped() -> None:
    rows: list[tuple[Any, ...]] = []
    ledger = FrameLedger(rows.append)
    ledger.owe("bs1", "ue1", 0, 0)
    ledger.publish(frame("bs1", 0), 900)
    ledger.refuse(("bs1", "ue1", 0), 999, LATE)
    row = as_mapping(rows[0])
    assert (row["fate"], row["cause"], row["t_arrival_ns"]) == ("dropped", "late", 999)


def test_a_frame_that_was_kept_and_not_used_is_delivered_all_the_same() -> None:
    rows: list[tuple[Any, ...]] = []
    ledger = FrameLedger(rows.append)
    for bs in ("bs1", "bs2", "bs3"):
        for seq in (0, 1):
            ledger.owe(bs, "ue1", seq, 100 * seq)
            ledger.publish(frame(bs, seq), 900)
    for bs in ("bs1", "bs2", "bs3"):
        ledger.arrive((bs, "ue1", 0), 310)
    ledger.arrive(("bs1", "ue1", 1), 320)
    ledger.close("ue2", 0, ["bs1"])  # somebody else's
    assert rows == []
    ledger.close("ue1", 0, ["bs3", "bs1"])
    used = {row["bs"]: (row["used"], row["fate"], row["cause"]) for row in map(as_mapping, rows)}
    assert used == {
        "bs1": (True, "delivered", None),
        "bs2": (False, "delivered", None),
        "bs3": (True, "delivered", None),
    }
    ledger.close("ue1", 0, ["bs1"])
    assert len(rows) == 3


def test_at_the_end_of_a_run_some_are_at_the_cu_and_some_on_their_way() -> None:
    rows: list[tuple[Any, ...]] = []
    ledger = FrameLedger(rows.append)
    for seq in range(4):
        ledger.owe("bs1", "ue1", seq, 100 * seq)
        ledger.publish(frame("bs1", seq), 900)
    ledger.drop(("bs1", "ue1", 0), "loss")
    ledger.arrive(("bs1", "ue1", 2), 250)
    assert ledger.counts == FrameCounts(4, 1, 2, {"loss": 1})
    ledger.finish()
    assert ledger.counts == FrameCounts(4, 1, 2, {"loss": 1})
    fates = {row["seq"]: (row["fate"], row["t_arrival_ns"], row["used"]) for row in map(as_mapping, rows)}
    assert fates == {
        0: ("dropped", None, False),
        1: ("in_flight", None, False),
        2: ("delivered", 250, False),
        3: ("in_flight", None, False),
    }
    ledger.finish()
    assert len(rows) == 4


def test_a_recording_says_how_a_frame_on_its_way_left_its_bs_and_nothing_of_others() -> None:
    rows: list[tuple[Any, ...]] = []
    ledger = FrameLedger(rows.append)
    ledger.owe("bs1", "ue1", 0, 100)
    recorded = FrameRow("bs1", "ue1", 0, 100, 105, 300, "delivered", None, 80, 900, 3.5, used=True)
    ledger.recall(recorded)
    ledger.recall(replace(recorded, bs="bs2"))
    ledger.finish()
    assert [tuple(row.values()) for row in map(as_mapping, rows)] == [
        ("bs1", "ue1", 0, 100, 105, None, "in_flight", None, 80, 900, 3.5, False)
    ]


@given(st.lists(st.sampled_from(["publish", "loss", "late", "arrive", "down", "close"]), max_size=60))
def test_frames_are_conserved_at_any_time(steps: list[str]) -> None:
    rows: list[tuple[Any, ...]] = []
    ledger = FrameLedger(rows.append)
    for seq, step in enumerate(steps):
        key = ("bs1", "ue1", seq)
        ledger.owe(*key, seq * 100)
        if step == "down":
            ledger.drop(key, BS_DOWN)
        else:
            ledger.publish(frame("bs1", seq), 900)
        if step == "loss":
            ledger.drop(key, "loss")
        elif step == "late":
            ledger.refuse(key, seq * 100 + 70, LATE)
        elif step in ("arrive", "close"):
            ledger.arrive(key, seq * 100 + 10)
        if step == "close":
            ledger.close("ue1", seq * 100, ["bs1"])
        counts = ledger.counts
        assert counts.conserved
        assert counts.sent == seq + 1
    ledger.finish()
    assert ledger.counts.conserved
    assert len(rows) == len(steps)
    assert sorted(row[2] for row in rows) == list(range(len(steps)))
