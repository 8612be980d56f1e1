"""Batches of the log as the columns that the statistics read, by the model's schema.

A value whose type does not fit its feature's kind counts as missing. Text features are followed only as present or
missing. A segment is a feature of the schema, else a tag.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitor import columns
from monitor.clock import SECOND
from monitor.columns import ACTUAL, FEATURE, SCORE, TAG
from monitor.stats.rows import Codes, Column, Numbers, Rows
from monitor.store.identity import keys_of
from monitor.store.outcomes import Held
from monitor.store.slices import IN, Slice, Term

PRESENT = ("present",)
NO_SLICES: Mapping[str, Slice] = {}

_INPUTS = ("timestamp", "known_at", "version", "role", "prediction", "score", "latency_ms", "error")
_OUTCOMES = ("timestamp", "known_at", "version", "role", "prediction", "score")


def input_columns(
    features: Mapping[str, str], segments: Iterable[str], slices: Mapping[str, Slice] = NO_SLICES
) -> list[str]:
    """The block columns that profiling rows needs, but for scores by class (see `with_scores`)."""
    return [*_INPUTS, *_feature_columns(features, segments, slices)]


def outcome_columns(
    features: Mapping[str, str], segments: Iterable[str], slices: Mapping[str, Slice] = NO_SLICES
) -> list[str]:
    """The block columns that profiling an outcome needs: what it is compared with, and the segments."""
    wanted = list(segments)
    named = {*wanted, *(term.feature for name in wanted for term in slices.get(name, ()))}
    chosen = {name: kind for name, kind in features.items() if name in named}
    return [*_OUTCOMES, *_feature_columns(chosen, wanted, slices)]


def _feature_columns(features: Mapping[str, str], segments: Iterable[str], slices: Mapping[str, Slice]) -> list[str]:
    named = [FEATURE + name for name, kind in features.items() if kind != "ignored"]
    return [*named, *(TAG + name for name in segments if name not in features and name not in slices)]


def with_scores(names: Sequence[str], classes: Sequence[str]) -> list[str]:
    return [*names, *(SCORE + label for label in classes)]


def fit(batch: pa.RecordBatch, features: Mapping[str, str]) -> pa.RecordBatch:
    """The batch with every feature in its kind's type, so that batches can be put together; others are left out."""
    if all(_fits(name, kind, features) for name, kind in zip(batch.schema.names, batch.schema.types, strict=True)):
        return batch
    arrays, names = [], []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if name.startswith(FEATURE):
            kind = features.get(name[len(FEATURE) :], "ignored")
            if kind == "ignored":
                continue
            array = _fitted(array, kind)
        arrays.append(array)
        names.append(name)
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _fits(name: str, kind: pa.DataType, features: Mapping[str, str]) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return not name.startswith(FEATURE) or columns.ARROW_KINDS.get(features.get(name[len(FEATURE) :], "")) == kind


def _fitted(array: pa.Array, kind: str) -> pa.Array:
    wanted = columns.ARROW_KINDS[kind]
    if array.type == wanted or (pa.types.is_dictionary(array.type) and array.type.value_type == wanted):
        return array
    if kind == "numeric" and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        return array.cast(wanted)
    if kind == "categorical" and not pa.types.is_nested(array.type):
        return columns.label_array(array)
    return pa.nulls(len(array), wanted)


def join(batches: Sequence[pa.RecordBatch], features: Mapping[str, str]) -> pa.RecordBatch:
    """One batch of several blocks, features in their kinds' types."""
    return columns.concatenate([fit(batch, features) for batch in batches])


def keys(batch: pa.RecordBatch) -> list[bytes]:
    """The outcome keys of a batch that has its `id` column."""
    return keys_of(batch.column("id").to_pylist())


def to_rows(
    batch: pa.RecordBatch,
    task: str,
    features: Mapping[str, str],
    segments: Iterable[str] = (),
    held: Sequence[Held | None] | None = None,
    slices: Mapping[str, Slice] = NO_SLICES,
) -> Rows:
    """The columns of a fitted batch.

    Args:
        batch: n rows; of its columns those that are here are used. A column `actual` (references) is the outcome.
        features: name to kind.
        segments: names of tags or features that segments are made of.
        held: the outcome of each row, None where there is none; None for all: no outcomes.
        slices: those of the segments that are slices, with their terms.
    """
    n = batch.num_rows
    found = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
    stamps = found["timestamp"].to_numpy() if "timestamp" in found else None
    actual, delay = _actual(found, task, held, stamps)
    scores = {name[len(SCORE) :]: array for name, array in found.items() if name.startswith(SCORE)}
    error = found.get("error")
    return Rows(
        n=n,
        features={
            name[len(FEATURE) :]: _column(array, features[name[len(FEATURE) :]])
            for name, array in found.items()
            if name.startswith(FEATURE) and features.get(name[len(FEATURE) :], "ignored") != "ignored"
        },
        prediction=_answer(found.get("prediction"), task),
        score=_floats(found.get("score")),
        scores=np.column_stack([_numbers(array).present() for array in scores.values()]) if scores else None,
        score_classes=tuple(scores),
        latency_ms=_floats(found.get("latency_ms")),
        is_error=None if error is None else error.is_valid().to_numpy(zero_copy_only=False),
        actual=actual,
        label_delay=delay,
        segments={
            name: _sliced(found, slices[name], features, n) if name in slices else _segment(found, name, features, n)
            for name in segments
        },
    )


def in_segment(
    batch: pa.RecordBatch, features: Mapping[str, str], name: str, value: str, slices: Mapping[str, Slice] = NO_SLICES
) -> NDArray[np.bool_]:
    """bool[n]: the rows of a fitted batch that are in the segment NAME:VALUE, as profiles count them."""
    n = batch.num_rows
    found = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
    column = _sliced(found, slices[name], features, n) if name in slices else _segment(found, name, features, n)
    places = [place for place, level in enumerate(column.levels) if level == value]
    return np.isin(column.codes, places)


def _actual(
    found: Mapping[str, pa.Array], task: str, held: Sequence[Held | None] | None, stamps: NDArray[np.int64] | None
) -> tuple[Column | None, NDArray[np.float64] | None]:
    if held is None:
        return _answer(found.get(ACTUAL), task), None
    delay = np.full(len(held), np.nan)
    if stamps is not None:
        known = np.array([-1 if one is None else one.known_at for one in held], dtype=np.int64)
        has = known >= 0
        delay[has] = (known[has] - stamps[has]) / SECOND
    if task == "regression":
        values = np.array([np.nan if one is None else float(one.actual) for one in held], dtype=np.float64)
        return Numbers(values), delay
    return Codes.of([None if one is None else one.actual for one in held]), delay


def _answer(array: pa.Array | None, task: str) -> Column | None:
    if array is None or array.null_count == len(array):
        return None
    if task == "regression":
        return _numbers(array.cast(pa.float64()))
    return _codes(array if pa.types.is_dictionary(array.type) else columns.label_array(array))


def _column(array: pa.Array, kind: str) -> Column:
    if kind == "numeric":
        return _numbers(array)
    if kind == "boolean":
        return Codes.of_booleans(array.fill_null(False).to_numpy(zero_copy_only=False), _nulls(array))
    if kind == "text":
        return Codes(np.where(array.is_valid().to_numpy(zero_copy_only=False), 0, -1).astype(np.int64), PRESENT)
    return _codes(array)


def _numbers(array: pa.Array) -> Numbers:
    return Numbers(array.to_numpy(zero_copy_only=False), _nulls(array))


def _floats(array: pa.Array | None) -> NDArray[np.float64] | None:
    """NaN where absent; None when no row has a value."""
    if array is None or array.null_count == len(array):
        return None
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)


def _nulls(array: pa.Array) -> NDArray[np.bool_] | None:
    return array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None


def _codes(array: pa.Array) -> Codes:
    encoded = array.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Codes(codes, tuple(encoded.dictionary.to_pylist()))


def _segment(found: Mapping[str, pa.Array], name: str, features: Mapping[str, str], n: int) -> Codes:
    """A segment's column: of a feature of any kind as canonical text, else of a tag."""
    array = found.get((FEATURE if name in features else TAG) + name)
    if array is None:
        return Codes(np.full(n, -1, dtype=np.int64), ())
    if features.get(name) == "boolean":
        return Codes.of_booleans(array.fill_null(False).to_numpy(zero_copy_only=False), _nulls(array))
    encoded = array.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Codes(codes, tuple(columns.label_text(level) for level in encoded.dictionary.to_pylist()))


def _sliced(found: Mapping[str, pa.Array], terms: Slice, features: Mapping[str, str], n: int) -> Codes:
    """A slice as a segment: its rows are `in`."""
    inside = np.ones(n, np.bool_)
    for term in terms:
        array = found.get(FEATURE + term.feature)
        inside &= term.missing if array is None else _meets(_column(array, features[term.feature]), term)
    return Codes(np.where(inside, 0, -1).astype(np.int64), (IN,))


def _meets(column: Column, term: Term) -> NDArray[np.bool_]:
    """bool[n]: the rows that meet a term; a term of another kind than its feature is met by none."""
    if isinstance(column, Numbers):
        usable = np.isfinite(column.present())
        if term.missing:
            return ~usable
        if term.levels is not None:
            return np.zeros(len(column), np.bool_)
        low = -np.inf if term.low is None else term.low
        high = np.inf if term.high is None else term.high
        return np.asarray(usable & (column.values >= low) & (column.values < high))
    if term.missing:
        return np.asarray(column.codes < 0)
    if term.levels is None:
        return np.zeros(len(column), np.bool_)
    named = np.array([*((level in term.levels) != term.but for level in column.levels), False], np.bool_)
    return named[column.codes]
