"""BentoML's records in OTLP log records: which model each is for, and what it becomes there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.ingest.draft import Rejection, as_json
from monitor.ingest.formats import bentoml
from monitor.ingest.formats.base import Row, Unmapped
from monitor.ingest.formats.bentoml import Schema
from monitor.ingest.formats.otlp import LogRecord
from monitor.store.catalog import Model

_NOT_OURS = "the body is no record of BentoML's monitoring: an object of columns with bento_meta"


@dataclass
class Group:
    """The records for one model. `schema` is the newest that came along."""

    places: list[int] = field(default_factory=list)
    records: list[Mapping[str, Any]] = field(default_factory=list)
    schemas: list[Schema | None] = field(default_factory=list)

    @property
    def schema(self) -> Schema | None:
        return next((one for one in reversed(self.schemas) if one is not None), None)


def grouped(found: list[LogRecord], model: str | None) -> tuple[dict[str, Group], list[Rejection]]:
    """Records by the model that they are for: `model`, or the monitor's name. And those that are none of BentoML's."""
    groups: dict[str, Group] = {}
    rejected: list[Rejection] = []
    for place, record in enumerate(found):
        try:
            name, body, schema = _read(record, model)
        except Unmapped as error:
            rejected.append(Rejection(place, None, "invalid", str(error), as_json(record.body)))
            continue
        group = groups.setdefault(name, Group())
        group.places.append(place)
        group.records.append(body)
        group.schemas.append(schema)
    return groups, rejected


def _read(record: LogRecord, model: str | None) -> tuple[str, Mapping[str, Any], Schema | None]:
    body = record.body
    if not isinstance(body, Mapping):
        raise Unmapped(_NOT_OURS)
    meta = body.get("bento_meta")
    service = record.resource.get("service.name")
    monitor = meta.get("monitor_name") if isinstance(meta, Mapping) else None
    if monitor is None and isinstance(service, str):
        monitor = service.partition(":")[2] or None
    name = model or monitor
    if not isinstance(name, str) or ("request_id" not in body and meta is None):
        raise Unmapped(_NOT_OURS)
    schema = None
    if isinstance(meta, Mapping) and isinstance(meta.get("schema"), Mapping) and meta["schema"]:
        schema = bentoml.schema_of(meta["schema"].values(), meta.get("bento_version"))
    if "timestamp" not in body and record.time_ns:
        body = {**body, "timestamp": record.time_ns / 1e9}
    return name, body, schema


def rows_of(group: Group, model: Model) -> tuple[list[tuple[int, Row]], list[tuple[int, Row]], list[Rejection]]:
    """Predictions and outcomes of a group with their places, and the records that have no schema."""
    predictions: list[tuple[int, Row]] = []
    outcomes: list[tuple[int, Row]] = []
    rejected: list[Rejection] = []
    latest = group.schema
    ids = bentoml.ids_of(group.records, latest or Schema({}, {}))
    for place, record, own, row_id in zip(group.places, group.records, group.schemas, ids, strict=True):
        schema = own or latest or bentoml.schema_of_model(model, record)
        if schema is None:
            why = "the record has no schema: leave meta_sample_rate of the monitor at 1"
            rejected.append(Rejection(place, row_id, "invalid", why, as_json(record)))
            continue
        prediction, outcome = bentoml.rows_of(record, row_id, schema, model)
        predictions.append((place, prediction))
        if outcome is not None:
            outcomes.append((place, outcome))
    return predictions, outcomes, rejected
