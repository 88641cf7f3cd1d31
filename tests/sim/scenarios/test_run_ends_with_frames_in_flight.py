"""What is on its way when the run ends is in flight: neither delivered nor dropped."""

from tests.sim.kit import TWO_BS, run_quietly


def test_run_ends_with_frames_in_flight() -> None:
    changes = {"deployment": TWO_BS, "duration": "103 ms", "fronthaul": {"default": {"latency": "3 ms"}}}
    result = run_quietly(changes)
    counts = result.summary["frames"]
    assert (counts["sent"], counts["delivered"], counts["in_flight"], counts["dropped"]) == (4, 2, 2, {})
    in_flight = [row for row in result.frames.to_pylist() if row["fate"] == "in_flight"]
    assert [(row["seq"], row["t_publish_ns"], row["t_arrival_ns"]) for row in in_flight] == [
        (1, 102_000_000, None)
    ] * 2
    assert result.summary["snapshots_open"] == 1


def test_run_ends_before_a_frame_is_published() -> None:
    result = run_quietly({"deployment": TWO_BS, "duration": "101 ms"})
    in_flight = [row for row in result.frames.to_pylist() if row["fate"] == "in_flight"]
    assert [(row["seq"], row["t_publish_ns"], row["wire_bits"]) for row in in_flight] == [(1, None, 0)] * 2
