"""Each frame gets one row with its fate, and all frames are accounted for at any time."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.frame import Frame
from sim.frame_ledger import BS_DOWN, LATE, FrameLedger
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


def test_a_late_frame_has_arrived_but_is_dropped() -> None:
    rows: list[tuple[Any, ...]] = []
    ledger = FrameLedger(rows.append)
    ledger.owe("bs1", "ue1", 0, 0)
    ledger.publish(frame("bs1", 0), 900)
    ledger.refuse(("bs1", "ue1", 0), 999, LATE)
    row = as_mapping(rows[0])
    assert (row["fate"], row["cause"], row["t_arrival_ns"]) == ("dropped", "late", 999)


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
