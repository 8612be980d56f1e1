"""Inference tables of MLflow and Databricks model serving: a request and its response in each row, as JSON texts.

Known are the legacy table, that of the AI gateway, and the newest one. A request may hold several rows: each becomes a
row of its own, with the id `request#0`, `request#1`, …
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from monitor import clock
from monitor.columns import FEATURE
from monitor.ingest.draft import Rejection, as_json
from monitor.ingest.formats import payload
from monitor.ingest.formats.base import (
    NOTHING,
    Piece,
    Row,
    Unmapped,
    Wanted,
    epoch,
    nothing_of,
    pieces_of_rows,
    version_name,
)
from monitor.ingest.formats.source import Source, parsed
from monitor.ingest.pairs import numbered
from monitor.store.catalog import Model

_IDS = ("client_request_id", "databricks_request_id", "invocation_id", "request_id")
_TIMES = ("timestamp_ms", "request_time", "event_time", "timestamp")
_LATENCIES = ("execution_time_ms", "execution_duration_ms", "latency_ms")
_SURE = {"databricks_request_id", "timestamp_ms", "invocation_id", "execution_duration_ms", "served_entity_id"}
_PART = 2000  # requests of a table that become rows at a time: one may hold many


class Mlflow:
    name = "mlflow"
    title = "MLflow or Databricks inference table"

    def detects(self, source: Source) -> bool:
        names = set(source.columns)
        return {"request", "response"} <= names and bool(names & _SURE)

    def read(self, source: Source, wanted: Wanted) -> Iterator[Piece]:
        if wanted.kind == "outcomes":
            raise nothing_of("outcomes", source, "an inference table", "load them from a file with id and actual")
        if not {"request", "response"} <= set(source.columns):
            raise nothing_of("predictions", source, "a table without `request` and `response`", "see --format")
        first = 0
        for table, done, total in source.tables():
            for start in range(0, table.num_rows, _PART):
                yield from _pieces(table.slice(start, _PART), wanted, first + start, done, total)
            first += table.num_rows


def _pieces(table: pa.Table, wanted: Wanted, first: int, done: int, total: int) -> Iterator[Piece]:
    model = wanted.model()
    rows: list[Row] = []
    places: list[int] = []
    rejected: list[Rejection] = []
    columns: dict[str, str] = {}
    for at, record in enumerate(_microseconds(table).to_pylist()):
        try:
            made = _rows(record, model, columns)
        except Unmapped as error:
            rejected.append(Rejection(at, _given(record, _IDS)[1], "invalid", str(error), as_json(record)))
            continue
        rows += made
        places += [at] * len(made)
    unused = [name for name in table.schema.names if not any(name in part for part in columns)]
    yield from pieces_of_rows(rows, places, rejected, wanted, Piece(NOTHING, first, done, total, columns, unused))


def _microseconds(table: pa.Table) -> pa.Table:
    """Without nanoseconds, which Python's times do not have."""
    for at, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            array = table[column.name].cast(pa.timestamp("us", column.type.tz), safe=False)
            table = table.set_column(at, column.name, array)
    return table


def _rows(record: Mapping[str, Any], model: Model, columns: dict[str, str]) -> list[Row]:
    id_name, row_id = _given(record, _IDS)
    failed = record.get("status_code") not in (None, 200, "200")
    features = payload.inputs(_json(record, "request"), model)
    answers: list[Row] = [{} for _ in features]
    if not failed:
        answers = payload.outputs(_json(record, "response"), model)
        if len(answers) != len(features):
            raise Unmapped(f"the request has {len(features)} rows and the response {len(answers)}")
    shared: Row = {}
    if failed:
        shared["error"] = f"status {record['status_code']}"
        columns["status_code"] = "error"
    time_name, at = _time(record)
    if at is not None:
        shared["timestamp"] = at
        columns[str(time_name)] = "timestamp"
    for name in _LATENCIES:
        if isinstance(record.get(name), int | float):
            shared["latency_ms"] = float(record[name])
            columns[name] = "latency_ms"
            break
    version = _version(record, columns)
    if version is not None:
        shared["version"] = version
    if row_id is not None:
        columns[str(id_name)] = "id"
    columns |= {f"request.{name}": FEATURE + name for name in (features[0] if features else ())}
    columns |= {f"response.{name}": name for name in (answers[0] if answers else ())}
    return [
        {**shared, "features": given, **answer}
        | ({"id": numbered(row_id, place, len(features))} if row_id is not None else {})
        for place, (given, answer) in enumerate(zip(features, answers, strict=True))
    ]


def _given(record: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str | None, str | None]:
    for name in names:
        value = record.get(name)
        if value not in (None, ""):
            return name, str(value)
    return None, None


def _json(record: Mapping[str, Any], name: str) -> Any:
    value = record.get(name)
    if not isinstance(value, str):
        if isinstance(value, Mapping | list):
            return value
        raise Unmapped(f"the column `{name}` is empty")
    found = parsed(value.encode())
    if found is None:
        raise Unmapped(f"the column `{name}` holds no JSON")
    return found


def _time(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    for name in _TIMES:
        value = record.get(name)
        if value is None:
            continue
        if isinstance(value, int | float):
            return name, epoch(value / 1000)
        if isinstance(value, str):
            return name, value if value[-1:] == "Z" or "+" in value else value.strip().replace(" ", "T", 1) + "Z"
        if hasattr(value, "isoformat"):  # Databricks keeps times in UTC
            aware = value if value.tzinfo else value.replace(tzinfo=clock.to_datetime(0).tzinfo)
            return name, aware.isoformat()
    return None, None


def _version(record: Mapping[str, Any], columns: dict[str, str]) -> str | None:
    metadata = record.get("request_metadata")
    if isinstance(metadata, str):
        metadata = parsed(metadata.encode())
    if isinstance(metadata, list):  # a map of Parquet: pairs
        metadata = dict(one for one in metadata if isinstance(one, tuple) and len(one) == 2)
    if isinstance(metadata, Mapping) and (found := version_name(metadata.get("model_version"))):
        columns["request_metadata.model_version"] = "version"
        return found
    if found := version_name(record.get("served_entity_id")):
        columns["served_entity_id"] = "version"
        return found
    return None
