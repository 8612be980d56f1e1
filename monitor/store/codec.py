"""The payload of a block: a batch in as few bytes as quick reading allows.

A payload is a head, plain numbers, and two zstd frames. A frame holds an Arrow IPC stream: the one of ids, which
counting rows does not need, the other of every other column that is not plain, with texts that repeat as codes. Two
things are known of the float columns of real logs, and both are made use of:

- Most are decimals: 41.35 is stored as the integer 4135, in the smallest width that holds the column, and read back as
  4135 / 100, which is the same float to the bit (Afroozeh, Kuffo and Boncz, "ALP: Adaptive lossless floating-point
  compression", SIGMOD 2023).
- The others are noise to a compressor: it saves a twentieth and reads ten times slower. They are stored as they are,
  column after column.

A column that repeats itself, or that has nulls and is no decimal, stays in the frame as it is.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitor.columns import concatenate, pack, unpack

Floats = NDArray[np.float64]

_ZSTD = pa.Codec("zstd", compression_level=1)
_HEAD = struct.Struct("<QIIII")  # rows; bytes of the stream and its frame, of the stream aside and its frame
_FRAME = b"\x28\xb5\x2f\xfd"  # how a zstd frame begins
_POWERS = 10.0 ** np.arange(10)  # digits behind the point
_LARGEST = float(2**31 - 1)
_FEW = 256  # rows: with fewer, the frame is all there is; `compaction` will merge them with their neighbours
_SAMPLE = 64  # rows that are asked first
_DISTINCT = 0.75  # of them: below, a compressor finds what repeats
_ASIDE = ("id",)  # read only where they are asked for
_LAYOUT = b"layout"  # in the metadata of the stream's schema


def encode(batch: pa.RecordBatch) -> bytes:
    """The payload of a batch; `decode` gives back the same values, bit for bit."""
    many = len(batch) >= _FEW
    if many:
        batch = pack(batch)
    order = batch.schema.names
    arrays = dict(zip(order, batch.columns, strict=True))
    plain: dict[str, Floats] = {}
    layout = _Layout()
    for name, array in arrays.items():
        if many and pa.types.is_float64(array.type) and array.null_count < len(array):
            values = (array.fill_null(0.0) if array.null_count else array).to_numpy()
            sample = values[:: len(values) // _SAMPLE]
            found = _as_decimal(values, sample)
            if found is not None:
                layout.decimal[name], whole, minus = found
                arrays[name] = pa.array(whole, mask=_nulls(array))
                if minus:
                    layout.minus_zero.append(name)
            elif not array.null_count and len(np.unique(sample)) > _DISTINCT * len(sample):
                plain[name] = values
    aside = [name for name in order if name in _ASIDE] if many else []
    if plain or aside:
        layout.order, layout.plain = order, list(plain)
    kept = [name for name in order if name not in plain and name not in aside]
    stream = _stream({name: arrays[name] for name in kept}, layout)
    texts = _stream({name: arrays[name] for name in aside}) if aside else b""
    frames = [bytes(_ZSTD.compress(one, asbytes=True)) if one else b"" for one in (stream, texts)]
    head = _HEAD.pack(len(batch), len(stream), len(frames[0]), len(texts), len(frames[1]))
    return b"".join([head, *(values.tobytes() for values in plain.values()), *frames])


def decode(payload: bytes, columns: Sequence[str] | None = None) -> pa.RecordBatch:
    """The batch of a block; with `columns`, only those of them that it has."""
    return unpack(_assembled([_Opened.of(payload, columns)], columns))


def decode_runs(payloads: Iterable[bytes], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of several blocks in order, neighbours with the same layout in one batch, codes as they are.

    Much quicker than block by block: what Arrow and Python do once for every column is done once for a run of blocks.
    """
    opened = (_Opened.of(payload, columns) for payload in payloads)
    for _, run in groupby(opened, key=lambda one: one.schema):
        yield _assembled(list(run), columns)


class _Opened(NamedTuple):
    """A block's parts: its stream, the bytes that say what is in it, its plain numbers, float64[columns, rows], and
    the columns that lie aside, None where nobody asked for them."""

    stream: pa.RecordBatch
    schema: bytes
    numbers: Floats
    aside: pa.RecordBatch | None

    @classmethod
    def of(cls, payload: bytes, columns: Sequence[str] | None) -> "_Opened":
        if payload[8:12] == _FRAME:  # of a time when a payload was the length of a stream and its frame
            payload = _HEAD.pack(0, int.from_bytes(payload[:8], "little"), len(payload) - 8, 0, 0) + payload[8:]
        rows, size, framed, more, texts = _HEAD.unpack_from(payload)
        last = len(payload) - texts
        first = last - framed
        view = memoryview(payload)
        raw = _ZSTD.decompress(view[first:last], decompressed_size=size)
        stream = pa.ipc.open_stream(raw).read_next_batch()
        aside = None
        if more and (columns is None or any(name in columns for name in _ASIDE)):
            aside = pa.ipc.open_stream(_ZSTD.decompress(view[last:], decompressed_size=more)).read_next_batch()
        numbers = np.frombuffer(payload, np.float64, (first - _HEAD.size) // 8, _HEAD.size)
        # A stream begins with its schema: a mark and the length, four bytes each, then so many bytes.
        schema = bytes(raw[: 8 + int.from_bytes(raw[4:8], "little")])
        return cls(stream, schema, numbers.reshape(-1, max(rows, 1)), aside)


def _assembled(blocks: list[_Opened], columns: Sequence[str] | None) -> pa.RecordBatch:
    """The rows of blocks of one layout."""
    written = (blocks[0].stream.schema.metadata or {}).get(_LAYOUT)
    layout = _Layout() if written is None else msgspec.json.decode(written, type=_Layout)
    stream = concatenate([one.stream for one in blocks])
    arrays = dict(zip(stream.schema.names, stream.columns, strict=True))
    texts = [one.aside for one in blocks if one.aside is not None]
    if texts:
        aside = concatenate(texts)
        arrays |= zip(aside.schema.names, aside.columns, strict=True)
    numbers = blocks[0].numbers if len(blocks) == 1 else np.concatenate([one.numbers for one in blocks], axis=1)
    arrays |= {name: pa.array(row) for name, row in zip(layout.plain, numbers, strict=True)}
    order = layout.order or stream.schema.names
    wanted = arrays.keys() if columns is None else arrays.keys() & set(columns)
    names = [name for name in order if name in wanted]
    for name in layout.decimal.keys() & names:
        arrays[name] = _from_decimal(arrays[name], layout.decimal[name], name in layout.minus_zero)
    return pa.RecordBatch.from_arrays([arrays[name] for name in names], names=names)


class _Layout(msgspec.Struct, omit_defaults=True):
    """Which columns are plain; the order of all, where some are not in the stream; the digits behind the point of those
    that are stored as integers, and which of these have a minus zero, stored as the smallest integer."""

    order: list[str] = []
    plain: list[str] = []
    decimal: dict[str, int] = {}
    minus_zero: list[str] = []


def _stream(arrays: dict[str, pa.Array], layout: _Layout | None = None) -> pa.Buffer:
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
    if layout is not None:
        batch = batch.replace_schema_metadata({_LAYOUT: msgspec.json.encode(layout)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _nulls(array: pa.Array) -> NDArray[np.bool_] | None:
    return array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None


def _as_decimal(values: Floats, sample: Floats) -> tuple[int, NDArray[np.signedinteger[Any]], bool] | None:
    """Digits behind the point, the values as integers, and whether a minus zero is among them; None where that would
    lose a bit of any."""
    with np.errstate(over="ignore", invalid="ignore"):
        fits = (np.rint(sample * _POWERS[:, None]) / _POWERS[:, None] == sample).all(axis=1)
        for digits in np.flatnonzero(fits).tolist():
            whole = np.rint(values * _POWERS[digits])
            largest = np.abs(whole).max()
            if largest <= _LARGEST and np.array_equal(whole / _POWERS[digits], values):
                kind = np.int8 if largest < 2**7 else np.int16 if largest < 2**15 else np.int32
                found = whole.astype(kind)
                minus = (whole == 0) & np.signbit(values)
                found[minus] = np.iinfo(kind).min
                return digits, found, bool(minus.any())
    return None


def _from_decimal(array: pa.Array, digits: int, minus_zero: bool) -> pa.Array:
    whole = (array.fill_null(0) if array.null_count else array).to_numpy()
    values = whole.astype(np.float64)
    values /= _POWERS[digits]
    if minus_zero:
        values[whole == np.iinfo(whole.dtype).min] = -0.0
    return pa.array(values, mask=_nulls(array))
