"""Removing what is known of messages and silences that are long over. Alerts and their history stay.

In short transactions, a thousand rows each, so that whoever writes alerts never waits long.
"""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from monitor.store import tables as t
from monitor.store.session import reading, writing

MOST = 1000  # rows of one transaction

_OPEN = sa.select(t.alert.c.id).where(t.alert.c.state != "resolved")


def sweep_notifications(engine: Engine, before: int) -> int:
    """Remove what became of events for channels before that time; of alerts that are open it stays: it says who knows
    of them. What is held stays too. Returns how many."""
    column = t.notification.c
    query = sa.select(column.id).where(column.state != "held", column.alert_id.not_in(_OPEN))
    return sum(
        _remove(engine, query.where(column.project_id == project_id, column.changed_at < before), [column.id])
        for project_id in _all(engine, t.project.c.id)
    )


def sweep_deliveries(engine: Engine, before: int) -> int:
    """Remove messages that were made before that time and arrived, or were given up, with their attempts.

    Those of open alerts stay: an Alertmanager is told them again. Returns how many.
    """
    column = t.delivery.c
    query = sa.select(column.id).where(
        column.state != "pending", sa.or_(column.alert_id.is_(None), column.alert_id.not_in(_OPEN))
    )
    return sum(
        _remove(
            engine,
            query.where(column.channel_id == channel_id, column.created_at < before),
            [t.delivery_attempt.c.delivery_id, column.id],
        )
        for channel_id in _all(engine, t.channel.c.id)
    )


def sweep_silences(engine: Engine, before: int) -> int:
    """Remove silences that ended before that time; returns how many."""
    column = t.silence.c
    return sum(
        _remove(
            engine,
            sa.select(column.id).where(
                column.project_id == project_id, column.ends_at < before, column.starts_at < before
            ),
            [column.id],
        )
        for project_id in _all(engine, t.project.c.id)
    )


def _all(engine: Engine, column: sa.Column[str] | sa.Column[int]) -> list[str | int]:
    with reading(engine) as connection:
        return list(connection.scalars(sa.select(column)))


def _remove(engine: Engine, query: sa.Select[tuple[str]], columns: list[sa.Column[str]]) -> int:
    """Remove rows by the ids that the query gives, where each of the columns holds them."""
    removed = 0
    while True:
        with writing(engine) as connection:
            ids = list(connection.scalars(query.limit(MOST)))
            for column in columns if ids else ():
                connection.execute(sa.delete(column.table).where(column.in_(ids)))
        removed += len(ids)
        if len(ids) < MOST:
            return removed
