"""References: what a model's rows looked like when all was well. Immutable, numbered, each a profile in a binning."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.overview import of_models
from monitor.store.tables import reference, reference_rows


class StoredReference(NamedTuple):
    """A reference as stored; `version_id` None: for every version that has none of its own."""

    id: int
    number: int
    version_id: int | None
    binning: int
    provisional: bool
    created_at: int
    rows: int
    source: dict[str, Any]
    profile: bytes
    windows: bytes


_LIGHT = [
    reference.c[name]
    for name in ("id", "number", "version_id", "binning", "provisional", "created_at", "rows", "source")
]


def add_reference(
    connection: Connection,
    project_id: int,
    model_id: int,
    *,
    version_id: int | None,
    binning: int,
    provisional: bool,
    created_at: int,
    rows: int,
    source: dict[str, Any],
    profile: bytes,
    windows: bytes,
) -> tuple[int, int]:
    """Store a reference under the model's next number. Returns (id, number)."""
    last = connection.scalar(sa.select(sa.func.max(reference.c.number)).where(reference.c.model_id == model_id))
    number = (last or 0) + 1
    made = connection.execute(
        sa.insert(reference)
        .values(
            project_id=project_id,
            model_id=model_id,
            number=number,
            version_id=version_id,
            binning=binning,
            provisional=int(provisional),
            created_at=created_at,
            rows=rows,
            source=json.dumps(source),
            profile=profile,
            windows=windows,
        )
        .returning(reference.c.id)
    ).scalar_one()
    return int(made), number


def list_references(connection: Connection, model_id: int) -> list[StoredReference]:
    """All references of a model, oldest first, without their profiles (empty bytes)."""
    query = sa.select(*_LIGHT).where(reference.c.model_id == model_id).order_by(reference.c.number)
    return [_stored(row, b"", b"") for row in connection.execute(query)]


def load_reference(connection: Connection, reference_id: int, *, windows: bool = True) -> StoredReference:
    """A reference with its profile; `windows` False leaves its windows, the larger part, in the database."""
    parts = [reference.c.profile, *([reference.c.windows] if windows else [])]
    row = connection.execute(sa.select(*_LIGHT, *parts).where(reference.c.id == reference_id)).one()
    return _stored(row, row.profile, row.windows if windows else b"")


def reference_for(
    connection: Connection, model_id: int, version_id: int | None = None, binning: int | None = None
) -> StoredReference | None:
    """The reference that holds for a version: its own newest, else the newest for all versions.

    Without a version (all live rows) the newest for all versions, else the newest of any version. With `binning` only
    references in that binning count.
    """
    chosen = choose(list_references(connection, model_id), version_id, binning)
    return None if chosen is None else load_reference(connection, chosen.id)


def learned_from(connection: Connection, project_id: int, model_id: int | None = None) -> dict[int, tuple[bool, int]]:
    """Of a model, or of all of the project, that has a reference: whether somebody chose one, and the rows of the
    newest."""
    columns = reference.c
    query = (
        sa.select(columns.model_id, columns.provisional, columns.rows)
        .where(of_models(reference, project_id, model_id))
        .order_by(columns.model_id, columns.number)
    )
    found: dict[int, tuple[bool, int]] = {}
    for row in connection.execute(query):
        chosen = found.get(row.model_id, (False, 0))[0] or not row.provisional
        found[row.model_id] = (chosen, row.rows)
    return found


def choose_newest(connection: Connection, model_id: int) -> StoredReference | None:
    """The reference with the highest number, without its profiles."""
    return max(list_references(connection, model_id), key=lambda one: one.number, default=None)


def choose(
    references: list[StoredReference], version_id: int | None = None, binning: int | None = None
) -> StoredReference | None:
    """The reference that holds, out of a model's list; see `reference_for`."""
    usable = [one for one in references if binning is None or one.binning == binning]
    own = [one for one in usable if version_id is not None and one.version_id == version_id]
    common = [one for one in usable if one.version_id is None]
    candidates = own or common or (usable if version_id is None else [])
    return max(candidates, key=lambda one: one.number, default=None)


def add_part(
    connection: Connection, project_id: int, model_id: int, reference_id: int, part: int, rows: int, payload: bytes
) -> None:
    connection.execute(
        sa.insert(reference_rows).values(
            reference_id=reference_id, part=part, project_id=project_id, model_id=model_id, rows=rows, payload=payload
        )
    )


def read_parts(connection: Connection, reference_id: int, only: Sequence[int] | None = None) -> Iterator[bytes]:
    """The encoded rows of a reference that was sent as rows, in order; of all parts, or of those with the numbers
    `only`.

    A reference that was counted again in a later binning has the rows of the one that it was made from.
    """
    query = (
        sa.select(reference_rows.c.payload)
        .where(reference_rows.c.reference_id == _origin(connection, reference_id))
        .order_by(reference_rows.c.part)
    )
    if only is not None:
        query = query.where(reference_rows.c.part.in_(list(only)))
    yield from connection.scalars(query)


def sizes_of_parts(connection: Connection, reference_id: int) -> list[tuple[int, int]]:
    """(number, rows) of each part that `read_parts` reads, in order."""
    query = (
        sa.select(reference_rows.c.part, reference_rows.c.rows)
        .where(reference_rows.c.reference_id == _origin(connection, reference_id))
        .order_by(reference_rows.c.part)
    )
    return [(part, rows) for part, rows in connection.execute(query)]


def _origin(connection: Connection, reference_id: int) -> int:
    source = connection.scalar(sa.select(reference.c.source).where(reference.c.id == reference_id))
    return int(reference_id if source is None else json.loads(source).get("remade_from", reference_id))


def _stored(row: Any, profile: bytes, windows: bytes) -> StoredReference:
    return StoredReference(
        id=row.id,
        number=row.number,
        version_id=row.version_id,
        binning=row.binning,
        provisional=bool(row.provisional),
        created_at=row.created_at,
        rows=row.rows,
        source=json.loads(row.source),
        profile=profile,
        windows=windows,
    )
