"""Rejected rows with their reasons: the last 10,000 or 100 MB of a model are kept, all are counted."""

from collections.abc import Iterable
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.store.erased import ERASED
from monitor.store.session import is_sqlite
from monitor.store.tables import quarantine, quarantine_count

MAX_ROWS = 10_000
MAX_BYTES = 100_000_000


class Rejected(Protocol):
    @property
    def id(self) -> str | None: ...
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def row(self) -> str: ...


def quarantine_rows(
    connection: Connection, project_id: int, model_id: int, kind: str, rejected: Iterable[Rejected], arrived_at: int
) -> None:
    """Keep rejected rows while there is room, and count every one of them by code."""
    rows = list(rejected)
    if not rows:
        return
    kept_rows, kept_bytes = connection.execute(
        sa.select(
            sa.func.coalesce(sa.func.sum(quarantine_count.c.kept_rows), 0),
            sa.func.coalesce(sa.func.sum(quarantine_count.c.kept_bytes), 0),
        ).where(quarantine_count.c.model_id == model_id)
    ).one()
    counts: dict[str, list[int]] = {}
    keep = []
    for row in rows:
        count = counts.setdefault(row.code, [0, 0, 0])
        count[0] += 1
        size = len(row.row)
        if row.code == ERASED[0]:
            continue  # counted, but nothing of it may be kept
        if kept_rows < MAX_ROWS and kept_bytes + size <= MAX_BYTES:
            kept_rows, kept_bytes = kept_rows + 1, kept_bytes + size
            count[1] += 1
            count[2] += size
            keep.append(
                {
                    "project_id": project_id,
                    "model_id": model_id,
                    "kind": kind,
                    "arrived_at": arrived_at,
                    "row_id": None if row.id is None else row.id.replace("\x00", "\ufffd")[:256],
                    "code": row.code,
                    "message": row.message,
                    "row": row.row,
                }
            )
    if keep:
        connection.execute(sa.insert(quarantine), keep)
    insert = _upsert(connection)
    for code, (total, kept, size) in sorted(counts.items()):
        statement = insert(quarantine_count).values(
            model_id=model_id, code=code, project_id=project_id, rows=total, kept_rows=kept, kept_bytes=size
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["model_id", "code"],
                set_={
                    "rows": quarantine_count.c.rows + total,
                    "kept_rows": quarantine_count.c.kept_rows + kept,
                    "kept_bytes": quarantine_count.c.kept_bytes + size,
                },
            )
        )


def _upsert(connection: Connection):  # type: ignore[no-untyped-def]
    if is_sqlite(connection):
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert


def read_quarantine(connection: Connection, model_id: int, limit: int, after: int | None) -> list[dict[str, object]]:
    """The newest rejected rows first; `after` is the id of the last one already seen."""
    query = sa.select(quarantine).where(quarantine.c.model_id == model_id)
    if after is not None:
        query = query.where(quarantine.c.id < after)
    return [
        {
            "quarantine_id": row.id,
            "kind": row.kind,
            "arrived_at": clock.render(row.arrived_at),
            "id": row.row_id,
            "code": row.code,
            "message": row.message,
            "row": row.row,
        }
        for row in connection.execute(query.order_by(quarantine.c.id.desc()).limit(limit))
    ]


def rejected_counts(connection: Connection, model_id: int) -> dict[str, int]:
    """Rows ever rejected, by code."""
    query = sa.select(quarantine_count.c.code, quarantine_count.c.rows).where(quarantine_count.c.model_id == model_id)
    return {row.code: row.rows for row in connection.execute(query)}
