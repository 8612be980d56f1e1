"""Files in our own terms: columns or members named as the fields of the API, in CSV, Parquet, Arrow or JSON lines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from monitor.columns import ACTUAL, FEATURE, SCORE, TAG
from monitor.ingest.files import Mapped
from monitor.ingest.files import map_columns as map_own
from monitor.ingest.formats.base import Converted, Piece, Row, Wanted, drafts_of_records, drafts_of_tables, zoned
from monitor.ingest.formats.source import Source
from monitor.ingest.rowtypes import LOOSE_ROW, TIMES
from monitor.store.catalog import Model

_GROUPS = {"features": FEATURE, "tags": TAG, "scores": SCORE}
_FIELDS = {*LOOSE_ROW.__struct_fields__, ACTUAL, "observed_at"}


@dataclass(frozen=True)
class Columns:
    """CSV, Parquet or Arrow with columns named as in the API (`ingest/files.py` has the rules)."""

    name: str
    title: str

    def detects(self, source: Source) -> bool:
        return source.container == self.name

    def read(self, source: Source, wanted: Wanted) -> Iterator[Piece]:
        def map_columns(table: pa.Table, _model: Model) -> Mapped:
            return map_own(table.schema, wanted.kind)

        yield from drafts_of_tables(source, wanted, map_columns)


class JsonLines:
    """A row in each line: as `POST …/predictions` takes it, or flat, every member of another name being a feature."""

    name = "ndjson"
    title = "JSON lines"

    def detects(self, source: Source) -> bool:
        return source.container == self.name

    def read(self, source: Source, wanted: Wanted) -> Iterator[Piece]:
        first = source.first or {}
        flat = not any(isinstance(first.get(name), Mapping) for name in _GROUPS) and any(
            name not in _FIELDS for name in first
        )

        def convert(record: Any, _model: Model) -> Converted:
            row = _nested(record, wanted.kind) if flat else dict(record)
            if wanted.zone is not None:
                row |= {name: zoned(row[name], wanted.zone) for name in TIMES if isinstance(row.get(name), str)}
            return Converted([row], _columns(row))

        yield from drafts_of_records(source, wanted, convert)


def _nested(record: Mapping[str, Any], kind: str) -> Row:
    """A flat record with its features, tags and scores in their groups."""
    row: Row = {}
    dotted = any(name.startswith("features.") for name in record)
    for name, value in record.items():
        prefix, dot, inner = name.partition(".")
        if dot and prefix in _GROUPS:
            row.setdefault(prefix, {})[inner] = value
        elif name in ("observed_at", ACTUAL) and kind == "predictions":
            continue  # the label, in a file that has both
        elif name in _FIELDS:
            row[name] = value
        elif kind != "outcomes" and not dotted:
            row.setdefault("features", {})[name] = value
    if kind == "outcomes":
        return {name: row[name] for name in ("id", ACTUAL, "observed_at", "known_at") if name in row}
    return row


def _columns(row: Row) -> dict[str, str]:
    columns = {name: name for name in row if name not in _GROUPS}
    for group, prefix in _GROUPS.items():
        inner = row.get(group)
        if isinstance(inner, Mapping):
            columns |= {f"{group}.{name}": prefix + str(name) for name in inner}
    return columns
