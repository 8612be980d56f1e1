"""The process that reads what may be a trap: Parquet files, and Arrow streams with compressed buffers.

A Parquet file of 200 kB can hold gigabytes, and its footer may say otherwise; so it is read here, under a limit of
memory, and only rows within the budget come out, as plain Arrow. This file runs by itself, without the rest of
Keepwatch, without its environment: it is started with `python -I`.

Requests come on the standard input: a line of JSON `{"kind", "size", "max_rows", "max_bytes"}`, then that many bytes.
Answers go to the standard output as frames: a byte that says what it is, eight bytes of length, the content.
"""

import json
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

BATCH, END, UNREADABLE, TOO_LARGE = b"B", b"E", b"U", b"L"
BATCH_ROWS = 10_000
_MEMORY = 512 << 20  # bytes beyond what the process has when it starts


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests until the input ends."""
    while line := source.readline(4096):
        asked = json.loads(line)
        body = source.read(asked["size"])
        if len(body) < asked["size"]:
            return
        _answer(asked, body, sink)
        sink.flush()


def _answer(asked: dict[str, int | str], body: bytes, sink: BinaryIO) -> None:
    try:
        for batch in _within(asked, _batches(str(asked["kind"]), body)):
            _frame(sink, BATCH, batch)
        _frame(sink, END, b"")
    except _TooLarge as error:
        _frame(sink, TOO_LARGE, str(error).encode())
    except (MemoryError, pa.ArrowMemoryError):
        _frame(sink, TOO_LARGE, b"memory")
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError):
        _frame(sink, UNREADABLE, b"")


class _TooLarge(Exception):
    """More rows or bytes than were allowed: the message says which."""


def _within(asked: dict[str, int | str], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Buffer]:
    """The batches, checked in full, as plain streams, until they are more than was allowed."""
    rows = size = 0
    for batch in batches:
        rows += batch.num_rows
        if rows > int(asked["max_rows"]):
            raise _TooLarge("rows")
        batch.validate(full=True)
        made = _plain_stream(batch)
        size += len(made)
        if size > int(asked["max_bytes"]):
            raise _TooLarge("bytes")
        yield made


def _batches(kind: str, body: bytes) -> Iterator[pa.RecordBatch]:
    source = pa.BufferReader(body)
    if kind == "parquet":
        # One thread, one group of rows, no column ahead of its use.
        yield from pq.ParquetFile(source, pre_buffer=False).iter_batches(batch_size=BATCH_ROWS, use_threads=False)
    else:
        options = pa.ipc.IpcReadOptions(use_threads=False)
        with pa.ipc.open_stream(source, options=options) as reader:
            yield from reader


def _plain_stream(batch: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _frame(sink: BinaryIO, kind: bytes, content: bytes | pa.Buffer) -> None:
    sink.write(kind + len(content).to_bytes(8, "little"))
    sink.write(content)


def limit_memory() -> None:
    """From here on allocations beyond `_MEMORY` fail."""
    pa.set_memory_pool(pa.system_memory_pool())  # the other pools reserve gigabytes of addresses ahead
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    statm = Path("/proc/self/statm")
    used = int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 1 << 30
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + _MEMORY if hard == resource.RLIM_INFINITY else min(used + _MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends with the server, which still answers what it was given
    limit_memory()
    serve(sys.stdin.buffer, sys.stdout.buffer)
