"""Arrow record batches into drafts: the same rows as in JSON become the same columns, without a step per row.

Columns are named as the fields of a JSON row; features stand in a struct `features` or in columns `features.NAME`, and
so do tags and scores. A feature that does not fit the model's schema goes, as JSON, into `extra`, as it does there.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitor.columns import ACTUAL, FEATURE, SCORE, TAG
from monitor.errors import Invalid, TooLarge
from monitor.ingest import arrow_values as convert
from monitor.ingest.draft import Draft, whole_json
from monitor.ingest.rowtypes import SCALARS, TIMES
from monitor.store.catalog import Model

GROUP_ROWS = 10_000
_GROUP_CELLS = 2_000_000  # rows times columns that are worked on at once: a thousand columns may be wide and empty
_GROUPS = {"features": FEATURE, "tags": TAG, "scores": SCORE}
_OUTCOME = ("id", ACTUAL, "observed_at", "known_at")
_NUMBERS = ("score", "latency_ms")
_SHORT_TEXTS = ("id", "version", "environment")  # whole numbers are welcome here: their type says what they are
_OWN = "columns are named id, timestamp, version, prediction, …, features.NAME, tags.NAME, scores.CLASS"


def pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in pieces of at most `GROUP_ROWS` rows and bounded size."""
    columns = sum(max(1, field.type.num_fields) for field in batch.schema)
    rows = max(1, min(GROUP_ROWS, _GROUP_CELLS // max(1, columns)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def draft_of(piece: pa.RecordBatch, model: Model, kind: str) -> Draft:
    """The rows of a piece.

    Args:
        piece: of a batch that was validated in full: offsets, lengths and UTF-8 can be trusted.
        kind: `predictions`, `outcomes` or `reference` (predictions that may carry `actual`).

    Raises:
        Invalid: columns of names or types that are not read here.
        TooLarge: a dictionary that expands beyond all bounds.
    """
    draft = _draft(piece, _targets(piece.schema, kind), model)
    return _complete_outcomes(draft) if kind == "outcomes" else draft


def _targets(schema: pa.Schema, kind: str) -> dict[str, tuple[int, int | None]]:
    """For each column of monitor.columns its place in the batch, and in the struct there."""
    known = _OUTCOME if kind == "outcomes" else [*SCALARS, *([ACTUAL] if kind == "reference" else [])]
    found: list[tuple[str, tuple[int, int | None]]] = []
    for at, field in enumerate(schema):
        group, dot, inner = field.name.partition(".")
        if field.name in known:
            found.append((field.name, (at, None)))
        elif kind != "outcomes" and dot and group in _GROUPS:
            found.append((_GROUPS[group] + inner, (at, None)))
        elif kind != "outcomes" and field.name in _GROUPS and pa.types.is_struct(field.type):
            found += [(_GROUPS[field.name] + one.name, (at, place)) for place, one in enumerate(field.type)]
        elif kind != "outcomes" and field.name in _GROUPS:
            raise Invalid.field(field.name, "must be a struct, or come as columns with the name after a dot")
        else:
            raise Invalid.field(f"columns[{at}]", f"is not known here: {_OWN}")
    targets = dict(found)
    if len(targets) != len(found):
        raise Invalid("a column came twice")
    if kind == "outcomes":
        for name in ("id", ACTUAL):
            if name not in targets:
                raise Invalid.field(name, "an outcome needs a column of this name")
    return targets


def _draft(batch: pa.RecordBatch, targets: dict[str, tuple[int, int | None]], model: Model) -> Draft:
    structs: dict[int, list[pa.Array]] = {}
    draft = Draft({}, np.arange(batch.num_rows), batch.num_rows, [])
    wrong: list[tuple[np.ndarray, str]] = []
    odd: dict[str, pa.Array] = {}
    budget = convert.Budget()
    for name, (at, place) in targets.items():
        if place is None:
            array = batch.column(at)
        else:
            if at not in structs:
                structs[at] = batch.column(at).flatten()
            array = structs[at][place]
        try:
            array = convert.plain(array, budget)
        except convert.Unknown:
            raise Invalid.field(_shown(name), "columns of this Arrow type are not read here") from None
        except convert.Expands:
            raise TooLarge("the columns expand to more than a request may hold: send it in parts") from None
        if name.startswith(FEATURE):
            _put_feature(draft, odd, name, array, model)
        else:
            _put(draft, wrong, name, array, model)
    if odd:
        draft.columns["extra"] = _extra(odd, batch.num_rows)
    return _without(draft, wrong)


def _put(draft: Draft, wrong: list[tuple[np.ndarray, str]], name: str, array: pa.Array, model: Model) -> None:
    """One column that is no feature; rows whose value is of a wrong type are noted."""
    if array.null_count == len(array):
        if name[:2] in (TAG, SCORE):
            draft.columns[name] = pa.nulls(len(array), pa.string() if name[:2] == TAG else pa.float64())
        return
    if name in TIMES:
        made, bad, message = convert.times(array)
    elif name in _NUMBERS or name.startswith(SCORE) or (model.task == "regression" and name in ("prediction", ACTUAL)):
        made, bad, message = convert.numbers(array)
    elif name in ("prediction", ACTUAL) or name.startswith(TAG):
        made, bad, message = convert.labels(array)
    elif name == "error":
        made, bad, message = convert.errors(array)
    else:
        made, bad, message = convert.texts(array, numbers=name in _SHORT_TEXTS)
    draft.columns[name] = made
    if bad is not None and bad.any():
        wrong.append((bad, f"{_shown(name)}: {message}"))


def _put_feature(draft: Draft, odd: dict[str, pa.Array], name: str, array: pa.Array, model: Model) -> None:
    kind = None
    if model.features is not None and (kind := model.features.get(name[2:])) is None:
        odd[name[2:]] = array
        return
    made = convert.feature(array, kind)
    if made is None:
        odd[name[2:]] = array
    else:
        draft.columns[name] = made


def _extra(odd: dict[str, pa.Array], rows: int) -> pa.Array:
    """The values that do not fit the schema, a JSON object for each row that has any."""
    listed: list[tuple[str, list[Any]]] = [(name, odd[name].to_pylist()) for name in sorted(odd)]
    texts: list[str | None] = []
    for at in range(rows):
        given = {name: values[at] for name, values in listed if values[at] is not None}
        texts.append(whole_json(given) if given else None)
    return pa.array(texts, pa.string())


def _without(draft: Draft, wrong: list[tuple[np.ndarray, str]]) -> Draft:
    """The draft without rows of a wrong type; the first reason counts."""
    gone = np.zeros(draft.rows, bool)
    for bad, message in wrong:
        draft = draft.reject(bad[~gone], "invalid", message)
        gone |= bad
    return draft


def _shown(column: str) -> str:
    words = {prefix: word for word, prefix in _GROUPS.items()}
    return f"{words[column[:2]]}.{column[2:]}" if column[:2] in words else column


def _complete_outcomes(draft: Draft) -> Draft:
    """An outcome's columns all there, and its id and value in every row: without them it is rejected."""
    for name, kind in (("observed_at", pa.int64()), ("known_at", pa.int64())):
        draft.columns.setdefault(name, pa.nulls(draft.rows, kind))
    for name in ("id", ACTUAL):
        array = draft.columns.setdefault(name, pa.nulls(draft.rows, pa.string()))
        draft = draft.reject(np.asarray(pc.is_null(array)), "invalid", f"{name}: an outcome needs it")
    return draft
