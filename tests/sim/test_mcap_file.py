"""A recording has the very bytes that the library would write."""

import io
import random

from mcap.reader import make_reader
from mcap.writer import Writer

from sim.mcap_file import McapFile

CHUNK_BYTES = 2000


def both(messages: int, chunk_bytes: int = CHUNK_BYTES) -> tuple[bytes, bytes]:
    """The same recording, written here and by the library."""
    ours, theirs = io.BytesIO(), io.BytesIO()
    file = McapFile(ours, "profile", chunk_bytes)
    writer = Writer(theirs, chunk_size=chunk_bytes)
    writer.start(profile="profile", library="profile")
    draws, channels = random.Random(1), dict[str, tuple[int, int]]()
    schemas = file.schema("fix", "jsonschema", b"{}"), writer.register_schema("fix", "jsonschema", b"{}")
    for number in range(messages):
        topic = f"emb/bs{draws.randrange(40)}/"
        if topic not in channels:
            here, there = (0, 0) if draws.random() < 0.5 else schemas
            channels[topic] = (
                file.channel(topic, "msgpack", here),
                writer.register_channel(topic, "msgpack", there),
            )
        data, log_ns = draws.randbytes(draws.randrange(120)), draws.randrange(1 << 62)
        here, there = channels[topic]
        file.message(here, data, log_ns=log_ns, publish_ns=log_ns // 2, sequence=number)
        writer.add_message(there, log_ns, data, log_ns // 2, number)
    file.finish()
    writer.finish()  # type: ignore[no-untyped-call]
    return ours.getvalue(), theirs.getvalue()


def test_bytes_are_those_of_the_library() -> None:
    ours, theirs = both(300)
    assert ours == theirs


def test_one_chunk() -> None:
    ours, theirs = both(3)
    assert ours == theirs


def test_nothing_recorded() -> None:
    ours, theirs = both(0)
    assert ours == theirs


def test_a_reader_finds_messages_by_their_time() -> None:
    ours, _ = both(200)
    times = [message.log_time for _, _, message in make_reader(io.BytesIO(ours)).iter_messages()]
    assert len(times) == 200
    assert times == sorted(times)
