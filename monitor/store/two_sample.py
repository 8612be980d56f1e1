"""What the nightly two-sample test of a model remembers, written once a day of the model."""

from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from monitor.store.session import is_sqlite
from monitor.store.tables import two_sample


class Memory(NamedTuple):
    """Against which reference, up to which instant days were judged, the state, and the rows that it learns from (None:
    erased, they are read again)."""

    reference_id: int
    judged_to: int
    state: bytes
    rows: bytes | None


class Progress(NamedTuple):
    """Against which reference days were judged last, up to which instant, and whether its rows are at hand."""

    reference_id: int
    judged_to: int
    has_rows: bool


def read(connection: Connection, model_id: int) -> Memory | None:
    """What the test of a model remembers; None before its first day."""
    columns = [two_sample.c[name] for name in Memory._fields]
    row = connection.execute(sa.select(*columns).where(two_sample.c.model_id == model_id)).one_or_none()
    return None if row is None else Memory(*row)


def progress(connection: Connection, model_id: int) -> Progress | None:
    """How far days were judged, without what is remembered of them."""
    columns = two_sample.c.reference_id, two_sample.c.judged_to, two_sample.c.rows.is_not(None)
    row = connection.execute(sa.select(*columns).where(two_sample.c.model_id == model_id)).one_or_none()
    return None if row is None else Progress(row[0], row[1], bool(row[2]))


def save(connection: Connection, project_id: int, model_id: int, memory: Memory, judged_to: int | None) -> bool:
    """Remember a day more; False, and nothing written, when another worker has judged it since `judged_to` was read
    (None: there was no memory)."""
    values: dict[str, Any] = memory._asdict()
    if judged_to is not None:
        mine = (two_sample.c.model_id == model_id, two_sample.c.judged_to == judged_to)
        return connection.execute(sa.update(two_sample).where(*mine).values(**values)).rowcount == 1
    insert = sqlite.insert if is_sqlite(connection) else postgresql.insert
    made = insert(two_sample).values(model_id=model_id, project_id=project_id, **values).on_conflict_do_nothing()
    return connection.execute(made.returning(two_sample.c.model_id)).first() is not None


def forget_rows(connection: Connection, model_id: int) -> None:
    """Drop the rows that the test of a model learns from: some of them are being erased."""
    connection.execute(sa.update(two_sample).where(two_sample.c.model_id == model_id).values(rows=None))
