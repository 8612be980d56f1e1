"""Bodies into columns: JSON with one row, rows, or columns.

The fast way parses the whole body with structs made for the model. When anything does not fit, the slow way goes
through it row by row, so that one bad row is rejected with its reason and the others are stored.
"""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from monitor.columns import ACTUAL, prediction_type
from monitor.errors import Invalid, TooLarge
from monitor.errors import Unreadable as UnreadableBody
from monitor.ingest import assemble
from monitor.ingest.draft import Draft, Rejection, as_json, clip
from monitor.ingest.rowtypes import LOOSE_ROW, LOOSE_ROW_WITH_ACTUAL, Envelope, OutcomeRow, OutcomeRows, Typed, typed
from monitor.ingest.wording import not_json, told
from monitor.store.catalog import Model

MAX_ROWS = 10_000
_FIRST_KEY = re.compile(rb'\s*\{\s*"(rows|columns)"\s*:')
_OUTCOME_ROWS = msgspec.json.Decoder(OutcomeRows)
_ENVELOPE = msgspec.json.Decoder(Envelope)
_EITHER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    msgspec.defstruct("Either", [("rows", Any, None), ("columns", Any, None)])
)


def decode_predictions(body: bytes, model: Model, *, with_actual: bool = False, max_rows: int = MAX_ROWS) -> Draft:
    """The rows of a predictions body (of a reference body with `with_actual`).

    Raises:
        Unreadable: not JSON, or nested too deeply.
        Invalid: JSON of another shape.
        TooLarge: more than `max_rows` rows.
    """
    shape = _shape(body)
    if model.features is not None:
        structs = typed(tuple(model.features.items()), with_actual)
        try:
            if structs is not None:
                return _fast(body, shape, structs, model, max_rows)
        except (msgspec.MsgspecError, pa.ArrowException, RecursionError, OverflowError, UnicodeDecodeError):
            pass  # the slow way finds out which row it was
    return _slow(_loose_rows(body, shape, max_rows), model, with_actual)


def holds_one_row(body: bytes) -> bool:
    """Whether a predictions body looks like one row; `decode_singles` finds out."""
    return _FIRST_KEY.match(body) is None


def decode_singles(bodies: Sequence[bytes], model: Model) -> tuple[Draft, list[int]]:
    """The rows of bodies that hold one row each, `index` being the place of the body; and the places of those that
    `decode_predictions` has to look at, because they do not fit the schema, or there is none yet."""
    structs = None if model.features is None else typed(tuple(model.features.items()), False)
    rows: list[Any] = []
    places: list[int] = []
    for place, body in enumerate(bodies if structs is not None else ()):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            rows.append(structs.row.decode(body))  # type: ignore[union-attr]
            places.append(place)
    if structs is not None and rows:
        with suppress(pa.ArrowException, OverflowError):
            draft = typed_draft(rows, structs, model, places, len(bodies))
            return draft, sorted(set(range(len(bodies))).difference(places))
    return Draft({}, np.zeros(0, np.int64), len(bodies), []), list(range(len(bodies)))


def _shape(body: bytes) -> str:
    """`rows`, `columns` or `row`."""
    match = _FIRST_KEY.match(body)
    if match:
        return match[1].decode()
    try:
        either = _EITHER.decode(body)
    except RecursionError:
        raise UnreadableBody("the JSON is nested too deeply") from None
    except msgspec.ValidationError as error:
        if "out of range" in str(error):
            raise Invalid("a number is outside the range of a double") from None
        raise Invalid('send one row, {"rows": […]} or {"columns": {…}}') from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UnreadableBody(not_json(body)) from None
    if either.rows is not None:
        return "rows"
    return "columns" if either.columns is not None else "row"


def _fast(body: bytes, shape: str, structs: Typed, model: Model, max_rows: int) -> Draft:
    if shape == "columns":
        draft = assemble.from_columns(structs.columns.decode(body).columns, structs, model)
        _check_count(draft.total, max_rows)
        return draft
    rows = structs.rows.decode(body).rows if shape == "rows" else [structs.row.decode(body)]
    _check_count(len(rows), max_rows)
    return typed_draft(rows, structs, model)


def typed_draft(
    rows: Sequence[Any],
    structs: Typed,
    model: Model,
    places: Sequence[int] | None = None,
    total: int | None = None,
) -> Draft:
    """The columns of rows that were parsed by the structs of the model's schema.

    `places` are the rows' places among the `total` of the request; left out, the rows are all there were.
    """
    given = [row.features for row in rows]
    if None in given:
        absent = structs.row.decode(b'{"features":{}}').features
        given = [absent if features is None else features for features in given]
    values = dict(zip(structs.names, assemble.transposed(given, len(structs.names)), strict=True))
    index = np.arange(len(rows)) if places is None else np.array(places, np.int64)
    return assemble.from_rows(rows, values, None, model, index, len(rows) if total is None else total, [])


def _check_count(rows: int, max_rows: int) -> None:
    if rows > max_rows:
        raise TooLarge(f"at most {max_rows:,} rows in one request: send the rest in another")


def _loose_rows(body: bytes, shape: str, max_rows: int) -> Sequence[msgspec.Raw]:
    if shape == "row":
        return [msgspec.Raw(body)]
    try:
        envelope = _ENVELOPE.decode(body)
    except RecursionError:
        raise UnreadableBody("the JSON is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise _shape_error(error) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UnreadableBody(not_json(body)) from None
    columns = bytes(envelope.columns)
    if envelope.rows is not None and columns:
        raise Invalid.field("columns", "send either rows or columns, not both")
    if envelope.rows is not None:
        _check_count(len(envelope.rows), max_rows)
        return envelope.rows
    if not columns:
        raise Invalid.field("rows", "must be a list of rows")
    return _rows_of_columns(columns, max_rows)


def _shape_error(error: msgspec.ValidationError) -> Invalid:
    text = str(error)
    field = "columns" if "columns" in text else "rows"
    if "unknown field" in text:
        return Invalid("beside `rows` or `columns` the body may have no other member")
    return Invalid.field(field, "must be a list of rows" if field == "rows" else "must be an object of lists")


def _rows_of_columns(raw: bytes, max_rows: int) -> list[msgspec.Raw]:
    """The rows that a columns body describes, each as JSON."""
    try:
        columns = msgspec.json.decode(raw)
    except RecursionError:
        raise UnreadableBody("the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise UnreadableBody(not_json(raw)) from None
    except msgspec.ValidationError:
        raise Invalid.field("columns", "a number is outside the range of a double") from None
    if not isinstance(columns, dict):
        raise Invalid.field("columns", "must be an object of lists")
    flat: list[tuple[tuple[str, ...], list[Any]]] = []
    for name, values in columns.items():
        if name in ("features", "tags", "scores") and isinstance(values, dict):
            flat.extend(((name, inner), listed) for inner, listed in values.items())
        elif values is not None:
            flat.append(((name,), values))
    length: int | None = None
    for path, values in flat:
        if not isinstance(values, list):
            raise Invalid.field(".".join(("columns", *path)), "must be a list with one value for each row")
        if length is None:
            length = len(values)
        elif len(values) != length:
            raise Invalid.field(".".join(("columns", *path)), f"has {len(values)} values where others have {length}")
    _check_count(length or 0, max_rows)
    rows: list[dict[str, Any]] = [{} for _ in range(length or 0)]
    for path, values in flat:
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                target = row if len(path) == 1 else row.setdefault(path[0], {})
                target[path[-1]] = value
    return [msgspec.Raw(msgspec.json.encode(row)) for row in rows]


def _slow(raws: Sequence[msgspec.Raw], model: Model, with_actual: bool) -> Draft:
    decoder = msgspec.json.Decoder(LOOSE_ROW_WITH_ACTUAL if with_actual else LOOSE_ROW)
    rows, places, rejected = _each(raws, decoder)
    values, extra = assemble.fit_features([row.features or {} for row in rows], model.features)
    return assemble.from_rows(rows, values, extra, model, np.array(places, np.int64), len(raws), rejected)


def _each(
    raws: Sequence[msgspec.Raw], decoder: "msgspec.json.Decoder[Any]"
) -> tuple[list[Any], list[int], list[Rejection]]:
    """The rows that fit the decoder's struct, their places, and rejections for the others."""
    rows: list[Any] = []
    places: list[int] = []
    rejected: list[Rejection] = []
    for place, raw in enumerate(raws):
        try:
            rows.append(decoder.decode(raw))
            places.append(place)
        except msgspec.ValidationError as error:
            why = told(error, bytes(raw), names_of(decoder))
            rejected.append(Rejection(place, id_of(raw), "invalid", why, clip(bytes(raw))))
        except RecursionError:
            rejected.append(Rejection(place, None, "invalid", "nested too deeply", clip(bytes(raw))))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise UnreadableBody(not_json(bytes(raw))) from None
    return rows, places, rejected


def names_of(decoder: "msgspec.json.Decoder[Any]") -> tuple[str, ...]:
    """The fields of the struct that a decoder reads."""
    return tuple(decoder.type.__struct_encode_fields__)


def id_of(raw: msgspec.Raw) -> str | None:
    """The id of a row that was not read, if it has one."""
    try:
        row = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    given = row.get("id") if isinstance(row, dict) else None
    return given[:256] if isinstance(given, str) else None


def decode_outcomes(body: bytes, model: Model) -> Draft:
    """The rows of an outcomes body: columns id, actual, observed_at, known_at.

    Raises:
        Unreadable, Invalid, TooLarge: as decode_predictions.
    """
    shape = _shape(body)
    rows: list[Any]
    if shape == "rows":
        try:
            rows = _OUTCOME_ROWS.decode(body).rows
            _check_count(len(rows), MAX_ROWS)
            return outcome_draft(rows, model, np.arange(len(rows)), len(rows), [])
        except (msgspec.MsgspecError, pa.ArrowException, RecursionError, UnicodeDecodeError):
            pass
    raws = _loose_rows(body, shape, MAX_ROWS)
    rows, places, rejected = _each(raws, msgspec.json.Decoder(OutcomeRow))
    return outcome_draft(rows, model, np.array(places, np.int64), len(raws), rejected)


def outcome_draft(rows: list[Any], model: Model, index: np.ndarray, total: int, rejected: list[Rejection]) -> Draft:
    """The columns of outcome rows; a regression's values must be numbers."""
    columns: dict[str, pa.Array] = {"id": pa.array([row.id for row in rows], pa.string())}
    actual = [row.actual for row in rows]
    if model.task == "regression":
        bad = np.array([math.isnan(assemble.double(value)) for value in actual], bool)
        rejected += [
            Rejection(int(index[at]), rows[at].id, "invalid", "actual: expected a number", as_json(rows[at]))
            for at in np.flatnonzero(bad)
        ]
        keep = [row for row, is_bad in zip(rows, bad, strict=True) if not is_bad]
        if bad.any():
            return outcome_draft(keep, model, index[~bad], total, rejected)
    columns[ACTUAL] = assemble.values_array(actual, prediction_type(model.task))
    for name in ("observed_at", "known_at"):
        columns[name] = assemble.times([getattr(row, name) for row in rows])
    return Draft(columns, index, total, rejected)
