"""Log-ins to the dashboard: a token that is good once, for 15 minutes, is exchanged for a session of 7 days.

Both are random texts of 256 bits; only their SHA-256 is stored.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.store import tables as t

TOKEN_LIFE = 15 * clock.MINUTE
SESSION_LIFE = 7 * clock.DAY
_LONGEST = 100


@dataclass(frozen=True)
class Session:
    """Who a session belongs to, and until when (microseconds)."""

    project_id: int
    name: str
    scope: str
    expires_at: int


def issue_login(connection: Connection, project_id: int, name: str, scope: str, now: int) -> str:
    """A new log-in token, to be shown once to the person who may come in."""
    token = secrets.token_urlsafe(32)
    connection.execute(
        sa.insert(t.login_token).values(
            token_hash=_hash(token), project_id=project_id, name=name, scope=scope, expires_at=now + TOKEN_LIFE
        )
    )
    return token


def exchange_login(connection: Connection, token: str, now: int) -> str | None:
    """Use a log-in token up and open a session: its token, or None when the log-in token is not good (any more)."""
    table = t.login_token
    used = connection.execute(
        sa.update(table)
        .where(table.c.token_hash == _hash(token), table.c.used_at.is_(None), table.c.expires_at > now)
        .values(used_at=now)
        .returning(table.c.project_id, table.c.name, table.c.scope)
    ).one_or_none()
    if used is None:
        return None
    session = secrets.token_urlsafe(32)
    connection.execute(
        sa.insert(t.login_session).values(
            token_hash=_hash(session),
            project_id=used.project_id,
            name=used.name,
            scope=used.scope,
            created_at=now,
            expires_at=now + SESSION_LIFE,
        )
    )
    return session


def find_session(connection: Connection, token: str, now: int) -> Session | None:
    """The open session of that token."""
    table = t.login_session
    row = connection.execute(
        sa.select(table.c.project_id, table.c.name, table.c.scope, table.c.expires_at).where(
            table.c.token_hash == _hash(token), table.c.expires_at > now
        )
    ).one_or_none()
    return None if row is None else Session(row.project_id, row.name, row.scope, row.expires_at)


def end_session(connection: Connection, token: str) -> None:
    """Log out."""
    connection.execute(sa.delete(t.login_session).where(t.login_session.c.token_hash == _hash(token)))


def sweep(connection: Connection, now: int) -> None:
    """Remove log-ins and sessions that are over."""
    for table in (t.login_token, t.login_session):
        connection.execute(sa.delete(table).where(table.c.expires_at <= now))


def _hash(token: str) -> str:
    return sha256(token[:_LONGEST].encode("utf-8", "surrogateescape")).hexdigest()
