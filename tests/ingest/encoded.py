"""The same rows in every encoding of the API."""

import gzip
import io
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from monitor.ingest.inflate import zstd

NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
Rows = list[dict[str, Any]]

GROUPS = ("features", "tags", "scores")
TIMES = ("timestamp", "known_at", "computed_at", "observed_at")


def by_column(rows: Rows) -> dict[str, Any]:
    """Lists by field, the groups as objects of lists; None where a row has no value."""
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if name in GROUPS:
            inner = dict.fromkeys(key for value in values if value for key in value)
            columns[name] = {key: [(value or {}).get(key) for value in values] for key in inner}
        else:
            columns[name] = values
    return columns


def table(rows: Rows, *, structs: bool, texts: bool = False) -> pa.Table:
    """The rows as an Arrow table; with `texts` times stay texts and labels are coded by a dictionary."""
    arrays: dict[str, pa.Array] = {}
    for name, values in by_column(rows).items():
        if name in GROUPS:
            inner = {key: array(key, listed, texts) for key, listed in values.items()}
            if structs and inner:
                arrays[name] = pa.StructArray.from_arrays(list(inner.values()), names=list(inner))
            else:
                arrays.update({f"{name}.{key}": one for key, one in inner.items()})
        else:
            arrays[name] = array(name, values, texts)
    return pa.table(arrays)


def array(name: str, values: list[Any], texts: bool) -> pa.Array:
    if name in TIMES and not texts:
        given = [None if value is None else datetime.fromisoformat(value) for value in values]
        return pa.array(given, pa.timestamp("us", tz="UTC"))
    made = pa.array(values)
    if texts and pa.types.is_string(made.type) and len(made):
        return made.dictionary_encode()
    return made


def arrow(found: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, found.schema, options=options) as writer:
        writer.write_table(found)
    return bytes(sink.getvalue().to_pybytes())


def parquet(found: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(found, sink)
    return sink.getvalue()


def lines(rows: Rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


Encoded = tuple[str, bytes]  # content type and body
ENCODINGS: dict[str, Callable[[Rows], Encoded]] = {
    "rows": lambda rows: ("application/json", json.dumps({"rows": rows}).encode()),
    "columns": lambda rows: ("application/json", json.dumps({"columns": by_column(rows)}).encode()),
    "ndjson": lambda rows: (NDJSON, lines(rows)),
    "arrow": lambda rows: (ARROW, arrow(table(rows, structs=True))),
    "arrow names": lambda rows: (ARROW, arrow(table(rows, structs=False, texts=True), "zstd")),
    "parquet": lambda rows: (PARQUET, parquet(table(rows, structs=True))),
    "parquet names": lambda rows: (PARQUET, parquet(table(rows, structs=False, texts=True))),
}
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda body: body,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
}
