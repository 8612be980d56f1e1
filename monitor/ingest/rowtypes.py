"""The shapes of ingest bodies as msgspec structs.

A model whose schema is frozen gets structs of its own, generated from its features: msgspec then checks types while it
parses, which is three times faster than parsing first and looking afterwards. What does not fit falls back to the loose
structs, row by row.
"""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

Time = Annotated[datetime, Meta(tz=True)]
Label = str | int | float | bool

_ROW: list[tuple[str, Any, Any]] = [
    ("id", str | None, None),
    ("timestamp", Time | None, None),
    ("version", str | None, None),
    ("prediction", Label | None, None),
    ("score", float | None, None),
    ("scores", dict[str, float] | None, None),
    ("latency_ms", float | None, None),
    ("error", str | bool | None, None),
    ("tags", dict[str, Label | None] | None, None),
    ("role", str | None, None),
    ("served_from", str | None, None),
    ("computed_at", Time | None, None),
    ("environment", str | None, None),
    ("known_at", Time | None, None),
]
_ACTUAL = ("actual", Label | None, None)
SCALARS = ["id", "timestamp", "version", "prediction", "score", "latency_ms", "error"]
SCALARS += ["role", "served_from", "computed_at", "environment", "known_at"]
TIMES = {"timestamp", "computed_at", "known_at", "observed_at"}

_VALUES: dict[str, Any] = {"numeric": float, "boolean": bool, "categorical": Label, "text": Label, "ignored": Label}


class Envelope(Struct, forbid_unknown_fields=True):
    """`{"rows": [...]}` or `{"columns": {...}}`, its content still unread."""

    rows: list[Raw] | None = None
    columns: Raw = Raw(b"")


class OutcomeRow(Struct, forbid_unknown_fields=True):
    id: str
    actual: Label
    observed_at: Time | None = None
    known_at: Time | None = None


class OutcomeRows(Struct, forbid_unknown_fields=True):
    rows: list[OutcomeRow]


def _row_struct(name: str, features: Any, with_actual: bool) -> type[Struct]:
    fields = [*_ROW, ("features", features | None, None)]
    # gc=False: what JSON says has no circles, and the collector need not look at thousands of rows.
    return msgspec.defstruct(name, [*fields, _ACTUAL] if with_actual else fields, forbid_unknown_fields=True, gc=False)


LOOSE_ROW = _row_struct("Row", dict[str, Any], False)
LOOSE_ROW_WITH_ACTUAL = _row_struct("ReferenceRow", dict[str, Any], True)


def _rows_of(row: Any) -> Any:
    return list[row]


def _list_of(kind: Any) -> Any:
    return list[kind] | None


class Typed:
    """The generated structs of one schema: decoders for a row, for rows, and for columns."""

    def __init__(self, features: tuple[tuple[str, str], ...], with_actual: bool) -> None:
        self.names = [name for name, _ in features]
        self.fields = [f"f{i}" for i in range(len(features))]
        rename = dict(zip(self.fields, self.names, strict=True))
        kinds = [_VALUES[kind] for _, kind in features]
        inner = msgspec.defstruct(
            "Features",
            [(field, kind | None, None) for field, kind in zip(self.fields, kinds, strict=True)],
            rename=rename,
            forbid_unknown_fields=True,
            gc=False,
        )
        lists = msgspec.defstruct(
            "FeatureColumns",
            [(field, _list_of(kind | None), None) for field, kind in zip(self.fields, kinds, strict=True)],
            rename=rename,
            forbid_unknown_fields=True,
        )
        row = _row_struct("Row", inner, with_actual)
        rows = msgspec.defstruct("Rows", [("rows", _rows_of(row))], forbid_unknown_fields=True)
        nested: dict[str, Any] = {"scores": dict[str, list[float | None]], "tags": dict[str, list[Label | None]]}
        columns = msgspec.defstruct(
            "Columns",
            [
                (name, nested[name] | None if name in nested else _list_of(kind), None)
                for name, kind, _ in [*_ROW, *([_ACTUAL] if with_actual else [])]
            ]
            + [("features", lists | None, None)],
            forbid_unknown_fields=True,
        )
        envelope = msgspec.defstruct("ColumnBody", [("columns", columns)], forbid_unknown_fields=True)
        self.row: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row)
        self.rows: msgspec.json.Decoder[Any] = msgspec.json.Decoder(rows)
        self.columns: msgspec.json.Decoder[Any] = msgspec.json.Decoder(envelope)


@lru_cache(maxsize=256)
def typed(features: tuple[tuple[str, str], ...], with_actual: bool) -> Typed | None:
    """The structs of a schema; None when a name holds what msgspec does not take for a key (quotes, backslashes)."""
    try:
        return Typed(features, with_actual)
    except ValueError:
        return None
