"""The rows of a stretch as they came: the only page that reads them, fifty at a time and only when somebody asks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from sqlalchemy.engine import Connection

from dashboards import formats
from dashboards.formats import Zone
from dashboards.pages.stretch import Stretch
from monitor.columns import FEATURE
from monitor.store import blocks, outcomes
from monitor.store.catalog import Model, version_names
from monitor.store.identity import keys_of

PAGE = 50
MOST_READ = 100_000  # rows that are looked through for a page
SHOWN = 40  # features and tags; more make a table that nobody reads
_FIRST = ("timestamp", "version", "role", "prediction", "score")


@dataclass(frozen=True)
class Row:
    """A row as text: its id, when, what was answered, what came true, and its features and tags in `names`' order."""

    id: str
    at: int
    version: str
    shadow: bool
    prediction: str
    score: str
    actual: str
    values: Sequence[str]


@dataclass(frozen=True)
class RowsPage:
    """`following`: the number of the row that the next page begins behind; `more`: reading ended before the page was
    full."""

    model: Model
    zone: Zone
    stretch: Stretch
    names: Sequence[str]
    feature: str
    left_out: int
    rows: Sequence[Row]
    following: int | None
    first: bool
    more: bool


def load(connection: Connection, model: Model, stretch: Stretch, feature: str | None, after: int | None) -> RowsPage:
    """Fifty rows in the order in which they came, those behind row number `after`; `feature` is shown first."""
    known = [name for name, kind in (model.features or {}).items() if kind != "ignored"]
    names = sorted(known, key=lambda name: name != feature)[:SHOWN]
    versions = version_names(connection, model.id)
    columns = ["id", *_FIRST, *(FEATURE + name for name in names)]
    found: list[tuple[int, pa.RecordBatch, int]] = []
    read = 0
    for number, batch, place in _rows(connection, model, stretch, columns, -1 if after is None else after):
        if place < 0:
            read += batch.num_rows
            if read > MOST_READ:
                break
            continue
        found.append((number, batch, place))
        if len(found) > PAGE:
            break
    shown, more = found[:PAGE], read > MOST_READ
    ids = [str(batch.column("id")[place]) for _, batch, place in shown]
    keys = keys_of(ids)
    held = outcomes.held_outcomes(connection, model.id, keys, regression=model.task == "regression") if ids else {}
    actual = [held[key].actual if key in held else "" for key in keys]
    rows = [_row(batch, place, names, versions, true) for (_, batch, place), true in zip(shown, actual, strict=True)]
    return RowsPage(
        model=model,
        zone=Zone(model.config.timezone),
        stretch=stretch,
        names=names,
        feature=feature or "",
        left_out=max(0, len(known) - SHOWN),
        rows=rows,
        following=shown[-1][0] if len(found) > PAGE or (more and shown) else None,
        first=after is None,
        more=more,
    )


def _rows(
    connection: Connection, model: Model, stretch: Stretch, columns: list[str], after: int
) -> Iterator[tuple[int, pa.RecordBatch, int]]:
    """(number, block, place) of each row of the stretch behind `after`; before each block its size, with place -1."""
    source = blocks.read_blocks_between(
        connection, model.id, stretch.from_us, stretch.to_us, columns, from_row=after + 1
    )
    for first, batch in source:
        yield first, batch, -1
        stamps = batch.column("timestamp").to_numpy()
        for place in ((stamps >= stretch.from_us) & (stamps < stretch.to_us)).nonzero()[0].tolist():
            if first + place > after:
                yield first + place, batch, place


def _row(batch: pa.RecordBatch, place: int, names: Sequence[str], versions: dict[int, str], actual: str) -> Row:
    columns = set(batch.schema.names)

    def text(name: str) -> str:
        value = batch.column(name)[place].as_py() if name in columns else None
        if value is None:
            return formats.NONE
        if isinstance(value, bool):
            return "true" if value else "false"
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    version = batch.column("version")[place].as_py()
    return Row(
        id=text("id"),
        at=batch.column("timestamp")[place].as_py(),
        version=versions.get(version, ""),
        shadow=text("role") == "shadow",
        prediction=text("prediction"),
        score=text("score"),
        actual=actual or formats.NONE,
        values=[text(FEATURE + name) for name in names],
    )
