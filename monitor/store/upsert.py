"""INSERT … ON CONFLICT, which both databases know, built once a table: building it costs more than running it."""

from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from monitor.store.session import is_sqlite


def upsert(connection: Connection, table: sa.Table) -> sa.Insert:
    """An insert that replaces the row with the same primary key; executed with one mapping or many."""
    return _upsert(table, is_sqlite(connection))


def insert_new(connection: Connection, table: sa.Table) -> sa.Insert:
    """An insert that leaves a row that is there alone; executed with one mapping or many."""
    return _insert_new(table, is_sqlite(connection))


@lru_cache(maxsize=64)
def _upsert(table: sa.Table, on_sqlite: bool) -> sa.Insert:
    insert = sqlite.insert(table) if on_sqlite else postgresql.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: insert.excluded[name] for name in table.c.keys() if name not in keys}  # noqa: SIM118
    return insert.on_conflict_do_update(index_elements=keys, set_=changed)


@lru_cache(maxsize=64)
def _insert_new(table: sa.Table, on_sqlite: bool) -> sa.Insert:
    insert = sqlite.insert(table) if on_sqlite else postgresql.insert(table)
    return insert.on_conflict_do_nothing()
