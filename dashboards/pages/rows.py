"""The rows of a stretch, what came last first: the only page that reads rows, and only when somebody asks."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from sqlalchemy.engine import Connection

from dashboards import formats
from dashboards.formats import Zone
from dashboards.pages.stretch import Stretch
from monitor.columns import FEATURE
from monitor.errors import Invalid
from monitor.store import blocks, outcomes
from monitor.store.catalog import Model, version_names
from monitor.store.identity import keys_of

PAGE = 50
MOST_READ = 100_000  # rows that are looked through for a page
SHOWN = 40  # features and tags; more make a table that nobody reads
_FIRST = ("timestamp", "version", "role", "prediction", "score")

Found = tuple[int, pa.RecordBatch, int]  # a row: its number, its block, its place in the block


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
    """`following`: the next page holds rows below this number; `more`: reading ended before the page was full."""

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


def load(connection: Connection, model: Model, stretch: Stretch, feature: str | None, before: int | None) -> RowsPage:
    """Fifty rows, what came last first, those below row number `before`; `feature` is shown first.

    Numbers grow with every row that comes: what comes while somebody reads moves no row to another page.

    Raises:
        Invalid: the model has no such feature.
    """
    known = [name for name, kind in (model.features or {}).items() if kind != "ignored"]
    if feature and feature not in known:
        raise Invalid.field("feature", "is none of the model's: the page of its features lists them")
    names = sorted(known, key=lambda name: name != feature)[:SHOWN]
    versions = version_names(connection, model.id)
    columns = ["id", *_FIRST, *(FEATURE + name for name in names)]
    found, reached = _read(connection, model, stretch, columns, before)
    shown, more = found[:PAGE], reached is not None
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
        following=shown[-1][0] if len(found) > PAGE else reached,
        first=before is None,
        more=more,
    )


def _read(
    connection: Connection, model: Model, stretch: Stretch, columns: list[str], before: int | None
) -> tuple[list[Found], int | None]:
    """A page's rows and one more where there are more, the last first; and where reading was broken off, None if not.

    At least one block is read, so that page after page comes to the end, however few of the rows are of the stretch.
    """
    found: list[Found] = []
    read, reached = 0, None
    source = blocks.read_blocks_between(
        connection, model.id, stretch.from_us, stretch.to_us, columns, before, last_first=True
    )
    for first, batch in source:
        if read and read + batch.num_rows > MOST_READ:
            return found, reached
        stamps = batch.column("timestamp").to_numpy()
        places = ((stamps >= stretch.from_us) & (stamps < stretch.to_us)).nonzero()[0]
        found += [(first + place, batch, place) for place in places[::-1].tolist()]
        if len(found) > PAGE:
            return found[: PAGE + 1], None
        read, reached = read + batch.num_rows, first
    return found, None


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
