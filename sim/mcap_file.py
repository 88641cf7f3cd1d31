"""An MCAP file that is written chunk by chunk, each message with one packing of its numbers.

The layout is that of https://mcap.dev/spec; the library `mcap` reads it and writes the records that are few.
With the library alone, recording was a quarter of what a run with many UEs does beside encoding; the bytes
are the same.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from struct import Struct, pack
from typing import BinaryIO

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Schema,
    Statistics,
    SummaryOffset,
)

MAGIC = b"\x89MCAP0\r\n"
_MESSAGE = Struct("<BQHIQQ")  # opcode, length, channel, sequence, log time, publish time
_BESIDE_DATA = _MESSAGE.size - 9
_CHUNK = Struct("<BQQQQII4sQ")  # opcode, length, first and last time, size, checksum, compression, length
_INDEX = Struct("<BQHI")  # opcode, length, channel, length of the entries
_COMPRESSION = b"zstd"


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Messages on their way into the file: compressed, with their checksum, as soon as that is done."""

    packed: Future[tuple[bytes, int]]
    size: int
    first_ns: int
    last_ns: int
    index: dict[int, tuple[int, ...]]


class McapFile:
    """A recording that is valid up to its last whole chunk, and as a whole once it is finished.

    Chunks are compressed in a thread: that takes a twentieth of a run of many UEs, and nothing of Python. So
    the chunk that is full last is written with the next one, or by `finish`.

    Args:
        stream: open for writing, at its beginning.
        profile: what kind of recording it is; also the name of the library that wrote it.
        chunk_bytes: of messages that are compressed together.
        level: of compression; the library's by default.
    """

    def __init__(self, stream: BinaryIO, profile: str, chunk_bytes: int, level: int = 3) -> None:
        self._compressor = zstandard.ZstdCompressor(level)
        self._packers = ThreadPoolExecutor(1, "mcap")
        self._last_chunk: _Chunk | None = None
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._written = 0
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._chunks: list[ChunkIndex] = []
        self._counts: defaultdict[int, int] = defaultdict(int)
        self._first_ns: int | None = None
        self._last_ns = 0
        self._chunk_first_ns = self._chunk_last_ns = 0
        self._begin_chunk()
        self._put(MAGIC)
        self._put(record(Header(profile, profile)))

    def schema(self, name: str, encoding: str, data: bytes) -> int:
        """Declare what messages look like; gives its number."""
        found = Schema(id=len(self._schemas) + 1, name=name, encoding=encoding, data=data)
        self._schemas.append(found)
        self._in_chunk(record(found))
        return found.id

    def channel(self, topic: str, encoding: str, schema: int) -> int:
        """Declare a topic; gives its number. `schema` may be 0: none."""
        found = Channel(
            id=len(self._channels) + 1, topic=topic, message_encoding=encoding, metadata={}, schema_id=schema
        )
        self._channels.append(found)
        self._in_chunk(record(found))
        return found.id

    def message(self, channel: int, data: bytes, *, log_ns: int, publish_ns: int, sequence: int) -> None:
        """Add a message; chunks are written as they are full."""
        self._index[channel] += (log_ns, self._size)
        self._counts[channel] += 1
        head = _MESSAGE.pack(Opcode.MESSAGE, _BESIDE_DATA + len(data), channel, sequence, log_ns, publish_ns)
        self._parts += (head, data)
        self._size += _MESSAGE.size + len(data)
        if log_ns < self._chunk_first_ns or not self._messages:
            self._chunk_first_ns = log_ns
        if log_ns > self._chunk_last_ns:
            self._chunk_last_ns = log_ns
        self._messages += 1
        if self._size > self._chunk_bytes:
            self._end_chunk()

    def finish(self) -> None:
        """Write what is left, and the summary; the stream stays open."""
        self._end_chunk()
        self._write_chunk()
        self._packers.shutdown()
        self._put(record(DataEnd(0)))
        start = self._written
        statistics = Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            message_end_time=self._last_ns,
            message_start_time=self._first_ns or 0,
            metadata_count=0,
            schema_count=len(self._schemas),
        )
        groups: list[tuple[Opcode, list[McapRecord]]] = [
            (Opcode.SCHEMA, [*self._schemas]),
            (Opcode.CHANNEL, [*self._channels]),
            (Opcode.STATISTICS, [statistics]),
            (Opcode.CHUNK_INDEX, [*self._chunks]),
            (Opcode.ATTACHMENT_INDEX, []),
            (Opcode.METADATA_INDEX, []),
        ]
        summary, offsets = [], []
        at = start
        for opcode, records in groups:
            content = b"".join(map(record, records))
            offsets.append(record(SummaryOffset(opcode, at, len(content))))
            summary.append(content)
            at += len(content)
        body = b"".join([*summary, *offsets])
        footer = Footer(summary_start=start, summary_offset_start=at, summary_crc=0)
        # The checksum covers all from the summary on up to itself, the last four bytes of the footer.
        footer.summary_crc = zlib.crc32(body + record(footer)[:-4])
        self._put(body + record(footer) + MAGIC)

    def _begin_chunk(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._messages = 0
        self._index: defaultdict[int, tuple[int, ...]] = defaultdict(tuple)
        self._chunk_first_ns = self._chunk_last_ns = 0

    def _in_chunk(self, content: bytes) -> None:
        self._parts.append(content)
        self._size += len(content)

    def _end_chunk(self) -> None:
        """Have the chunk compressed, and write the one before it meanwhile."""
        if not self._messages:
            return
        content = b"".join(self._parts)
        packed = self._packers.submit(self._packed, content)
        self._write_chunk()
        self._last_chunk = _Chunk(
            packed, len(content), self._chunk_first_ns, self._chunk_last_ns, self._index
        )
        self._begin_chunk()

    def _packed(self, content: bytes) -> tuple[bytes, int]:
        return self._compressor.compress(content), zlib.crc32(content)

    def _write_chunk(self) -> None:
        """Write the chunk that was compressed last, if it is not written yet."""
        chunk, self._last_chunk = self._last_chunk, None
        if chunk is None:
            return
        packed, checksum = chunk.packed.result()
        start = self._written
        length = _CHUNK.size - 9 + len(packed)
        self._put(
            _CHUNK.pack(
                Opcode.CHUNK, length, chunk.first_ns, chunk.last_ns, chunk.size, checksum,
                len(_COMPRESSION), _COMPRESSION, len(packed),
            )
        )  # fmt: skip
        self._put(packed)
        indexed = at = self._written
        offsets: dict[int, int] = {}
        indices: list[bytes] = []
        for channel, entries in chunk.index.items():
            offsets[channel] = at
            size = 8 * len(entries)
            indices += (
                _INDEX.pack(Opcode.MESSAGE_INDEX, 6 + size, channel, size),
                pack(f"<{len(entries)}Q", *entries),
            )
            at += _INDEX.size + size
        self._put(b"".join(indices))
        self._chunks.append(
            ChunkIndex(
                chunk_length=indexed - start,
                chunk_start_offset=start,
                compression=_COMPRESSION.decode(),
                compressed_size=len(packed),
                message_end_time=chunk.last_ns,
                message_index_length=self._written - indexed,
                message_index_offsets=offsets,
                message_start_time=chunk.first_ns,
                uncompressed_size=chunk.size,
            )
        )
        self._first_ns = chunk.first_ns if self._first_ns is None else min(self._first_ns, chunk.first_ns)
        self._last_ns = max(self._last_ns, chunk.last_ns)

    def _put(self, content: bytes) -> None:
        self._stream.write(content)
        self._written += len(content)


def record(content: McapRecord) -> bytes:
    """The bytes of a record."""
    builder = RecordBuilder()
    content.write(builder)
    return bytes(builder.end())  # type: ignore[no-untyped-call]
