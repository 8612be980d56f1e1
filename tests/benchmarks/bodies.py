"""Bodies of ingest requests for benchmarks: 30 features, in every encoding, made before anything is timed."""

import io
import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet

from monitor.store.identity import new_ids

FEATURES = 30
ENCODINGS = {
    "rows": "application/json",
    "columns": "application/json",
    "ndjson": "application/x-ndjson",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
KINDS = {f"x{i}": {"kind": "categorical" if i % 3 == 2 else "numeric"} for i in range(FEATURES)}
_random = np.random.default_rng(20260131)
_LEVELS = np.array(list("abcdef"))


def ids_of(rows: int, ids: str) -> list[str]:
    """`uuid7`, which ascend, or `random`."""
    return new_ids(rows) if ids == "uuid7" else [str(uuid.uuid4()) for _ in range(rows)]


def columns_of(rows: int, ids: str, *, doubles: bool = False) -> dict[str, Any]:
    """Columns by field; numbers of four significant digits, as real logs have, or with `doubles` all of a double's."""

    def numbers(values: np.ndarray, digits: int) -> list[float]:
        return (values if doubles else np.round(values, digits)).tolist()  # type: ignore[no-any-return]

    features: dict[str, Sequence[Any]] = {}
    for i in range(FEATURES):
        levels = _LEVELS[_random.integers(0, 6, rows)].tolist() if i % 3 == 2 else None
        features[f"x{i}"] = numbers(_random.normal(size=rows), 3) if levels is None else levels
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.250Z", time.gmtime())
    return {
        "id": ids_of(rows, ids),
        "timestamp": [stamp] * rows,
        "version": ["3"] * rows,
        "features": features,
        "prediction": _random.integers(0, 2, rows).tolist(),
        "score": numbers(_random.random(rows), 4),
        "latency_ms": numbers(_random.exponential(10, rows), 2),
    }


def rows_of(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """The same as rows."""
    names = list(columns["features"])
    features = [dict(zip(names, row, strict=True)) for row in zip(*columns["features"].values(), strict=True)]
    plain = [name for name in columns if name != "features"]
    rows = zip(*(columns[name] for name in plain), features, strict=True)
    return [dict(zip([*plain, "features"], row, strict=True)) for row in rows]


def table_of(columns: dict[str, Any]) -> pa.Table:
    """The same as a table of Arrow."""
    flat = {f"features.{name}": values for name, values in columns["features"].items()}
    return pa.table({name: values for name, values in columns.items() if name != "features"} | flat)


def body_of(encoding: str, columns: dict[str, Any]) -> bytes:
    """A request's body; one row of `rows` is a row by itself."""
    if encoding == "columns":
        return orjson.dumps({"columns": columns})
    if encoding in ("rows", "ndjson"):
        rows = rows_of(columns)
        if encoding == "ndjson":
            return b"".join(orjson.dumps(row) + b"\n" for row in rows)
        return orjson.dumps(rows[0] if len(rows) == 1 else {"rows": rows})
    table = table_of(columns)
    if encoding == "arrow":
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())
    file = io.BytesIO()
    pa.parquet.write_table(table, file)
    return file.getvalue()


class Template:
    """A body whose ids can be changed in microseconds, so that a client can send for minutes without being busy."""

    def __init__(self, encoding: str, rows: int) -> None:
        columns = columns_of(rows, "uuid7")
        body = body_of(encoding, columns)
        self.rows = rows
        self._joined = encoding == "arrow"  # there they lie side by side
        if self._joined:
            self._parts = body.split("".join(columns["id"]).encode())
        else:
            for one in columns["id"]:
                body = body.replace(one.encode(), b"\0", 1)
            self._parts = body.split(b"\0")

    def fresh(self) -> tuple[bytes, list[str]]:
        """A body with new UUIDv7s, and these."""
        ids = new_ids(self.rows)
        texts = ["".join(ids).encode()] if self._joined else [one.encode() for one in ids]
        pieces = [piece for pair in zip(self._parts, texts, strict=False) for piece in pair]
        return b"".join([*pieces, self._parts[-1]]), ids
