"""Monitors by hand as rows; rules, memories and last windows are JSON, read and written by evaluate/watched."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.tables import monitor


class StoredMonitor(NamedTuple):
    """A monitor as stored; `revision` grows with every change of its rule."""

    id: str
    name: str
    rule: str
    created_at: int
    created_by: str
    revision: int
    memory: str
    last: str | None


_COLUMNS = [monitor.c[name] for name in StoredMonitor._fields]


def list_monitors(connection: Connection, model_id: int) -> list[StoredMonitor]:
    """The monitors of a model by name."""
    query = sa.select(*_COLUMNS).where(monitor.c.model_id == model_id).order_by(monitor.c.name)
    return [StoredMonitor(*row) for row in connection.execute(query)]


def find_monitor(connection: Connection, model_id: int, name: str) -> StoredMonitor | None:
    query = sa.select(*_COLUMNS).where(monitor.c.model_id == model_id, monitor.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else StoredMonitor(*row)


def count_monitors(connection: Connection, model_id: int) -> int:
    query = sa.select(sa.func.count()).select_from(monitor).where(monitor.c.model_id == model_id)
    return int(connection.scalar(query) or 0)


def add_monitor(connection: Connection, project_id: int, model_id: int, made: StoredMonitor) -> None:
    connection.execute(sa.insert(monitor).values(project_id=project_id, model_id=model_id, **made._asdict()))


def replace_rule(connection: Connection, changed: StoredMonitor) -> None:
    """Write another rule, and what is remembered under it."""
    values = {"rule": changed.rule, "revision": changed.revision, "memory": changed.memory, "last": changed.last}
    connection.execute(sa.update(monitor).where(monitor.c.id == changed.id).values(values))


def save_step(connection: Connection, monitor_id: str, revision: int, memory: str, last: str) -> bool:
    """Keep what a window came to; False when the rule was changed or removed meanwhile, and nothing is kept."""
    changed = connection.execute(
        sa.update(monitor)
        .where(monitor.c.id == monitor_id, monitor.c.revision == revision)
        .values(memory=memory, last=last)
    )
    return changed.rowcount == 1


def delete_monitor(connection: Connection, monitor_id: str) -> None:
    connection.execute(sa.delete(monitor).where(monitor.c.id == monitor_id))
