"""Parsed rows or columns into Arrow columns."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from monitor.columns import ACTUAL, ARROW_KINDS, FEATURE, SCORE, TAG, label_strings
from monitor.errors import Invalid
from monitor.ingest.draft import Draft, Rejection, whole_json
from monitor.ingest.rowtypes import SCALARS, TIMES, Typed
from monitor.store.catalog import Model

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_NUMBERS = {"score", "latency_ms"}


def times(values: Sequence[datetime | None]) -> pa.Array:
    """Microseconds since 1970 UTC of aware datetimes."""
    return pa.array(values, _TIMESTAMP).cast(pa.int64())


def values_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return label_strings(values) if pa.types.is_string(kind) else doubles(values)


def transposed(structs: Sequence[msgspec.Struct], fields: int) -> list[list[Any]]:
    """The structs' values field by field."""
    flat = list(chain.from_iterable(map(msgspec.structs.astuple, structs)))
    return [flat[field::fields] for field in range(fields)]


def from_rows(
    rows: Sequence[Any],
    features: Mapping[str, list[Any]],
    extra: list[str | None] | None,
    model: Model,
    index: np.ndarray,
    total: int,
    rejected: list[Rejection],
) -> Draft:
    """Columns of row structs and of the feature values beside them; columns that nobody gave are left out."""
    columns: dict[str, pa.Array] = {}
    fields = rows[0].__struct_fields__ if rows else ()
    parsed = dict(zip(fields, transposed(rows, len(fields)), strict=True))
    for name in [*SCALARS, ACTUAL]:
        if name in parsed:
            _put(columns, name, parsed[name], model)
    for prefix, field, kind in ((TAG, "tags", pa.string()), (SCORE, "scores", pa.float64())):
        given = parsed.get(field, [])
        names = dict.fromkeys(name for one in given if one for name in one)
        for name in names:
            values = [one.get(name) if one else None for one in given]
            columns[prefix + name] = values_array(values, kind)
    for name, values in features.items():
        columns[FEATURE + name] = _feature(values, None if model.features is None else model.features.get(name))
    if extra is not None and any(text is not None for text in extra):
        columns["extra"] = pa.array(extra, pa.string())
    return _only_numbers(Draft(columns, index, total, rejected), model)


def from_columns(body: Any, structs: Typed, model: Model) -> Draft:
    """Columns of a typed columns body.

    Raises:
        Invalid: lists of different lengths.
    """
    columns: dict[str, pa.Array] = {}
    lengths: dict[str, int] = {}
    for name in [*SCALARS, ACTUAL]:
        values = getattr(body, name, None)
        if values is not None:
            lengths[name] = len(values)
            _put(columns, name, values, model)
    for prefix, field, kind in ((TAG, "tags", pa.string()), (SCORE, "scores", pa.float64())):
        for name, values in (getattr(body, field) or {}).items():
            lengths[f"{field}.{name}"] = len(values)
            columns[prefix + name] = values_array(values, kind)
    if body.features is not None:
        for name, attribute in zip(structs.names, structs.fields, strict=True):
            values = getattr(body.features, attribute)
            if values is not None:
                lengths[f"features.{name}"] = len(values)
                columns[FEATURE + name] = _feature(values, (model.features or {}).get(name))
    rows = next(iter(lengths.values()), 0)
    for name, length in lengths.items():
        if length != rows:
            raise Invalid.field(f"columns.{name}", f"has {length} values where others have {rows}")
    return _only_numbers(Draft(columns, np.arange(rows), rows, []), model)


def _put(columns: dict[str, pa.Array], name: str, values: list[Any], model: Model) -> None:
    if name == "error":  # `false` says that there was none
        values = [None if value is False else value for value in values]
    if values.count(None) == len(values):
        return
    if name in TIMES:
        array = times(values)
    elif name in _NUMBERS:
        array = pa.array(values, pa.float64())
    elif name in ("prediction", ACTUAL):
        # What is no number is NaN here, which validation rejects.
        array = doubles(values) if model.task == "regression" else label_strings(values)
    else:
        array = label_strings(values)
    columns[name] = array


def double(value: object) -> float:
    """A JSON number as a double; NaN for what is none: a text, a truth value, an integer that no double can hold.

    Arrow refuses integers above 2^53 where a double cannot hold every digit; we round them as JSON readers do.
    """
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan


def doubles(values: Sequence[Any]) -> pa.Array:
    """Numbers as doubles, None as null."""
    return pa.array([None if value is None else double(value) for value in values], pa.float64())


def _feature(values: list[Any], kind: str | None) -> pa.Array:
    if kind in ("numeric", "boolean"):
        return pa.array(values, ARROW_KINDS[kind])
    if kind is not None:
        return label_strings(values)
    return _inferred(values)


def _inferred(values: list[Any]) -> pa.Array:
    """Before a schema is known a column takes the type of its values: all numbers, all truth values, else text."""
    types = {type(value) for value in values if value is not None}
    if types <= {int, float}:
        return doubles(values)
    return pa.array(values, pa.bool_()) if types == {bool} else label_strings(values)


def fit_features(
    given: Sequence[Mapping[str, Any]], schema: Mapping[str, str] | None
) -> tuple[dict[str, list[Any]], list[str | None]]:
    """Feature columns of loose rows; what does not fit the schema goes, as JSON, into `extra`."""
    extra: list[str | None] = [None] * len(given)
    names = list(schema) if schema is not None else list(dict.fromkeys(name for row in given for name in row))
    values: dict[str, list[Any]] = {name: [None] * len(given) for name in names}
    for at, row in enumerate(given):
        odd: dict[str, Any] = {}
        for name, value in row.items():
            column = values.get(name)
            if value is None:
                continue
            if column is not None and _fits(value, None if schema is None else schema[name]):
                column[at] = float(value) if schema is not None and schema[name] == "numeric" else value
            else:
                odd[name] = value
        if odd:
            extra[at] = whole_json(dict(sorted(odd.items())))
    return values, extra


def _fits(value: object, kind: str | None) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind != "numeric" and isinstance(value, str | bool):
        return True
    return not math.isnan(double(value))  # JSON has no NaN of its own


def _only_numbers(draft: Draft, model: Model) -> Draft:
    """A regression's predictions and actuals must be numbers."""
    if model.task == "regression":
        for name in ("prediction", ACTUAL):
            array = draft.columns.get(name)
            if array is not None:
                wrong = np.isnan(array.to_numpy(zero_copy_only=False)) & ~np.asarray(array.is_null())
                draft = draft.reject(wrong, "invalid", f"{name}: expected a number")
    return draft
