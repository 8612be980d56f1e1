"""Who does a piece of background work: a row in the database, good for a while.

A lease that ran out may be taken by anybody; its token then grows, so that the former owner can be told apart. The time
is the database's on PostgreSQL, where owners live on several machines.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.store import tables as t
from monitor.store.session import is_sqlite


def database_now(connection: Connection) -> int:
    """The time in microseconds, as every owner of leases sees it."""
    if is_sqlite(connection):
        return clock.now()
    seconds = sa.func.extract("epoch", sa.func.clock_timestamp())
    return int(connection.execute(sa.select(sa.cast(seconds * clock.SECOND, sa.BigInteger))).scalar_one())


def claim(connection: Connection, job: str, subject: str, project_id: int, owner: str, life: int) -> int | None:
    """Take the lease for `life` microseconds; returns its token, or None while another owner has it."""
    now = database_now(connection)
    table = t.lease
    free = sa.or_(table.c.lease_until <= now, table.c.owner == owner)
    taken = connection.execute(
        sa.update(table)
        .where(table.c.job == job, table.c.subject == subject, free)
        .values(owner=owner, token=table.c.token + 1, lease_until=now + life)
        .returning(table.c.token)
    ).scalar_one_or_none()
    if taken is not None:
        return int(taken)
    insert = sqlite.insert if is_sqlite(connection) else postgresql.insert
    made = connection.execute(
        insert(table)
        .values(job=job, subject=subject, project_id=project_id, owner=owner, token=1, lease_until=now + life)
        .on_conflict_do_nothing()
        .returning(table.c.token)
    ).scalar_one_or_none()
    return None if made is None else int(made)


def renew(connection: Connection, job: str, subject: str, owner: str, token: int, life: int) -> bool:
    """Keep the lease for another `life` microseconds; False when it was lost."""
    return _set_until(connection, job, subject, owner, token, database_now(connection) + life)


def release(connection: Connection, job: str, subject: str, owner: str, token: int) -> bool:
    """Give the lease back; False when it was lost before."""
    return _set_until(connection, job, subject, owner, token, 0)


def _set_until(connection: Connection, job: str, subject: str, owner: str, token: int, until: int) -> bool:
    table = t.lease
    mine = (table.c.job == job, table.c.subject == subject, table.c.owner == owner, table.c.token == token)
    return connection.execute(sa.update(table).where(*mine).values(lease_until=until)).rowcount == 1
