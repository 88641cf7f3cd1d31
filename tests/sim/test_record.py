"""A run folder is readable at any time: while it grows, finished, after a kill; damage gets one line."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import msgpack
import pyarrow.parquet as pq
import pytest
import zstandard
from mcap.records import Chunk

from sim.mcap_file import MAGIC, record
from sim.record import Recorder, TableWriter, git_commit, versions
from sim.run_folder import SCHEMAS, RunFolder, RunFolderError, in_order


def frame_row(seq: int, **values: Any) -> list[Any]:
    row = {
        "bs": "bs1",
        "ue": "ue1",
        "seq": seq,
        "t_sample_ns": seq * 1000,
        "t_publish_ns": seq * 1000 + 10,
        "t_arrival_ns": seq * 1000 + 500,
        "fate": "delivered",
        "cause": None,
        "payload_bits": 7680,
        "wire_bits": 8600,
        "gain_db": 12.5,
        "used": True,
    }
    return list((row | values).values())


def recorder(path: Path) -> Recorder:
    return Recorder(
        RunFolder.create(path),
        scenario_yaml="seed: 1\n",
        versions=versions("00" * 8),
        headline={"scenario": "spiral"},
    )


def recorded(path: Path, frames: int = 10) -> RunFolder:
    with recorder(path) as record:
        for seq in range(frames):
            record.tables["frames"].append(frame_row(seq))
            record.bus.frame("emb/bs1/ue1/", [b"header", b"payload"], t_sample_ns=seq, t_ns=seq + 5, seq=seq)
        record.close()
        record.finish({"complete": True})
    return record.folder


def test_a_finished_run_reads_back(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "run")
    assert folder.table("frames").num_rows == 10
    assert folder.table("fixes").num_rows == 0
    assert folder.summary() == {"scenario": "spiral", "complete": True, "closed": True}
    assert [message.sequence for message in folder.messages()] == list(range(10))
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "bus.mcap",
        "fixes.parquet",
        "frames.parquet",
        "scenario.resolved.yaml",
        "summary.json",
        "versions.json",
    ]


def test_a_message_knows_sample_and_arrival(tmp_path: Path) -> None:
    message = next(recorded(tmp_path / "run").messages())
    assert (message.topic, message.t_sample_ns, message.t_arrival_ns) == ("emb/bs1/ue1/", 0, 5)


def test_a_lost_frame_has_its_own_topic_and_cause(tmp_path: Path) -> None:
    with recorder(tmp_path / "run") as record:
        record.bus.lost("bs1/ue1/", [b"h", b"p"], t_sample_ns=0, t_ns=7, seq=0, cause="loss")
    message = next(record.folder.messages())
    assert message.topic == "lost/bs1/ue1/"
    assert msgpack.unpackb(message.body) == ["loss", b"h", b"p"]


def test_parts_are_flushed_and_become_row_groups(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    table = TableWriter(folder, "frames", rows_per_part=4)
    for seq in range(10):
        table.append(frame_row(seq))
    assert sum(batch.num_rows for batch in folder.batches("frames")) == 8
    table.close()
    assert folder.table("frames").column("seq").to_pylist() == list(range(10))
    assert pq.ParquetFile(folder.table_path("frames")).num_row_groups == 3
    assert not folder.parts_path("frames").exists()


def test_small_parts_are_joined(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    table = TableWriter(folder, "frames", rows_per_part=4)
    for seq in range(11):
        table.append(frame_row(seq))
        if seq % 2:
            table.flush()
            table.flush()  # nothing new
    assert folder.table("frames").column("seq").to_pylist() == list(range(10))
    table.close()
    assert folder.table("frames").column("seq").to_pylist() == list(range(11))
    file = pq.ParquetFile(folder.table_path("frames")).metadata
    assert [file.row_group(at).num_rows for at in range(file.num_row_groups)] == [4, 4, 3]


def test_parts_stay_in_order_when_their_names_run_out_of_digits(tmp_path: Path) -> None:
    for number in (99_998, 99_999, 100_000, 7):
        (tmp_path / f"{number:05d}.parquet").touch()
    assert [part.stem for part in in_order(tmp_path)] == ["00007", "99998", "99999", "100000"]


def test_an_exception_leaves_a_closed_and_incomplete_run(tmp_path: Path) -> None:
    def crash() -> None:
        with recorder(tmp_path / "run") as record:
            record.tables["frames"].append(frame_row(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        crash()
    folder = RunFolder.open(tmp_path / "run")
    assert folder.table("frames").num_rows == 1
    assert folder.summary()["complete"] is False


def test_a_killed_run_can_be_read_up_to_its_last_part(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import os, pathlib, sys
        sys.path[:0] = {[str(Path(__file__).parents[2]), str(Path(__file__).parent)]!r}
        from test_record import frame_row, recorder
        with recorder(pathlib.Path({str(tmp_path / "run")!r})) as record:
            for seq in range(9000):
                record.tables["frames"].append(frame_row(seq))
                record.bus.frame("emb/bs1/ue1/", [b"h", os.urandom(960)], t_sample_ns=seq, t_ns=seq, seq=seq)
            os.kill(os.getpid(), {int(signal.SIGKILL)})
        """
    )
    process = subprocess.run([sys.executable, "-c", program], check=False)
    assert process.returncode == -signal.SIGKILL
    folder = RunFolder.open(tmp_path / "run")
    assert folder.summary() == {"scenario": "spiral", "complete": False, "closed": False}
    assert folder.table("frames").num_rows == 8192
    assert folder.table("fixes").num_rows == 0
    sequences = [message.sequence for message in folder.messages()]
    assert sequences == list(range(len(sequences)))
    assert len(sequences) > 8000


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        RunFolderError, match="holds something else than a run; choose an empty or new folder"
    ):
        RunFolder.create(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder.create(tmp_path / "thesis.tex")


def test_an_earlier_run_is_replaced_but_not_what_lies_beside_it(tmp_path: Path) -> None:
    recorded(tmp_path / "run", frames=10)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    folder = recorded(tmp_path / "run", frames=3)
    assert folder.table("frames").num_rows == 3
    assert (folder.path / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_gets_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunFolder.create(tmp_path / "run")


class TestDamage:
    """Each damage of a finished run has one clear line."""

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(RunFolderError, match="no such run folder"):
            RunFolder.open(tmp_path / "nowhere")

    def test_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(RunFolderError, match=r"not a run folder: versions\.json is missing"):
            RunFolder.open(tmp_path)

    def test_a_missing_table(self, tmp_path: Path) -> None:
        folder = recorded(tmp_path / "run")
        folder.table_path("frames").unlink()
        with pytest.raises(RunFolderError, match=r"frames\.parquet: missing"):
            folder.table("frames")

    def test_a_truncated_table(self, tmp_path: Path) -> None:
        folder = recorded(tmp_path / "run")
        truncate(folder.table_path("frames"))
        with pytest.raises(RunFolderError, match=r"frames\.parquet: damaged"):
            folder.table("frames")

    def test_a_table_of_something_else(self, tmp_path: Path) -> None:
        folder = recorded(tmp_path / "run")
        folder.table_path("frames").write_bytes(folder.table_path("fixes").read_bytes())
        with pytest.raises(RunFolderError, match="columns are missing"):
            folder.table("frames")

    @pytest.mark.parametrize("keep", [0, 4, 100, 0.3, 0.95])
    def test_a_truncated_recording(self, tmp_path: Path, keep: float) -> None:
        folder = recorded(tmp_path / "run", frames=500)
        truncate(folder.bus_path, keep)
        with pytest.raises(RunFolderError, match=r"bus\.mcap: damaged"):
            list(folder.messages())

    @pytest.mark.parametrize("said", [40 << 20, 10])
    def test_a_chunk_that_unpacks_into_more_than_there_can_be(self, tmp_path: Path, said: int) -> None:
        folder = recorded(tmp_path / "run")
        packed = zstandard.ZstdCompressor().compress(bytes(40 << 20))
        with folder.bus_path.open("wb") as stream:
            stream.write(
                MAGIC + record(Chunk("zstd", packed, 0, 0, uncompressed_crc=0, uncompressed_size=said))
            )
        assert folder.bus_path.stat().st_size < 10_000
        with pytest.raises(RunFolderError, match=r"bus\.mcap: damaged: .*a chunk of 41943040 bytes"):
            list(folder.messages())

    def test_a_flipped_bit_in_the_recording(self, tmp_path: Path) -> None:
        folder = recorded(tmp_path / "run")
        content = bytearray(folder.bus_path.read_bytes())
        content[200] ^= 0x10
        folder.bus_path.write_bytes(content)
        with pytest.raises(RunFolderError, match=r"bus\.mcap: damaged"):
            list(folder.messages())

    def test_a_missing_recording(self, tmp_path: Path) -> None:
        folder = recorded(tmp_path / "run")
        folder.bus_path.unlink()
        with pytest.raises(RunFolderError, match=r"bus\.mcap: missing"):
            list(folder.messages())

    @pytest.mark.parametrize("text", ["", "{", "[]"])
    def test_a_broken_summary(self, tmp_path: Path, text: str) -> None:
        folder = recorded(tmp_path / "run")
        (folder.path / "summary.json").write_text(text)
        with pytest.raises(RunFolderError, match=r"summary\.json: damaged"):
            folder.summary()


def truncate(path: Path, keep: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])


def test_versions_name_packages_commit_and_weights() -> None:
    found = versions("0123456789abcdef")
    assert found["packages"]["numpy"]
    assert found["weights_digest"] == "0123456789abcdef"
    assert json.loads(json.dumps(found)) == found


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None


def test_the_documented_columns_are_the_written_ones() -> None:
    assert len(SCHEMAS["fixes"]) == 35
    assert len(SCHEMAS["frames"]) == 12
