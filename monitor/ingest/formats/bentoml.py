"""BentoML's monitoring: its files of JSON lines, and the same records as the bodies of OTLP log records.

A record holds the logged columns by name; a schema gives each its role (`feature`, `prediction`, `target`) and type.
In files it stands beside the data (`NAME/data/data.1.log`, `NAME/schema/schema.1.log`), in log records in `bento_meta`.

The rows of one request share its id. A request that logged one row gives the row that id; of several each gets
`request_id#` and a digest of what it holds, so that the id does not depend on how the rows were cut into batches.
A column with the role `id` is the id, whatever the request.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Any

import msgspec

from monitor.columns import ACTUAL, FEATURE, TAG
from monitor.ingest.draft import Rejection, clip
from monitor.ingest.formats.base import (
    NOTHING,
    UTC_NOTE,
    Piece,
    Row,
    Unmapped,
    Wanted,
    epoch,
    nothing_of,
    pieces_of_rows,
    version_name,
    zoned,
)
from monitor.ingest.formats.source import Source, parsed
from monitor.store.catalog import Model

RESERVED = ("timestamp", "request_id", "trace_id", "bento_meta")
_KINDS = {"numerical": "numeric", "categorical": "categorical", "numerical_sequence": "ignored"}


@dataclass(frozen=True)
class Schema:
    """What each column is. `roles` and `types` by column name."""

    roles: Mapping[str, str]
    types: Mapping[str, str]
    version: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The body of the PUT that makes a model of this schema.

        A categorical prediction makes a multiclass model, whatever the number of classes; a numerical one a regression.
        """
        predictions = [name for name, role in self.roles.items() if role == "prediction"]
        labels = any(self.types.get(name) == "categorical" for name in predictions)
        features = {
            name: {"kind": _KINDS.get(self.types.get(name, ""), "ignored")}
            for name, role in self.roles.items()
            if role == "feature"
        }
        return {"task": "multiclass" if labels else "regression", "features": features}


class BentoMl:
    name = "bentoml"
    title = "BentoML monitoring"

    def detects(self, source: Source) -> bool:
        return {"timestamp", "request_id", "trace_id"} <= set(source.first or {})

    def read(self, source: Source, wanted: Wanted) -> Iterator[Piece]:
        schema = schema_beside(source) or schema_of_model(wanted.model(), source.first or {})
        if schema is None:
            raise nothing_of(
                wanted.kind,
                source,
                "a BentoML log without its schema",
                "keep `schema/` beside `data/` as BentoML has it",
            )
        if wanted.kind == "outcomes" and "target" not in schema.roles.values():
            raise nothing_of("outcomes", source, "this BentoML log", "no column was logged with the role `target`")
        for group, done, total in _grouped(source):
            yield from _pieces(group, schema, wanted, done, total)


def _grouped(source: Source) -> Iterator[tuple[list[tuple[int, bytes, Any]], int, int]]:
    """Lines in pieces that never cut a request's rows apart."""
    held: list[tuple[int, bytes, Any]] = []
    last = (0, 1)
    for lines, done, total in source.lines():
        found = [(number, line, parsed(line)) for number, line in lines]
        cut = len(found)
        while cut and _request(found[cut - 1][2]) == _request(found[-1][2]):
            cut -= 1
        ready = held + found[:cut] if cut else []
        held = found[cut:] if cut else held + found
        last = (done, total)
        if ready:
            yield ready, done, total
    if held:
        yield held, *last


def _request(record: Any) -> str:
    return str(record.get("request_id")) if isinstance(record, Mapping) else ""


def _pieces(
    lines: list[tuple[int, bytes, Any]], schema: Schema, wanted: Wanted, done: int, total: int
) -> Iterator[Piece]:
    model = wanted.model()
    rows: list[Row] = []
    places: list[int] = []
    rejected: list[Rejection] = []
    columns = {name: _target(name, schema, model) for name in schema.roles}
    if wanted.kind == "outcomes":
        columns = {name: target for name, target in columns.items() if target in ("id", ACTUAL)}
    columns |= {"timestamp": "observed_at" if wanted.kind == "outcomes" else "timestamp", "request_id": "id"}
    good = [(number, line, one) for number, line, one in lines if isinstance(one, Mapping)]
    rejected += [
        Rejection(number, None, "invalid", "the line is no JSON object", clip(line))
        for number, line, one in lines
        if not isinstance(one, Mapping)
    ]
    for (number, _, record), row_id in zip(good, ids_of([one for _, _, one in good], schema), strict=True):
        prediction, outcome = rows_of(record, row_id, schema, model, wanted.zone)
        if wanted.kind == "reference" and outcome is not None:
            prediction[ACTUAL] = outcome[ACTUAL]
        if wanted.kind == "outcomes" and outcome is None:
            continue
        rows.append(prediction if wanted.kind != "outcomes" or outcome is None else outcome)
        places.append(number)
    notes = [UTC_NOTE] if wanted.zone is not None else []
    unused = [name for name, role in schema.roles.items() if role == "target" and wanted.kind == "predictions"]
    columns = {name: target for name, target in columns.items() if name not in unused}
    yield from pieces_of_rows(rows, places, rejected, wanted, Piece(NOTHING, 0, done, total, columns, unused, notes))


def ids_of(records: Sequence[Mapping[str, Any]], schema: Schema) -> list[str | None]:
    """The id of each record; see the top of this module."""
    named = next((name for name, role in schema.roles.items() if role == "id"), None)
    ids: list[str | None] = []
    for request, group in groupby(records, lambda one: one.get("request_id")):
        listed = list(group)
        seen: Counter[str] = Counter()
        for record in listed:
            own = record.get(named) if named is not None else None
            if own is not None:
                ids.append(str(own))
            elif not isinstance(request, str) or request in ("", "None"):
                ids.append(None)
            elif len(listed) == 1:
                ids.append(request)
            else:
                digest = _digest(record)
                ids.append(f"{request}#{digest}" + (f".{seen[digest]}" if seen[digest] else ""))
                seen[digest] += 1
    return ids


def _digest(record: Mapping[str, Any]) -> str:
    content = {name: value for name, value in record.items() if name not in RESERVED}
    return blake2b(msgspec.json.encode(content, order="sorted", enc_hook=str), digest_size=4).hexdigest()


def rows_of(
    record: Mapping[str, Any], row_id: str | None, schema: Schema, model: Model, zone: Any = None
) -> tuple[Row, Row | None]:
    """A record as a row of predictions, and as one of outcomes where it holds the target."""
    row: Row = {"features": {}, "tags": {}}
    actual = None
    for name, value in record.items():
        if name in RESERVED:
            continue
        target = _target(name, schema, model)
        if target.startswith(FEATURE):
            row["features"][name] = value
        elif target.startswith(TAG):
            if isinstance(value, str | int | float | bool):
                row["tags"][name] = value
        elif target == ACTUAL:
            actual = value
        elif target != "id":
            row[target] = value
    row = {name: value for name, value in row.items() if value not in ({}, None)}
    at = record.get("timestamp")
    stamp = epoch(at) if isinstance(at, int | float) else zoned(at, zone) if zone and isinstance(at, str) else at
    if stamp is not None:
        row["timestamp"] = stamp
    if row_id is not None:
        row["id"] = row_id
    if schema.version is not None:
        row["version"] = schema.version
    outcome = None
    if actual is not None and row_id is not None:
        outcome = {"id": row_id, "actual": actual} | ({"observed_at": stamp} if stamp is not None else {})
    return row, outcome


def _target(name: str, schema: Schema, model: Model) -> str:
    """What a column is here: the first prediction (a label, or a regression's number), a score, a feature, or a tag."""
    role = schema.roles.get(name, "tag")
    if role == "prediction":
        same = [one for one, its in schema.roles.items() if its == "prediction"]
        numbers = [one for one in same if schema.types.get(one) == "numerical"]
        labels = [one for one in same if one not in numbers]
        if model.task == "regression":
            return "prediction" if name == (numbers or same)[0] else TAG + name
        if name == next(iter(labels), None):
            return "prediction"
        if model.task == "binary" and name == next(iter(numbers), None):
            return "score"
        return "prediction" if not labels and name == same[0] else TAG + name
    return {"feature": FEATURE + name, "target": ACTUAL, "id": "id"}.get(role, TAG + name)


def schema_of(columns: Iterable[Any], version: Any = None) -> Schema:
    """A schema from its columns, each an object of name, role and type.

    Raises:
        Unmapped: they are of another shape.
    """
    roles, types = {}, {}
    for one in columns:
        if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
            raise Unmapped("the schema's columns have no names")
        roles[one["name"]] = str(one.get("role"))
        types[one["name"]] = str(one.get("type"))
    return Schema(roles, types, version_name(version))


def schema_beside(source: Source) -> Schema | None:
    """The schema from the files that BentoML writes beside its data; the newest line holds."""
    folder = source.path.resolve().parent.parent / "schema"
    if source.path.resolve().parent.name != "data" or not folder.is_dir():
        return None
    for path in sorted(folder.glob("schema.*"), reverse=True):
        for line in reversed(path.read_bytes().splitlines()):
            found = parsed(line)
            if isinstance(found, Mapping) and isinstance(found.get("columns"), list):
                meta = found.get("meta_data")
                return schema_of(found["columns"], meta.get("bento_version") if isinstance(meta, Mapping) else None)
    return None


def schema_of_model(model: Model, record: Mapping[str, Any]) -> Schema | None:
    """Where no schema came along: the model's features are features, the one column that is left the prediction."""
    names = [name for name in record if name not in RESERVED]
    if model.features is None:
        return None
    others = [name for name in names if name not in model.features]
    if len(others) != 1:
        return None
    roles = {name: "prediction" if name in others else "feature" for name in names}
    types = dict.fromkeys(others, "numerical" if model.task == "regression" else "categorical")
    return Schema(roles, types)
