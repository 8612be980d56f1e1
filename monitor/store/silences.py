"""Silences: stretches of time in which nobody is told of the alerts that their matchers take.

One with weekly hours is a maintenance window: it acts only in those hours, from its start to its end.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.errors import Conflict, NotFound
from monitor.store import audit
from monitor.store import tables as t

MAX_SILENCES = 1000  # of one project that are not over

_s = t.silence.c


@dataclass(frozen=True)
class Silence:
    """`matchers` as Alertmanager's; `weekly` as JSON, None for a silence that acts all the time between its ends."""

    id: str
    project_id: int
    name: str | None
    matchers: tuple[dict[str, Any], ...]
    starts_at: int
    ends_at: int
    weekly: dict[str, Any] | None
    comment: str
    created_by: str
    created_at: int
    updated_at: int

    def state(self, now: int) -> str:
        """Alertmanager's word for it: pending, active or expired."""
        return "pending" if now < self.starts_at else "active" if now < self.ends_at else "expired"


def new_id() -> str:
    return f"silence_{uuid4().hex}"


def told(silence: Silence) -> str:
    """What a silence takes, in Alertmanager's words."""
    return " and ".join(map(matcher, silence.matchers))


def matcher(one: Mapping[str, Any]) -> str:
    """A matcher as Alertmanager writes it: `model=~"loans|rides"`."""
    sign = ("=~" if one["isEqual"] else "!~") if one["isRegex"] else ("=" if one["isEqual"] else "!=")
    return f'{one["name"]}{sign}"{one["value"]}"'


def add_silence(connection: Connection, silence: Silence) -> None:
    """Store a new silence.

    Raises:
        Conflict: the project has as many as it may have, or one of that name.
    """
    of_project = sa.select(sa.func.count()).where(_s.project_id == silence.project_id, _s.ends_at > silence.created_at)
    if (connection.scalar(of_project) or 0) >= MAX_SILENCES:
        raise Conflict(f"a project has at most {MAX_SILENCES} silences that are not over: end some first")
    if silence.name is not None and find_silence(connection, silence.project_id, silence.name) is not None:
        raise Conflict("there is a silence of that name")
    connection.execute(sa.insert(t.silence).values(**_values(silence)))
    by, at = silence.created_by, silence.created_at
    audit.note(connection, silence.project_id, at, by, "silence.made", told(silence), silence.comment)


def update_silence(connection: Connection, silence: Silence) -> None:
    connection.execute(sa.update(t.silence).where(_s.id == silence.id).values(**_values(silence)))


def get_silence(connection: Connection, project_id: int, silence_id: str, *, lock: bool = False) -> Silence:
    """The silence with that id in that project.

    Raises:
        NotFound: there is none in this project.
    """
    query = sa.select(t.silence).where(_s.project_id == project_id, _s.id == silence_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound("there is no silence with that id")
    return _silence(row)


def find_silence(connection: Connection, project_id: int, name: str) -> Silence | None:
    """The silence that was declared under that name, or None."""
    query = sa.select(t.silence).where(_s.project_id == project_id, _s.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else _silence(row)


def current_silences(connection: Connection, project_id: int, now: int) -> Sequence[Silence]:
    """Those of a project that have begun and are not over, those that end last first."""
    query = sa.select(t.silence).where(_s.project_id == project_id, _s.starts_at <= now, _s.ends_at > now)
    return [_silence(row) for row in connection.execute(query.order_by(_s.ends_at.desc(), _s.id))]


def list_silences(
    connection: Connection,
    project_id: int,
    now: int,
    *,
    limit: int,
    state: str | None = None,
    after: tuple[int, str] | None = None,
) -> tuple[list[Silence], tuple[int, str] | None]:
    """At most `limit` silences, those that end last first, behind the place `after`; and the place of the next page.

    A place is (ends_at, id) of the last silence of a page.
    """
    query = sa.select(t.silence).where(_s.project_id == project_id)
    if state == "pending":
        query = query.where(_s.starts_at > now)
    elif state == "active":
        query = query.where(_s.starts_at <= now, _s.ends_at > now)
    elif state == "expired":
        query = query.where(_s.starts_at <= now, _s.ends_at <= now)
    if after is not None:
        query = query.where(sa.tuple_(_s.ends_at, _s.id) < sa.tuple_(*after))
    found = [
        _silence(row) for row in connection.execute(query.order_by(_s.ends_at.desc(), _s.id.desc()).limit(limit + 1))
    ]
    last = found[limit - 1] if len(found) > limit else None
    return found[:limit], None if last is None else (last.ends_at, last.id)


def _silence(row: sa.Row[Any]) -> Silence:
    values = dict(row._mapping)
    values["matchers"] = tuple(json.loads(values["matchers"]))
    values["weekly"] = None if values["weekly"] is None else json.loads(values["weekly"])
    return Silence(**values)


def _values(silence: Silence) -> dict[str, Any]:
    values = {column.name: getattr(silence, column.name) for column in t.silence.columns}
    values["matchers"] = json.dumps(silence.matchers)
    values["weekly"] = None if silence.weekly is None else json.dumps(silence.weekly)
    return values
