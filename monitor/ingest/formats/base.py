"""What every format is: a name, a way to recognise its files, and a way to read them as drafts.

A draft is what the routes make of a body (`ingest/draft.py`), so rows of any format pass the same rules, the same
identity and the same commit as rows that were posted.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitor import clock
from monitor.errors import SetupError
from monitor.ingest.decode import MAX_ROWS, decode_outcomes, decode_predictions
from monitor.ingest.draft import Draft, Rejection, clip
from monitor.ingest.files import Mapped, draft_of, without_unlabelled
from monitor.ingest.formats.source import BATCH_ROWS, Source, parsed
from monitor.ingest.pairs import Halves
from monitor.ingest.validate import Times
from monitor.store.catalog import Model

Row = dict[str, Any]
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Unmapped(ValueError):
    """A record that cannot become a row; the text says why, and never what it holds."""


@dataclass(frozen=True)
class Wanted:
    """What an import asks for. `model` is asked again for each piece: its schema may have been frozen meanwhile."""

    model: Callable[[], Model]
    kind: str  # predictions | outcomes | reference
    times: Callable[[], Times] | None = None  # what time it is for the model; None for a reference
    history: bool = False  # known_at is each row's own time
    zone: tzinfo | None = None  # of times without an offset


@dataclass
class Piece:
    """A bounded part of a file. Its draft's `index` and its events' `place` count from `first`, a place in the file."""

    rows: Draft | Halves
    first: int
    done: int
    total: int
    columns: dict[str, str] = field(default_factory=dict)  # what was read -> what it became (monitor.columns)
    unused: Sequence[str] = ()
    notes: Sequence[str] = ()
    unlabelled: int = 0  # rows of a table of outcomes that have no label, and are not in the draft


NOTHING = Draft({}, np.arange(0), 0, [])


class Format(Protocol):
    """A kind of file; one module each, listed in `formats.FORMATS`."""

    @property
    def name(self) -> str: ...  # as in --format

    @property
    def title(self) -> str: ...

    def detects(self, source: Source) -> bool:
        """Whether this file is surely one of these."""
        ...

    def read(self, source: Source, wanted: Wanted) -> Iterator[Piece]:
        """Its rows, and what became what.

        Raises:
            SetupError: the file cannot be read, or holds nothing of the wanted kind.
        """
        ...


@dataclass
class Converted:
    """What a record became, and what was mapped to what."""

    rows: list[Row] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)


def drafts_of_records(
    source: Source,
    wanted: Wanted,
    convert: Callable[[Any, Model], Converted],
    notes: Sequence[str] = (),
) -> Iterator[Piece]:
    """JSON lines, each converted to rows; a line that cannot be becomes a rejection with its reason."""
    for lines, done, total in source.lines():
        model = wanted.model()
        rows: list[Row] = []
        places: list[int] = []
        rejected: list[Rejection] = []
        columns: dict[str, str] = {}
        for number, line in lines:
            try:
                record = parsed(line)
                if not isinstance(record, dict):
                    raise Unmapped("the line is no JSON object")
                made = convert(record, model)
            except Unmapped as error:
                rejected.append(Rejection(number, None, "invalid", str(error), clip(line)))
                continue
            columns |= made.columns
            rows += made.rows
            places += [number] * len(made.rows)
        yield from pieces_of_rows(rows, places, rejected, wanted, Piece(NOTHING, 0, done, total, columns, notes=notes))


def pieces_of_rows(
    rows: list[Row], places: list[int], rejected: list[Rejection], wanted: Wanted, shape: Piece
) -> Iterator[Piece]:
    """Rows as drafts of at most 10,000 with the rejections; everything else is as in `shape`."""
    model = wanted.model()
    for at in range(0, max(len(rows), 1), MAX_ROWS):
        draft = draft_of_rows(rows[at : at + MAX_ROWS], wanted, model, places[at : at + MAX_ROWS])
        if at == 0:
            draft.rejected += rejected
            draft.total += len(rejected)
        yield replace(shape, rows=draft)


def draft_of_rows(rows: list[Row], wanted: Wanted, model: Model, places: Sequence[int] | None = None) -> Draft:
    """Rows as the API takes them, as the draft that the API makes of them.

    Args:
        places: where each row stood; default 0, 1, …
    """
    if wanted.history:
        own = "observed_at" if wanted.kind == "outcomes" else "timestamp"
        for row in rows:
            if row.get(own) is not None:
                row.setdefault("known_at", row[own])
    body = msgspec.json.encode({"rows": rows}, enc_hook=str)
    if wanted.kind == "outcomes":
        draft = decode_outcomes(body, model)
    else:
        draft = decode_predictions(body, model, with_actual=wanted.kind == "reference", max_rows=MAX_ROWS)
    if places is None:
        return draft
    at = np.asarray(places, np.int64)
    draft.index = at[draft.index] if len(at) else draft.index
    draft.rejected = [replace(one, index=places[one.index]) for one in draft.rejected]
    return draft


def drafts_of_tables(
    source: Source,
    wanted: Wanted,
    map_columns: Callable[[pa.Table, Model], Mapped],
    notes: Callable[[], Sequence[str]] = tuple,
) -> Iterator[Piece]:
    """A file of columns, mapped once by its first piece."""
    mapped: Mapped | None = None
    first = 0
    for table, done, total in source.tables():
        mapped = mapped if mapped is not None else map_columns(table, wanted.model())
        here = Mapped(
            {name: target for name, target in mapped.columns.items() if _has(table, name)},
            mapped.unused,
        )
        for start in range(0, table.num_rows, BATCH_ROWS):
            part = with_zone(table.slice(start, BATCH_ROWS), here, wanted.zone)
            draft = draft_of(part, here, wanted.model(), wanted.kind, wanted.history)
            draft, unlabelled = without_unlabelled(draft) if wanted.kind == "outcomes" else (draft, 0)
            yield Piece(draft, first + start, done, total, mapped.columns, mapped.unused, notes(), unlabelled)
        first += table.num_rows


def _has(table: pa.Table, name: str) -> bool:
    """Whether a table has the column, or the struct that it is a field of."""
    return name in table.schema.names or name.partition(".")[0] in table.schema.names


_TIMES = {"timestamp", "known_at", "computed_at", "observed_at"}


def with_zone(table: pa.Table, mapped: Mapped, zone: tzinfo | None) -> pa.Table:
    """The table with its times without an offset taken as times of the zone; None leaves them as they are."""
    if zone is None:
        return table
    for name, target in mapped.columns.items():
        if target not in _TIMES or name not in table.schema.names:
            continue
        array = table[name]
        if pa.types.is_timestamp(array.type) and array.type.tz is None:
            fixed = pc.assume_timezone(array, str(zone), ambiguous="earliest", nonexistent="earliest")
        elif pa.types.is_date(array.type):
            stamps = array.cast(pa.timestamp("us"))
            fixed = pc.assume_timezone(stamps, str(zone), ambiguous="earliest", nonexistent="earliest")
        elif pa.types.is_string(array.type):
            fixed = pa.chunked_array([pa.array([zoned(one, zone) for one in array.to_pylist()], pa.string())])
        else:
            continue
        table = table.set_column(table.schema.get_field_index(name), name, fixed)
    return table


def zoned(text: str | None, zone: tzinfo) -> str | None:
    """A time as text, in the zone where it has no offset; what is no time stays as it is, to be rejected."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return text
    return at.isoformat() if at.tzinfo is not None else at.replace(tzinfo=zone).isoformat()


def epoch(seconds: float) -> str | None:
    """Seconds since 1970 as RFC 3339; None for what is no time."""
    try:
        return clock.render(round(seconds * 1_000_000))
    except (ValueError, OverflowError, TypeError):
        return None


def version_name(value: object) -> str | None:
    """A version's name where the value can be one."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    return text if _VERSION.fullmatch(text) else None


def nothing_of(kind: str, source: Source, title: str, instead: str) -> SetupError:
    """That a file holds nothing of the wanted kind."""
    return SetupError(f"{source.path}: {title} holds no {kind}: {instead}")


UTC_NOTE = "times without an offset are taken as UTC (--timezone says otherwise)"
DEFAULT_ZONE = UTC
