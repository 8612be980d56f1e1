"""The process that decodes bodies for `decoders`, one after the other: `python -m monitor.ingest.decoder_child`.

A question is a head of two lengths, what the body is about (MessagePack), and the body. An answer is a head of three
lengths; then, each at a multiple of 64 bytes, the lengths of what follows, what there is to say of the batches (or what
was raised, MessagePack too), and for each batch its columns as Arrow IPC, its places and its keys: these are used where
they arrive.
"""

import gc
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import BinaryIO, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from monitor import errors
from monitor.errors import Problem
from monitor.ingest.draft import Rejection
from monitor.ingest.prepare import Form, prepared
from monitor.ingest.validate import PredictionBatch, Times
from monitor.store.catalog import Model

READY = b"R"
_QUESTION, _ANSWER = struct.Struct("<QQ"), struct.Struct("<QQQ")
_ALIGNED = 64
Bytes = bytes | memoryview


class _About(NamedTuple):
    form: Form
    model: Model
    times: Times


class _Beside(NamedTuple):
    """What a batch has beside its columns, places and keys."""

    versions: list[str]
    total: int
    rejected: list[Rejection]
    made_ids: bool
    max_known_at: int


class _Raised(NamedTuple):
    """A problem of the body, by the name of its class; or a fault of ours, with where it was."""

    kind: str
    detail: str
    fields: list[dict[str, str]]
    where: str


class _Told(NamedTuple):
    batches: list[_Beside]
    raised: _Raised | None


_read_about, _read_told = msgspec.msgpack.Decoder(_About), msgspec.msgpack.Decoder(_Told)


def question(form: Form, body: bytes, model: Model, times: Times) -> list[Bytes]:
    """What is written to the process for a body of predictions."""
    about = msgspec.msgpack.encode(_About(form, model, times))
    return [_QUESTION.pack(len(about), len(body)), about, body]


def read_answer(read: Callable[[int], memoryview]) -> list[PredictionBatch] | Exception:
    """The batches that the process made, or what it raised.

    Args:
        read: gives so many of the next bytes, at an address that Arrow takes.
    """
    count, size, rest = _ANSWER.unpack(read(_ANSWER.size))
    held = read(rest)
    lengths = np.frombuffer(held, np.int64, count).tolist()
    at = _padded(8 * count)
    told, at = _read_told.decode(held[at : at + size]), at + _padded(size)
    parts = []
    for length in lengths:
        parts.append(held[at : at + length])
        at += _padded(length)
    if told.raised is not None:
        return _error_of(told.raised)
    return [_batch_of(beside, *parts[3 * at : 3 * at + 3]) for at, beside in enumerate(told.batches)]


def serve(source: BinaryIO, sink: int) -> None:
    """Answer questions until there are none."""
    while len(head := source.read(_QUESTION.size)) == _QUESTION.size:
        about, body = (source.read(size) for size in _QUESTION.unpack(head))
        answer = memoryview(b"".join(_answer(about, body)))
        while len(answer):
            answer = answer[os.write(sink, answer) :]


def _answer(raw: bytes, body: bytes) -> list[Bytes]:
    try:
        about = _read_about.decode(raw)
        batches = prepared(about.form, "predictions", body, about.model, about.times)
    except Problem as problem:
        return _framed(_Told([], _Raised(type(problem).__name__, problem.detail, problem.errors, "")), [])
    except Exception as error:  # a fault of ours: the other side raises it, and its log gets where it was
        detail = f"{type(error).__name__}: {error}"
        return _framed(_Told([], _Raised("", detail, [], traceback.format_exc())), [])
    besides: list[_Beside] = []
    parts: list[Bytes] = []
    for batch in batches:
        assert isinstance(batch, PredictionBatch)
        besides.append(_Beside(batch.versions, batch.total, batch.rejected, batch.made_ids, batch.max_known_at))
        parts += [_stream(batch.batch), batch.index.tobytes(), batch.keys.tobytes()]
    return _framed(_Told(besides, None), parts)


def _framed(told: _Told, parts: Sequence[Bytes]) -> list[Bytes]:
    lengths = np.array([len(part) for part in parts], np.int64).tobytes()
    said = msgspec.msgpack.encode(told)
    framed: list[Bytes] = []
    for part in (lengths, said, *parts):
        framed += [part, bytes(_padded(len(part)) - len(part))]
    return [_ANSWER.pack(len(parts), len(said), sum(map(len, framed))), *framed]


def _batch_of(beside: _Beside, stream: memoryview, index: memoryview, keys: memoryview) -> PredictionBatch:
    with pa.ipc.open_stream(stream) as reader:
        columns = reader.read_next_batch()
    return PredictionBatch(
        batch=columns,
        index=np.frombuffer(index, np.int64),
        keys=np.frombuffer(keys, np.uint64).reshape(-1, 2),
        **beside._asdict(),
    )


def _error_of(raised: _Raised) -> Exception:
    if not raised.kind:
        fault = RuntimeError(raised.detail)
        fault.add_note(raised.where)
        return fault
    problem: Problem = getattr(errors, raised.kind)(raised.detail, errors=raised.fields)
    return problem


def _stream(batch: pa.RecordBatch) -> memoryview:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def main() -> None:
    """Serve the standard input; whatever else prints finds no output.

    What asks all processes of a service to end, as systemd does, does not mean this one before the server: it still
    answers what it was given, and ends with its input.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sink = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    gc.collect()
    gc.freeze()  # what is loaded stays: the collector need not look at it
    os.write(sink, READY)
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
