"""Pages that are shared: a link shows one page, read-only, until it expires or is revoked.

The link's token is a random text of 256 bits; only its SHA-256 is stored, so that whoever reads the database opens
nothing.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.errors import Conflict, NotFound
from monitor.store import audit
from monitor.store.identity import new_ids
from monitor.store.tables import share

MOST = 100  # of a project that are open
KEPT = 30 * clock.DAY  # after its end a share stays on the list for that long
_LONGEST = 100


@dataclass(frozen=True)
class Share:
    """`path` and `query` are the address of the page that the link shows; times in microseconds."""

    id: str
    project_id: int
    model_id: int
    path: str
    query: str
    created_at: int
    created_by: str
    expires_at: int
    revoked_at: int | None

    def is_open(self, now: int) -> bool:
        return self.revoked_at is None and now < self.expires_at


_COLUMNS = [share.c[name] for name in Share.__dataclass_fields__]


def create(
    connection: Connection,
    project_id: int,
    model_id: int,
    address: tuple[str, str],
    now: int,
    expires_at: int,
    actor: str,
) -> tuple[Share, str]:
    """A new share of an address (path, query) and its token, which is shown once.

    Raises:
        Conflict: the project has as many open ones as it may have.
    """
    still = sa.select(sa.func.count()).where(
        share.c.project_id == project_id, share.c.revoked_at.is_(None), share.c.expires_at > now
    )
    if (connection.scalar(still) or 0) >= MOST:
        raise Conflict(f"a project has at most {MOST} open links: revoke one first")
    token = secrets.token_urlsafe(32)
    made = Share(new_ids(1)[0], project_id, model_id, *address, now, actor, expires_at, None)
    connection.execute(sa.insert(share).values(token_hash=_hash(token), **made.__dict__))
    until = f"until {clock.render(expires_at // clock.SECOND * clock.SECOND)}"
    audit.note(connection, project_id, now, actor, "shared_link.made", unquote(made.path), until)
    return made, token


def find(connection: Connection, token: str, now: int) -> Share | None:
    """The open share of that token."""
    row = connection.execute(sa.select(*_COLUMNS).where(share.c.token_hash == _hash(token))).one_or_none()
    found = None if row is None else Share(*row)
    return found if found is not None and found.is_open(now) else None


def listed(connection: Connection, project_id: int) -> list[Share]:
    """The project's shares, the newest first."""
    query = sa.select(*_COLUMNS).where(share.c.project_id == project_id)
    return [Share(*row) for row in connection.execute(query.order_by(share.c.id.desc()))]


def revoke(connection: Connection, project_id: int, share_id: str, now: int, actor: str) -> None:
    """End a share at once; one that has ended stays as it is.

    Raises:
        NotFound: the project has none of that id.
    """
    mine = sa.and_(share.c.project_id == project_id, share.c.id == share_id)
    path = connection.scalar(sa.select(share.c.path).where(mine))
    if path is None:
        raise NotFound("there is no shared link of that id")
    ended = connection.execute(sa.update(share).where(mine, share.c.revoked_at.is_(None)).values(revoked_at=now))
    if ended.rowcount:
        audit.note(connection, project_id, now, actor, "shared_link.revoked", unquote(path))


def sweep(connection: Connection, now: int) -> None:
    """Forget what ended long ago."""
    connection.execute(sa.delete(share).where(share.c.expires_at < now - KEPT))


def _hash(token: str) -> str:
    return sha256(token[:_LONGEST].encode("utf-8", "surrogateescape")).hexdigest()
