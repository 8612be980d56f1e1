"""Where rows and schema part: features that are not in it, values of another type, features that come no more.

What rows carry is counted once, in the transaction that moves the watermark; what is missing is told by each final
window. When rows are counted again, by a new schema or binning, so is this.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.tables import schema_finding
from monitor.store.upsert import upsert

NEW, RETYPED, MISSING = "new", "retyped", "missing"
MOST = 200  # features of a model that are new or of another type; further ones count together, under the empty name
_t = schema_finding


class Seen(NamedTuple):
    """How many rows, and between which times of theirs in microseconds."""

    rows: int
    first_at: int
    last_at: int

    def __add__(self, other: tuple[int, ...]) -> "Seen":  # type: ignore[override]
        rows, first_at, last_at = other
        return Seen(self.rows + rows, min(self.first_at, first_at), max(self.last_at, last_at))


class SchemaFinding(NamedTuple):
    """One feature of a model and what is the matter with it: new, retyped or missing."""

    model_id: int
    feature: str
    kind: str
    rows: int
    first_at: int
    last_at: int


Place = tuple[str, str]  # feature, kind


def add(connection: Connection, project_id: int, model_id: int, found: Mapping[Place, Seen]) -> None:
    """Add to what was seen of these features."""
    if not found:
        return
    held = {
        (one.feature, one.kind): Seen(*one[3:])
        for one in read(connection, project_id, model_id)
        if one.kind != MISSING  # of these there are no more than the schema has features
    }
    changed: dict[Place, Seen] = {}
    for (feature, kind), seen in found.items():
        place = (feature, kind) if (feature, kind) in held or len(held) < MOST else ("", kind)
        changed[place] = held[place] = held[place] + seen if place in held else seen
    _put(connection, project_id, model_id, changed)


def set_missing(
    connection: Connection, project_id: int, model_id: int, features: Iterable[str], rows: int, start: int, end: int
) -> None:
    """Say which features no row of a window had, the newest one that is final; those that are back are forgotten."""
    held = {one.feature: Seen(*one[3:]) for one in read(connection, project_id, model_id) if one.kind == MISSING}
    gone = set(features)
    back = held.keys() - gone
    if back:
        _delete(connection, model_id, _t.c.kind == MISSING, _t.c.feature.in_(back))
    window = Seen(rows, start, end)
    found = {one: held[one] + window if one in held else window for one in sorted(gone)}
    _put(connection, project_id, model_id, {(one, MISSING): seen for one, seen in found.items()})


def start_again(connection: Connection, model_id: int) -> None:
    """Forget what rows carried: they are counted once more."""
    _delete(connection, model_id, _t.c.kind != MISSING)


def read(connection: Connection, project_id: int, model_id: int | None = None) -> list[SchemaFinding]:
    """What was found of a model, or of every model of a project; what was seen last comes first."""
    mine = [_t.c.project_id == project_id] + ([] if model_id is None else [_t.c.model_id == model_id])
    columns = [_t.c[name] for name in SchemaFinding._fields]
    query = sa.select(*columns).where(*mine).order_by(_t.c.last_at.desc(), _t.c.feature, _t.c.kind)
    return [SchemaFinding(*row) for row in connection.execute(query)]


def _put(connection: Connection, project_id: int, model_id: int, found: Mapping[Place, Seen]) -> None:
    rows = [
        {"model_id": model_id, "feature": feature, "kind": kind, "project_id": project_id, **seen._asdict()}
        for (feature, kind), seen in found.items()
    ]
    if rows:
        connection.execute(upsert(connection, _t), rows)


def _delete(connection: Connection, model_id: int, *which: sa.ColumnElement[bool]) -> None:
    connection.execute(sa.delete(_t).where(_t.c.model_id == model_id, *which))
