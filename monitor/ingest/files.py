"""Columns of a file as columns of a draft.

Columns are named as in the API: `id`, `timestamp`, `prediction`, …, `features.NAME`, `tags.NAME`, `scores.CLASS`, or
structs `features`, `tags`, `scores`. In a file without any `features.…` column, every column of another name is a
feature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitor import clock
from monitor.columns import ACTUAL, ARROW_KINDS, FEATURE, SCORE, TAG, label_array
from monitor.errors import SetupError
from monitor.ingest.draft import Draft
from monitor.ingest.names import hints, says_nothing, shown
from monitor.store.catalog import Model

_TEXTS = ("id", "version", "error", "role", "served_from", "environment")
_TIMES = ("timestamp", "known_at", "computed_at", "observed_at")
_NUMBERS = ("score", "latency_ms")
_FIXED = (*_TEXTS, *_TIMES, *_NUMBERS, "prediction")
_EXPORTED = ("outcomes", "not_in_schema")  # what an export has beside the columns that are read
_NO_TIME = (
    "not a time with an offset, for instance 2026-01-31T12:00:00Z; "
    "with --timezone also 2026-01-31 or 2026-01-31 12:00:00: year, month, day"
)
_PREFIXES = {"features": FEATURE, "tags": TAG, "scores": SCORE}


@dataclass(frozen=True)
class Mapped:
    """Which column of the file became what."""

    columns: dict[str, str]  # file column -> column of monitor.columns
    unused: list[str]


def map_columns(schema: pa.Schema, kind: str) -> Mapped:
    """Which columns of a file mean what.

    Raises:
        SetupError: a column that is needed is not there.
    """
    if len(schema) == 1 and any(sign in schema.names[0] for sign in ";\t|"):
        raise SetupError("the file has one column: separate its values by commas")
    mapped: dict[str, str] = {}
    others: list[str] = []
    known = ("id", ACTUAL, "observed_at", "known_at") if kind == "outcomes" else _FIXED
    exported = _exported(schema)
    for field in schema:
        prefix, dot, inner = field.name.partition(".")
        if exported and kind == "outcomes" and field.name == "known_at":
            others.append(field.name)  # when the prediction was known, not its outcome
        elif field.name in known or (kind == "reference" and field.name == ACTUAL):
            mapped[field.name] = field.name
        elif kind != "outcomes" and dot and prefix in _PREFIXES:
            mapped[field.name] = _PREFIXES[prefix] + inner
        elif kind != "outcomes" and field.name in _PREFIXES and pa.types.is_struct(field.type):
            mapped.update({f"{field.name}.{one.name}": _PREFIXES[field.name] + one.name for one in field.type})
        else:
            others.append(field.name)
    needed = ("id", ACTUAL) if kind == "outcomes" else ()
    for name in needed:
        if name not in mapped:
            raise SetupError(f"a file of outcomes needs a column `{name}`; it has {', '.join(schema.names[:20])}")
    if kind != "outcomes" and not any(target.startswith(FEATURE) for target in mapped.values()):
        beside = (ACTUAL, "observed_at", *(_EXPORTED if exported else ()))
        bare = [name for name in others if name not in beside]
        mapped.update({name: FEATURE + name for name in bare})
        others = [name for name in others if name not in bare]
    if not mapped:
        raise SetupError("the file has no column that is known here")
    if kind == "predictions" and says_nothing(mapped.values()):
        meant = "".join(f"; {hint}" for hint in hints(schema.names, ["id", "timestamp", "prediction", "score"]))
        raise SetupError(
            "a file of predictions needs a column `id`, `timestamp`, `prediction` or `score`, best all of them; "
            f"it has {shown(schema.names)}{meant}"
        )
    return Mapped(mapped, others)


def _exported(schema: pa.Schema) -> bool:
    """Whether the file is one that `keepwatch export` wrote: each row has the list of its outcomes."""
    at = schema.get_field_index("outcomes")
    return at >= 0 and isinstance(schema.field(at).type, pa.ListType | pa.LargeListType)


def without_unlabelled(draft: Draft) -> tuple[Draft, int]:
    """A draft of outcomes without the rows that have no label yet, which are no outcomes; and how many those were."""
    labels = draft.columns.get(ACTUAL)
    if labels is None or labels.null_count == 0:
        return draft, 0
    draft = draft.keep(~np.asarray(labels.is_null()))
    draft.total -= labels.null_count
    return draft, labels.null_count


def draft_of(table: pa.Table, mapped: Mapped, model: Model, kind: str, history: bool) -> Draft:
    """A piece of a file as a draft for validation."""
    table = _without_structs(table)
    draft = Draft({}, np.arange(table.num_rows), table.num_rows, [])
    bad: list[tuple[np.ndarray, str]] = []
    for source, target in mapped.columns.items():
        array = table.column(source).combine_chunks()
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        fitted, wrong, message = _fit(array, target, model)
        draft.columns[target] = fitted
        if wrong is not None and wrong.any():
            bad.append((wrong, f"{source}: {message}"))
    if history:
        own = "observed_at" if kind == "outcomes" else "timestamp"
        if own not in draft.columns:
            raise SetupError(f"--history needs a column `{own}`: the time that each row was known")
        draft.columns.setdefault("known_at", draft.columns[own])
    masks = np.zeros(table.num_rows, bool)
    for wrong, message in bad:
        draft = draft.reject(wrong[~masks], "invalid", message)
        masks |= wrong
    return draft


def _without_structs(table: pa.Table) -> pa.Table:
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def _fit(array: pa.Array, target: str, model: Model) -> tuple[pa.Array, np.ndarray | None, str]:
    """A file's column in the type it needs here; where a value could not become that, and why."""
    if target in _TIMES:
        return _times(array)
    if target == ACTUAL:
        array = _filled(array)
    if target in ("prediction", ACTUAL):
        if model.task == "regression":
            return _as_numbers(array)
        return label_array(array), None, ""
    if target in _NUMBERS or target.startswith(SCORE):
        return _as_numbers(array)
    if target.startswith(FEATURE):
        kind = None if model.features is None else model.features.get(target[2:])
        return _feature(array, kind), None, ""
    return label_array(array), None, ""


def _filled(array: pa.Array) -> pa.Array:
    """Labels, with null for what tables have in place of none: blanks and NaN."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        empty = pc.equal(pc.utf8_trim_whitespace(array), "")
    elif pa.types.is_floating(array.type):
        empty = pc.is_nan(array)
    else:
        return array
    return pc.if_else(pc.fill_null(empty, True), pa.scalar(None, array.type), array)


def _feature(array: pa.Array, kind: str | None) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind is None:
        number = pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_decimal(array.type)
        return array.cast(pa.float64()) if number else array if pa.types.is_boolean(array.type) else label_array(array)
    wanted = ARROW_KINDS.get(kind, pa.string())
    if pa.types.is_string(wanted):
        return label_array(array)
    try:
        return array.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # A column of another type than the schema's: kept as text, and counted as not fitting when it is profiled.
        return label_array(array)


def _as_numbers(array: pa.Array) -> tuple[pa.Array, np.ndarray | None, str]:
    try:
        return array.cast(pa.float64()), None, ""
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values, wrong = _each(array, float)
        return pa.array(values, pa.float64()), wrong, "expected a number"


def _times(array: pa.Array) -> tuple[pa.Array, np.ndarray | None, str]:
    if pa.types.is_timestamp(array.type):
        if array.type.tz is None:
            wrong = ~np.asarray(array.is_null())
            return pa.nulls(len(array), pa.int64()), wrong, "a time needs an offset; this column has no time zone"
        return pc.cast(array, pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64()), None, ""
    values, wrong = _each(label_array(array), clock.parse)
    return pa.array(values, pa.int64()), wrong, _NO_TIME


def _each(array: pa.Array, convert: Callable[[Any], Any]) -> tuple[list[Any], np.ndarray]:
    """Each value converted; None where that failed, and where that was."""
    values: list[Any] = []
    wrong = np.zeros(len(array), bool)
    for at, value in enumerate(array.to_pylist()):
        try:
            values.append(None if value is None else convert(value))
        except (ValueError, TypeError):
            values.append(None)
            wrong[at] = True
    return values, wrong
