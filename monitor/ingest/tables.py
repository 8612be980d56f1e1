"""Bodies of Arrow streams and Parquet files into record batches that can be trusted.

Plain Arrow is read here: it says what it is, and every offset and text is checked. What could expand (Parquet, and
Arrow with compressed buffers) goes through a process of its own with little memory (`table_child`); such processes
stay for the next body, and end with this one.
"""

import json
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from monitor.errors import Overloaded, TooLarge, Unreadable
from monitor.ingest import table_child
from monitor.ingest.children import Child
from monitor.ingest.table_child import BATCH, END, TOO_LARGE

MAX_ROWS = 1_000_000
CHILDREN = 2
SECONDS = 20.0  # for a body, and then for each batch of it: what waits for commits meanwhile is not the child
_WAIT_SECONDS = 20.0  # for a child that is free
_MESSAGES = {b"rows": f"at most {MAX_ROWS:,} rows in one request: send the rest in another"}
_LARGE = "the body holds more than KEEPWATCH_MAX_BODY_MB once it is unpacked: send it in parts"
_COMPRESSION = 3  # the field `compression` of RecordBatch in Arrow's Message.fbs
_HEADER, _DATA = 2, 1  # `header` of Message, `data` of DictionaryBatch


def arrow_batches(body: bytes, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow IPC stream.

    Raises:
        Unreadable: it is none, or one that lies about itself.
        TooLarge: it holds more than `MAX_ROWS` rows, or unpacks to more than `max_bytes`.
    """
    buffer = pa.py_buffer(body)
    try:
        if _is_packed(buffer):
            yield from _POOL.batches("arrow", body, max_bytes)
            return
        rows = 0
        with pa.ipc.open_stream(buffer) as reader:
            for batch in reader:
                rows += batch.num_rows
                if rows > MAX_ROWS:
                    raise TooLarge(_MESSAGES[b"rows"])
                batch.validate(full=True)
                yield batch
    except (pa.ArrowException, OSError, ValueError, KeyError, struct.error):
        raise Unreadable("the body is not a valid Arrow IPC stream") from None


def parquet_batches(body: bytes, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """The batches of a Parquet file; raises as `arrow_batches` does."""
    yield from _POOL.batches("parquet", body, max_bytes)


def close() -> None:
    """End the processes that wait for bodies."""
    _POOL.close()


def _is_packed(buffer: pa.Buffer) -> bool:
    """Whether any message of the stream has compressed buffers: pyarrow would unpack them to whatever size they say."""
    reader = pa.ipc.MessageReader.open_stream(buffer)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return False
        if message.type in ("record batch", "dictionary"):
            metadata = bytes(message.metadata)
            table = _table(metadata, struct.unpack_from("<I", metadata)[0], _HEADER)
            if message.type == "dictionary" and table:
                table = _table(metadata, table, _DATA)
            if table and _field(metadata, table, _COMPRESSION):
                return True


def _field(data: bytes, table: int, field: int) -> int:
    """Where a flatbuffer table has that field; 0 where it has none."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise struct.error
    size = struct.unpack_from("<H", data, vtable)[0]
    at = 4 + 2 * field
    offset = struct.unpack_from("<H", data, vtable + at)[0] if at + 2 <= size else 0
    return table + offset if offset else 0


def _table(data: bytes, table: int, field: int) -> int:
    """The table that a field of a table refers to; 0 where there is none."""
    at = _field(data, table, field)
    return at + int(struct.unpack_from("<I", data, at)[0]) if at else 0


class _Reader(Child):
    """A child that reads tables."""

    def __init__(self) -> None:
        super().__init__([sys.executable, "-I", str(Path(table_child.__file__))], _ENVIRONMENT)

    def batches(self, kind: str, body: bytes, max_bytes: int) -> Iterator[pa.RecordBatch]:
        """What it reads; EOFError when it died of it, or took too long."""
        self.within(SECONDS)
        asked = {"kind": kind, "size": len(body), "max_rows": MAX_ROWS, "max_bytes": max_bytes}
        self.write([json.dumps(asked).encode() + b"\n", body])
        while True:
            head = bytes(self.read(9))
            content = self.read(int.from_bytes(head[1:], "little"))
            if head[:1] == END:
                return
            if head[:1] == TOO_LARGE:
                raise TooLarge(_MESSAGES.get(bytes(content), _LARGE))
            if head[:1] != BATCH:
                raise Unreadable("the body cannot be read as what its Content-Type says")
            with pa.ipc.open_stream(content) as reader:
                for batch in reader:
                    batch.validate(full=True)
                    yield batch
            self.within(SECONDS)


def _started() -> _Reader:
    try:
        return _Reader()
    except OSError:
        raise Overloaded("no process can be started that reads files: send it again", retry_after=5) from None


_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}


class _Pool:
    """Children that are kept for the next body."""

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(CHILDREN)
        self._idle: list[_Reader] = []

    def batches(self, kind: str, body: bytes, max_bytes: int) -> Iterator[pa.RecordBatch]:
        """What a child reads; a child that dies of a body had a reason."""
        if not self._slots.acquire(timeout=_WAIT_SECONDS):
            raise Overloaded("too many files are being read: send it again", retry_after=5)
        try:
            child = self._take()
            done = False
            try:
                yield from child.batches(kind, body, max_bytes)
                done = True
            except (TooLarge, Unreadable):
                done = True
                raise
            except EOFError:
                raise TooLarge(_LARGE) from None
            finally:
                # A body that was not read to its end leaves frames in the pipe: that child is of no use any more.
                if done:
                    self._idle.append(child)
                else:
                    child.close()
        finally:
            self._slots.release()

    def _take(self) -> _Reader:
        while True:
            try:
                child = self._idle.pop()
            except IndexError:
                return _started()
            if child.alive:
                return child
            child.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


_POOL = _Pool()
