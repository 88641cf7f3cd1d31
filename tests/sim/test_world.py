"""The world as a whole: deterministic over every transport, conserving frames, and honest about losses."""

import signal
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.bus import Arrival
from broker.sequence import TransportLoss
from models.testing import GeometryModel
from nodes import Heard, Payload
from sim.api import InvalidRunError, RunResult
from sim.embeddings_ahead import TOGETHER
from sim.errors import UserError
from sim.run_folder import RunFolder
from sim.wire import Parts
from tests.sim.kit import QUIET, TWO_BS, GeometryChannel, run_quietly, scenario_of, walking_from

BUSY: dict[str, Any] = {
    "duration": "2 s",
    "ues": {"ue1": walking_from(80), "ue2": walking_from(70, "13 Hz")},
    "fronthaul": {
        "default": {
            "capacity": "1 Mbit/s",
            "latency": "1 ms",
            "jitter": {"kind": "lognormal", "median": "5 ms", "shape": 1.0},
            "loss": {"kind": "bernoulli", "rate": "10 %"},
        },
        "links": {"bs2": {"capacity": "20 kbit/s", "queue": "400 B", "discipline": "freshest"}},
        "shared": {"core": {"capacity": "500 kbit/s", "members": ["bs1", "bs3"]}},
    },
    "faults": [
        {"at": "0.5 s", "kind": "bs_down", "bs": "bs3", "for": "0.5 s"},
        {"at": "1 s", "kind": "link_outage", "link": "core", "for": "0.3 s"},
        {"random": {"kind": "loss_burst", "link": "any", "rate": "80 %", "every": "0.5 s", "for": "0.2 s"}},
    ],
}


def hashes(result: RunResult) -> tuple[str, str]:
    return result.fingerprint, result.digest


@pytest.fixture(scope="module")
def busy() -> RunResult:
    return run_quietly(BUSY)


class TestDeterminism:
    def test_twice(self, busy: RunResult) -> None:
        assert hashes(run_quietly(BUSY)) == hashes(busy)

    @pytest.mark.parametrize("transport", ["ipc", "tcp"])
    def test_over_another_transport(self, transport: str, busy: RunResult) -> None:
        other = run_quietly(BUSY | {"transport": transport})
        assert hashes(other) == hashes(busy)
        assert other.fixes.equals(busy.fixes)
        assert other.frames.equals(busy.frames)

    def test_another_seed_is_another_run(self, busy: RunResult) -> None:
        other = run_quietly(BUSY | {"seed": 2})
        assert other.fingerprint != busy.fingerprint

    def test_another_model_keeps_the_fingerprint_and_changes_the_digest(self, busy: RunResult) -> None:
        scenario = scenario_of(BUSY)
        model = GeometryModel(scenario.bs_ids, extent_m=501.0)
        other = run_quietly(scenario, model=model)
        assert other.fingerprint == busy.fingerprint
        assert other.digest != busy.digest

    def test_a_listener_changes_nothing(self, busy: RunResult) -> None:
        assert hashes(run_quietly(BUSY, listener=lambda event: None, progress=lambda t_ns: None)) == hashes(
            busy
        )

    def test_a_ue_more_leaves_the_channel_and_luck_of_the_others(self) -> None:
        def fates(ues: dict[str, Any]) -> list[Any]:
            frames = run_quietly(QUIET | {"ues": ues, "fronthaul": lossy}).frames.to_pylist()
            return [(row["bs"], row["seq"], row["fate"]) for row in frames if row["ue"] == "ue1"]

        lossy = {"default": {"loss": {"kind": "bernoulli", "rate": "40 %"}}}
        alone = fates({"ue1": walking_from(80)})
        assert sorted(fates({"ue1": walking_from(80), "ue2": walking_from(70)})) == sorted(alone)


class TestResult:
    def test_fixes_are_where_the_ue_is(self) -> None:
        fixes = run_quietly().fixes.to_pylist()
        assert [row["seq"] for row in fixes] == [0, 1, 2]
        assert max(row["error_3d_m"] for row in fixes) < 0.05
        assert [row["true_x_m"] for row in fixes] == pytest.approx([80.0, 80.05, 80.1])

    def test_latency_is_the_sum_of_its_parts(self) -> None:
        row = run_quietly().fixes.to_pylist()[0]
        assert row["latency_s"] == pytest.approx(2e-3 + 1424 / 10e6 + 1e-3 + 5e-3)

    def test_every_snapshot_is_fixed_missed_or_open(self, busy: RunResult) -> None:
        summary = busy.summary
        taken = sum(len(scenario_of(BUSY).sample_times_ns(ue)) for ue in ("ue1", "ue2"))
        assert summary["fixes"] + summary["fixes_missed"] + summary["snapshots_open"] == taken
        assert busy.fixes.num_rows == summary["fixes"] + summary["fixes_missed"]

    def test_used_frames_are_those_of_the_fixes(self, busy: RunResult) -> None:
        used = {(row["ue"], row["seq"], row["bs"]) for row in busy.frames.to_pylist() if row["used"]}
        fused = {
            (row["ue"], row["seq"], bs)
            for row in busy.fixes.to_pylist()
            for bs in row["bs_used"].split(",")
            if bs
        }
        assert used == fused

    def test_times_of_a_frame_are_in_order(self, busy: RunResult) -> None:
        for row in busy.frames.to_pylist():
            times = [row["t_sample_ns"], row["t_publish_ns"], row["t_arrival_ns"]]
            known = [t_ns for t_ns in times if t_ns is not None]
            assert known == sorted(known)

    def test_payload_ratio_is_that_of_the_paper(self) -> None:
        class PaperChannel(GeometryChannel):
            def pilots(self, ue: str, index: int, /) -> Any:
                return np.resize(super().pilots(ue, index), (6, 10, 8, 24))

        scenario = scenario_of({"duration": "90 ms"})
        model = GeometryModel(scenario.bs_ids, dims=768)
        summary = run_quietly(scenario, model=model, channel=PaperChannel(scenario, model)).summary
        assert summary["csi_bits"] == 122_880
        assert summary["payload_ratio"] == 0.0625
        assert summary["wire_ratio"] > summary["payload_ratio"]

    def test_messages_per_bs_as_the_scenario_says(self) -> None:
        changes = {"model": {"bits": 8, "per_bs": {"bs3": {"bits": 6, "dims": 24}}}}
        frames = run_quietly(changes).frames.to_pylist()
        sizes = {row["bs"]: row["payload_bits"] for row in frames}
        assert sizes["bs1"] == 48 * 8
        assert sizes["bs3"] == 24 * 6

    def test_a_policy_shortens_messages(self) -> None:
        def policy(heard: Heard) -> Payload:
            return Payload(bits=4, dims=heard.payload.dims)

        assert run_quietly(policy=policy).summary["payload_bits"] == 3 * 6 * 48 * 4

    def test_links_are_in_the_summary(self, busy: RunResult) -> None:
        links = busy.summary["links"]
        assert set(links) == {"bs1", "bs2", "bs3", "bs4", "bs5", "bs6", "core"}
        assert links["bs2"]["utilisation"] > links["bs4"]["utilisation"] > 0

    def test_faults_are_in_the_summary(self, busy: RunResult) -> None:
        kinds = [(fault["t_s"], fault["kind"], fault["target"]) for fault in busy.summary["faults"]]
        assert (0.5, "bs_down", "bs3") in kinds
        assert (1.0, "bs_up", "bs3") in kinds
        assert (1.3, "link_up", "core") in kinds


class TestConservation:
    def test_busy(self, busy: RunResult) -> None:
        check_conservation(busy)
        assert set(busy.summary["frames"]["dropped"]) >= {"bs_down", "late", "loss", "superseded"}

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        capacity=st.sampled_from(["5 kbit/s", "50 kbit/s", "1 Mbit/s", "unlimited"]),
        queue=st.sampled_from(["150 B", "1 kB", "unlimited"]),
        discipline=st.sampled_from(["fifo", "freshest"]),
        loss=st.integers(0, 100),
        deadline_ms=st.integers(1, 150),
        late=st.sampled_from(["drop", "retrodict"]),
        min_bs=st.integers(1, 6),
        fault=st.sampled_from(["bs_down", "link_outage", "none"]),
        seed=st.integers(0, 1000),
    )
    def test_whatever_the_scenario(
        self,
        capacity: str,
        queue: str,
        discipline: str,
        loss: int,
        deadline_ms: int,
        late: str,
        min_bs: int,
        fault: str,
        seed: int,
    ) -> None:
        law = {"capacity": capacity, "latency": "2 ms", "queue": queue, "discipline": discipline}
        where = {"bs_down": {"bs": "any"}, "link_outage": {"link": "any"}}.get(fault)
        random = {"random": {"kind": fault, **(where or {}), "every": "100 ms", "for": "50 ms"}}
        result = run_quietly(
            {
                "seed": seed,
                "duration": "0.5 s",
                "ues": {"ue1": walking_from(80, "20 Hz"), "ue2": walking_from(70)},
                "fronthaul": {
                    "default": {**law, "loss": {"kind": "bernoulli", "rate": f"{loss} %"}},
                    "shared": {"core": {"capacity": "300 kbit/s", "members": ["bs1", "bs2"]}},
                },
                "cu": {"deadline": f"{deadline_ms} ms", "min_bs": min_bs, "late": late},
                "faults": [random] if where else [],
            }
        )
        check_conservation(result)


def check_conservation(result: RunResult) -> None:
    """Sent = delivered + dropped by cause + in flight: in all, per BS, and in the table."""
    frames = result.summary["frames"]
    assert result.summary["valid"]
    for counts in (frames, *frames["per_bs"].values()):
        assert counts["sent"] == counts["delivered"] + counts["in_flight"] + sum(counts["dropped"].values())
    rows = result.frames.to_pylist()
    assert len(rows) == frames["sent"]
    assert len({(row["bs"], row["ue"], row["seq"]) for row in rows}) == len(rows)
    assert sum(row["fate"] == "delivered" for row in rows) == frames["delivered"]
    for row in rows:
        assert (row["cause"] is not None) == (row["fate"] == "dropped")
        assert (row["t_arrival_ns"] is not None) == (row["fate"] == "delivered" or row["cause"] == "late")
    for link in result.summary["links"].values():
        assert link["sent"] == link["delivered"] + link["in_flight"] + sum(link["dropped"].values())


class LossyWire:
    """A wire that loses what it is told to, where only the fronthaul law may."""

    def __init__(self, lose_after: int) -> None:
        self._left = lose_after

    def to_law(self, frames: Sequence[tuple[str, Parts]]) -> None:
        self._left -= len(frames)
        if self._left < 0:
            raise TransportLoss("5 of 6 frames came within 10 s")

    def to_central_unit(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        return list(arrivals)


class ForgetfulWire(LossyWire):
    """A wire that keeps a frame from the central unit without noticing."""

    def to_central_unit(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        return list(arrivals)[: max(0, len(arrivals) - 1)]


class TestLostData:
    def test_a_loss_between_sockets_is_an_error_and_marks_the_run_invalid(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRunError, match="lost outside the fronthaul law: 5 of 6 frames came"):
            run_quietly(QUIET, tmp_path / "run", wire=LossyWire(lose_after=13))
        summary = RunFolder.open(tmp_path / "run").summary()
        assert (summary["valid"], summary["complete"]) == (False, False)
        assert summary["fixes"] == 2

    def test_a_frame_that_never_reaches_the_central_unit_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(
            InvalidRunError, match="the law delivered 18 frames, the central unit received 16"
        ):
            run_quietly(QUIET, tmp_path / "run", wire=ForgetfulWire(lose_after=99))
        assert RunFolder.open(tmp_path / "run").summary()["valid"] is False


class TestEndings:
    def test_an_interrupted_run_is_readable_and_incomplete(self, tmp_path: Path) -> None:
        def interrupt(t_ns: int) -> None:
            if t_ns > 1_500_000_000:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            run_quietly(QUIET | {"duration": "60 s"}, tmp_path / "run", progress=interrupt)
        check_incomplete(tmp_path / "run", fixes=16)

    def test_a_crash_of_the_model_leaves_a_readable_run(self, tmp_path: Path) -> None:
        class Crashing(GeometryModel):
            def encode(self, bs: str, pilots: Any, noise_variance: float) -> Any:
                self.calls = getattr(self, "calls", 0) + 1
                if self.calls > 6 * TOGETHER:
                    raise MemoryError("no more")
                return super().encode(bs, pilots, noise_variance)

        with pytest.raises(MemoryError, match="no more"):
            run_quietly(QUIET | {"duration": "9 s"}, tmp_path / "run", model=Crashing())
        check_incomplete(tmp_path / "run", fixes=TOGETHER)

    def test_a_model_that_does_not_fit_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="model ecc-r: bs5: bs5 is not a BS of the model"):
            run_quietly(QUIET, tmp_path / "run", model=GeometryModel(["bs1", "bs2", "bs3", "bs4"]))
        assert not (tmp_path / "run").exists()

    def test_too_many_dims_are_refused(self) -> None:
        with pytest.raises(UserError, match="dims must be from 1 to 48, not 49"):
            run_quietly({"model": {"dims": 49}})


def check_incomplete(path: Path, fixes: int) -> None:
    folder = RunFolder.open(path)
    summary = folder.summary()
    assert (summary["complete"], summary["valid"], summary["closed"]) == (False, True, True)
    assert folder.table("fixes").num_rows == summary["fixes"] == fixes
    assert summary["frames"]["sent"] == folder.table("frames").num_rows
    assert any(message.topic == "emb/bs1/ue1/" for message in folder.messages())


def test_memory_does_not_grow_with_the_length_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Periodic(GeometryChannel):
        def pilots(self, ue: str, index: int, /) -> Any:
            return super().pilots(ue, index % 10)

    monkeypatch.setattr("sim.record.ROWS_PER_PART", 64)
    monkeypatch.setattr("sim.record.BUS_CHUNK_BYTES", 16 * 1024)
    monkeypatch.setattr("sim.embeddings_ahead.TOGETHER", 8)  # of which some are remembered: 6 s
    scenario = scenario_of({"duration": "60 s", "deployment": TWO_BS})
    model = GeometryModel(scenario.bs_ids, dims=3)
    allocated: list[int] = []

    def measure(t_ns: int) -> None:
        if t_ns // 1_000_000_000 > len(allocated):
            allocated.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        run_quietly(scenario, model=model, channel=Periodic(scenario, model), progress=measure)
    finally:
        tracemalloc.stop()
    # The tracker remembers 64 fixes, that is, 6 s, and rows and chunks that wait come and go with the rushes;
    # the index of the bus recording grows by a line per chunk.
    assert max(allocated[45:]) - max(allocated[30:45]) < 50_000
