"""API keys: made once, shown once, stored as the SHA-256 of their secret part.

A key is `kw_<8 characters of id>_<43 characters of secret>`. A key given by the installation (KEEPWATCH_ADMIN_KEY) may
have any form that starts with `kw_`; its id is then made of its hash.
"""

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.errors import NotFound, SetupError
from monitor.store import audit
from monitor.store import tables as t
from monitor.store.body import listed

SCOPES = ("ingest", "read", "admin")
GIVEN_NAME = "KEEPWATCH_ADMIN_KEY"

_KEY = re.compile(r"kw_([A-Za-z0-9]{8})_([A-Za-z0-9_-]{43})")
_LETTERS = string.ascii_letters + string.digits
_SHORTEST, _LONGEST = 20, 200
_GUESSABLE = ("changeme", "password", "letmein", "example", "qwerty", "12345678", "abcdefgh", "placeholder", "your")


@dataclass(frozen=True)
class Key:
    """A stored key. Times in microseconds; `secret_hash` is the hex SHA-256 of the secret part."""

    id: str
    project_id: int
    name: str
    scope: str
    secret_hash: str
    created_at: int
    last_used_at: int | None
    revoked_at: int | None


def split(text: str) -> tuple[str, str] | None:
    """The id and the hash of the secret of a key as it was sent; None when it cannot be a key."""
    match = _KEY.fullmatch(text)
    if match is not None:
        return match[1], sha256(match[2].encode()).hexdigest()
    if text.startswith("kw_") and _SHORTEST <= len(text) <= _LONGEST and text.isascii():
        digest = sha256(text.encode()).hexdigest()
        return "given-" + digest[:16], digest
    return None


def create_key(
    connection: Connection, project_id: int, name: str, scope: str, now: int, actor: str = audit.ITSELF
) -> str:
    """Make a key and return it; it cannot be read again.

    Raises:
        SetupError: the scope is not one of ingest, read, admin, or the name is empty or too long.
    """
    if scope not in SCOPES:
        raise SetupError("the scope of a key is one of " + ", ".join(SCOPES))
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise SetupError("the name of a key has 1 to 100 printable characters")
    key_id = "".join(secrets.choice(_LETTERS) for _ in range(8))
    text = f"kw_{key_id}_{secrets.token_urlsafe(32)}"
    _store(connection, project_id, name, scope, text, now, actor)
    return text


def _store(connection: Connection, project_id: int, name: str, scope: str, text: str, now: int, actor: str) -> None:
    parts = split(text)
    if parts is None:
        raise SetupError("this is not the form of a key")
    connection.execute(
        sa.insert(t.api_key).values(
            id=parts[0], project_id=project_id, name=name, scope=scope, secret_hash=parts[1], created_at=now
        )
    )
    audit.note(connection, project_id, now, actor, "key.made", name, f"{scope}, {parts[0]}")


def check_given_key(text: str) -> None:
    """Refuse a first key that could be guessed.

    Raises:
        SetupError: says what a key must be like, never what it is.
    """
    parts = split(text)
    body = text.removeprefix("kw_").lower()
    if parts is None or len(set(body)) < 10 or any(word in body for word in _GUESSABLE):
        raise SetupError(
            f"{GIVEN_NAME} must be kw_ and at least {_SHORTEST - 3} random letters, digits, - or _: for instance "
            "the answer of python3 -c \"import secrets; print('kw_' + secrets.token_urlsafe(32))\""
        )


def ensure_given_key(connection: Connection, project_id: int, text: str, now: int) -> None:
    """Store the installation's first key; a key given earlier under the same variable is revoked.

    Raises:
        SetupError: the key is weak, or was revoked.
    """
    check_given_key(text)
    parts = split(text)
    assert parts is not None
    table = t.api_key
    earlier = connection.execute(
        sa.update(table)
        .where(table.c.name == GIVEN_NAME, table.c.id != parts[0], table.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(table.c.project_id, table.c.id)
    )
    for owner, key_id in earlier.all():
        audit.note(connection, owner, now, audit.MACHINE, "key.revoked", GIVEN_NAME, key_id)
    stored = find_key(connection, parts[0])
    if stored is None:
        _store(connection, project_id, GIVEN_NAME, "admin", text, now, audit.MACHINE)
    elif stored.revoked_at is not None:
        raise SetupError(f"the key in {GIVEN_NAME} was revoked: set another one")


def find_key(connection: Connection, key_id: str) -> Key | None:
    """The key with that id, revoked or not."""
    row = connection.execute(sa.select(t.api_key).where(t.api_key.c.id == key_id)).one_or_none()
    return None if row is None else _key(row)


def list_keys(connection: Connection, project_id: int | None = None) -> list[Key]:
    """The keys of one project or of all, oldest first."""
    query = sa.select(t.api_key).order_by(t.api_key.c.created_at, t.api_key.c.id)
    if project_id is not None:
        query = query.where(t.api_key.c.project_id == project_id)
    return [_key(row) for row in connection.execute(query)]


def revoke_key(connection: Connection, key_id: str, now: int, actor: str) -> Key:
    """End a key, and the sessions that were opened under its name.

    Raises:
        NotFound: there is no key with that id.
    """
    key = find_key(connection, key_id)
    if key is None:
        raise NotFound("there is no key with that id: `keepwatch keys list` shows them")
    table = t.api_key
    ended = connection.execute(
        sa.update(table).where(table.c.id == key_id, table.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    if ended.rowcount:
        audit.note(connection, key.project_id, now, actor, "key.revoked", key.name, key.id)
    for logins in (t.login_session, t.login_token):
        connection.execute(sa.delete(logins).where(logins.c.project_id == key.project_id, logins.c.name == key.name))
    return key


def any_key(connection: Connection) -> bool:
    """Whether a key exists that was not revoked."""
    return connection.scalar(sa.select(t.api_key.c.id).where(t.api_key.c.revoked_at.is_(None)).limit(1)) is not None


def mark_used(connection: Connection, used: Mapping[str, int]) -> None:
    """Note when keys were last used: id -> time."""
    table = t.api_key
    for key_id, at in used.items():
        connection.execute(sa.update(table).where(table.c.id == key_id).values(last_used_at=at))


def projects(connection: Connection) -> dict[int, str]:
    """The projects that there are, by their number."""
    return {row.id: row.name for row in connection.execute(sa.select(t.project.c.id, t.project.c.name))}


def project_names(connection: Connection) -> set[str]:
    """The projects that there are."""
    return set(projects(connection).values())


def project_id_of(connection: Connection, name: str, now: int | None = None) -> int:
    """The number of a project; with `now`, a project of a new name is made.

    Raises:
        NotFound: there is none of that name; the message says which there are.
        SetupError: a new name is none.
    """
    found = connection.scalar(sa.select(t.project.c.id).where(t.project.c.name == name))
    if found is not None:
        return int(found)
    if now is None:
        raise NotFound(f"there is no project of that name: there are {listed(project_names(connection))}")
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise SetupError("the name of a project has 1 to 100 printable characters")
    made = connection.execute(sa.insert(t.project).values(name=name, created_at=now).returning(t.project.c.id))
    return int(made.scalar_one())


def _key(row: Any) -> Key:
    return Key(**row._mapping)
