"""A batch of predictions as columns: the one in-memory shape, from ingest to the statistics.

A batch is an Arrow record batch. Its fixed columns are `FIXED`; beside them stand the columns that a model's users
named, told apart by a prefix: ``f:`` features, ``t:`` tags, ``s:`` scores by class. A block in the store is such a
batch.

| column | type | meaning |
|---|---|---|
| id | string | the sender's id, or a UUIDv7 made here |
| timestamp, known_at | int64 | microseconds UTC; known_at is never later than the arrival |
| filled | uint8 | what was filled in here: FILLED_ID, FILLED_TIMESTAMP, FILLED_KNOWN_AT |
| version | int32 | model_version.id |
| prediction | string or double | canonical label, or the number of a regression |
| score, latency_ms | double | P(positive class); milliseconds |
| error, role, served_from, environment | string | |
| computed_at | int64 | microseconds UTC |
| extra | string | JSON object of feature values that did not fit the schema |
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

FEATURE = "f:"
TAG = "t:"
SCORE = "s:"
ACTUAL = "actual"  # only in references

FILLED_ID = 1
FILLED_TIMESTAMP = 2
FILLED_KNOWN_AT = 4

FIXED: dict[str, pa.DataType] = {
    "id": pa.string(),
    "timestamp": pa.int64(),
    "known_at": pa.int64(),
    "filled": pa.uint8(),
    "version": pa.int32(),
    "prediction": pa.string(),
    "score": pa.float64(),
    "latency_ms": pa.float64(),
    "error": pa.string(),
    "role": pa.string(),
    "served_from": pa.string(),
    "environment": pa.string(),
    "computed_at": pa.int64(),
    "extra": pa.string(),
}

ARROW_KINDS: dict[str, pa.DataType] = {
    "numeric": pa.float64(),
    "categorical": pa.string(),
    "boolean": pa.bool_(),
    "text": pa.string(),
}


def prediction_type(task: str) -> pa.DataType:
    """The Arrow type of predictions and actuals: numbers for a regression, canonical labels otherwise."""
    return pa.float64() if task == "regression" else pa.string()


_UNPACKED = ("id", "extra")  # texts that hardly repeat
_CODES = (pa.int8(), pa.int16(), pa.int32())


def pack(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with texts that repeat as codes into a short list of them, in the smallest integers that hold these."""
    names = batch.schema.names
    packed = [_coded(array) if _packs(name, array) else array for name, array in zip(names, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(packed, names=names)


def _packs(name: str, array: pa.Array) -> bool:
    return pa.types.is_string(array.type) and name not in _UNPACKED


def _coded(array: pa.Array) -> pa.Array:
    found = array.dictionary_encode()
    many = len(found.dictionary)
    if many > max(len(array) // 2, 1):
        return array
    kind = next(kind for kind in _CODES if many <= 1 << (kind.bit_width - 1))
    return pa.DictionaryArray.from_arrays(found.indices.cast(kind), found.dictionary)


def unpack(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with codes as texts again."""
    columns = batch.columns
    if not any(pa.types.is_dictionary(array.type) for array in columns):
        return batch
    plain = [array.dictionary_decode() if pa.types.is_dictionary(array.type) else array for array in columns]
    return pa.RecordBatch.from_arrays(plain, names=batch.schema.names)


def recode(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with all its texts, but ids, as codes of one width, so that batches of any blocks can be joined."""
    columns = []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if _packs(name, array):
            array = array.dictionary_encode()
        elif pa.types.is_dictionary(array.type) and array.type.index_type != _CODES[-1]:
            array = pa.DictionaryArray.from_arrays(array.indices.cast(_CODES[-1]), array.dictionary)
        columns.append(array)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def label_text(value: object) -> str:
    """The canonical text of a class label or level: "yes" -> "yes", 1 and 1.0 -> "1", True -> "true"."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)


def label_array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Canonical label texts of an Arrow array of strings, integers, floats or booleans; nulls and NaN stay null."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type):
        return array
    if pa.types.is_large_string(array.type) or pa.types.is_boolean(array.type) or pa.types.is_integer(array.type):
        return array.cast(pa.string())
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.string())
    return pa.array(
        [None if v is None or v != v else label_text(v) for v in array.to_pylist()],
        pa.string(),
    )


def label_strings(values: Iterable[Any]) -> pa.Array:
    """Canonical label texts of Python values."""
    listed = list(values)
    try:
        return pa.array(listed, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        pass
    if {type(value) for value in listed} <= {int, type(None)}:  # Arrow would cut the decimals of others
        try:
            return label_array(pa.array(listed, pa.int64()))
        except (pa.ArrowInvalid, OverflowError):
            pass
    return pa.array([None if v is None else label_text(v) for v in listed], pa.string())


def features_of(names: Iterable[str]) -> list[str]:
    """The feature names among column names, in their order."""
    return [name[len(FEATURE) :] for name in names if name.startswith(FEATURE)]


def concatenate(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of several, their columns united; a column that one of them lacks is null there.

    Where the same feature came with different types, all of it becomes text.
    """
    if len(batches) == 1:
        return batches[0]
    with suppress(pa.ArrowInvalid):  # other columns, or more texts together than codes of this width can tell apart
        return pa.concat_batches(batches)
    if any(pa.types.is_dictionary(kind) for batch in batches for kind in batch.schema.types):
        batches = [recode(batch) for batch in batches]
    types: dict[str, pa.DataType] = {}
    for batch in batches:
        for field in batch.schema:
            known = types.setdefault(field.name, field.type)
            if known != field.type:
                types[field.name] = field.type if pa.types.is_null(known) else known
                if not pa.types.is_null(known) and not pa.types.is_null(field.type):
                    types[field.name] = pa.string()
    arrays = [pa.concat_arrays([_column(batch, name, kind) for batch in batches]) for name, kind in types.items()]
    return pa.RecordBatch.from_arrays(arrays, names=list(types))


def _column(batch: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
    index = batch.schema.get_field_index(name)
    if index < 0:
        return pa.nulls(batch.num_rows, kind)
    array = batch.column(index)
    if array.type == kind:
        return array
    return label_array(array) if pa.types.is_string(kind) else array.cast(kind)


def longest_text(array: pa.Array) -> int:
    """Bytes of the longest text in a string array; 0 for an empty one."""
    return pc.max(pc.binary_length(array)).as_py() or 0


def holds_nul(array: pa.Array) -> bool:
    """Whether any text of a string array may contain a NUL character (looked up in the raw bytes)."""
    data = array.buffers()[2]
    return data is not None and b"\x00" in memoryview(data).tobytes()
