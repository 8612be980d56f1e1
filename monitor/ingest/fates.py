"""What becomes of rows whose id and version are there already: the same row again, or another one under its name.

Rows are compared column by column. Only where a row was stored in other columns than it comes in now (its feature did
not fit the schema then, or a schema came in between) are the two put side by side, field by field.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection

from monitor import columns
from monitor.columns import FEATURE, FILLED_ID, FILLED_KNOWN_AT, FILLED_TIMESTAMP
from monitor.store import blocks, id_index
from monitor.store.id_index import Segment
from monitor.store.id_keys import order_of

NEW, DUPLICATE, CONFLICT = 0, 1, 2
_FILLED = {"id": FILLED_ID, "timestamp": FILLED_TIMESTAMP, "known_at": FILLED_KNOWN_AT}


def fates(
    connection: Connection,
    model_id: int,
    batch: pa.RecordBatch,
    keys: np.ndarray,
    versions: np.ndarray,
    segments: Sequence[Segment],
) -> np.ndarray:
    """For each row NEW, DUPLICATE or CONFLICT, against what is stored and against the rows before it: uint8[n].

    `segments`: those of the model's id index; its log is locked.
    """
    fate = np.full(batch.num_rows, NEW, np.uint8)
    stored = id_index.find(connection, model_id, keys, segments)
    mine = stored.version == versions[stored.at]
    at, numbers = stored.at[mine], stored.row[mine]
    if len(at):
        fate[at] = DUPLICATE  # as long as no body says otherwise: one that expires just now counts as the same
        for places, piece in blocks.read_places(connection, model_id, numbers):
            fate[at[places]] = _compared(batch.take(pa.array(at[places])), piece)
    again, first = _repeats(keys, versions)
    fresh = fate[first] == NEW  # the others were found in the store, as their first was
    again, first = again[fresh], first[fresh]
    if len(again):
        fate[again] = _compared(batch.take(pa.array(again)), batch.take(pa.array(first)))
    return fate


def _repeats(keys: np.ndarray, versions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose identity came before in the batch: pairs (place, place of the first)."""
    none = np.zeros(0, np.int64)
    order = order_of(keys)
    if not (keys[order[1:]] == keys[order[:-1]]).all(axis=1).any():
        return none, none
    order = np.lexsort((np.arange(len(keys)), versions, keys[:, 1], keys[:, 0]))
    fresh = (keys[order[1:]] != keys[order[:-1]]).any(axis=1) | (versions[order[1:]] != versions[order[:-1]])
    starts = np.concatenate([[True], fresh])
    first = order[np.flatnonzero(starts)][np.cumsum(starts) - 1]
    return order[~starts], first[~starts]


def _compared(given: pa.RecordBatch, other: pa.RecordBatch) -> np.ndarray:
    """DUPLICATE or CONFLICT for each pair of rows."""
    same, sure = _same(given, other)
    for at in np.flatnonzero(~sure).tolist():
        same[at] = same_body(body_of(other, at), body_of(given, at))
    return np.where(same, DUPLICATE, CONFLICT).astype(np.uint8)


def _same(one: pa.RecordBatch, other: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Whether rows of two batches say the same by their columns, and whether that is sure: bool[n], bool[n]."""
    same, sure = np.ones(one.num_rows, bool), np.ones(one.num_rows, bool)
    for name in dict.fromkeys([*one.schema.names, *other.schema.names]):
        if name == "filled":
            continue
        left, right = _given(one, name), _given(other, name)
        empty, bare = _nulls(left, one.num_rows), _nulls(right, one.num_rows)
        if left is None or right is None or left.type != right.type:
            equal = empty & bare
            sure &= equal | (empty | bare if left is None or right is None else False)
        else:
            equal = np.asarray(pc.fill_null(pc.equal(left, right), False)) | (empty & bare)
            if pa.types.is_floating(left.type):
                numbers = left.to_numpy(zero_copy_only=False), right.to_numpy(zero_copy_only=False)
                equal |= ~empty & ~bare & np.isnan(numbers[0]) & np.isnan(numbers[1])
        if name == "known_at":  # beyond the arrival it is cut to it, and so differs between tries
            equal = equal | empty | bare
        elif name == "extra":
            sure &= empty & bare
        same &= equal
    return same, sure


def _given(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    """A column as its sender gave it: null where it was filled in here; None where nothing is."""
    at = batch.schema.get_field_index(name)
    if at < 0 or pa.types.is_null(batch.schema.types[at]):
        return None
    array = batch.column(at)
    if name in _FILLED:
        made = batch.column("filled").to_numpy() & _FILLED[name] != 0
        if made.any():
            array = pc.if_else(pa.array(made), pa.scalar(None, array.type), array)
    return array


def _nulls(array: pa.Array | None, rows: int) -> np.ndarray:
    return np.ones(rows, bool) if array is None else np.asarray(array.is_null())


def body_of(batch: pa.RecordBatch, at: int) -> dict[str, Any]:
    """A row as its sender gave it: without nulls and without what was filled in here."""
    row = {name: batch.column(i)[at].as_py() for i, name in enumerate(batch.schema.names)}
    bits = row.pop("filled")
    for name, bit in _FILLED.items():
        if bits & bit:
            row.pop(name)
    row |= _kept_aside(row.pop("extra", None))
    return {name: value for name, value in row.items() if value is not None}


def _kept_aside(extra: str | None) -> dict[str, Any]:
    """The values that did not fit the schema, as the columns that they had while there was none."""
    try:
        return {} if extra is None else {FEATURE + name: value for name, value in orjson.loads(extra).items()}
    except orjson.JSONDecodeError:  # long ones were cut off once
        return {"extra": extra}


def same_body(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two rows, as their senders gave them, say the same."""
    # known_at beyond the arrival is cut to it, and so differs between tries: it counts only where both have it.
    names = (one.keys() | other.keys()) - ({"known_at"} if ("known_at" in one) != ("known_at" in other) else set())
    return all(name in one and name in other and _equal(one[name], other[name]) for name in names)


def _equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return one == other if type(one) is type(other) else columns.label_text(one) == columns.label_text(other)
