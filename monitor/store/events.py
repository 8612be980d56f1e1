"""Events of a model: deployments, incidents, and stretches that are known to be bad."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.errors import NotFound
from monitor.store.identity import new_ids
from monitor.store.tables import model_event

DEPLOY, INCIDENT, KNOWN_BAD = "deploy", "incident", "known_bad"
KINDS = (DEPLOY, INCIDENT, KNOWN_BAD)
MOST = 1000  # of one model


class Event(NamedTuple):
    """One event; `to_at` None: a moment, or an incident that goes on. Times are microseconds."""

    id: str
    kind: str
    from_at: int
    to_at: int | None
    text: str
    created_at: int
    created_by: str


_COLUMNS = [model_event.c[name] for name in Event._fields]


def add_event(
    connection: Connection,
    project_id: int,
    model_id: int,
    kind: str,
    from_at: int,
    to_at: int | None,
    text: str,
    now: int,
    actor: str,
) -> Event:
    """Keep an event."""
    made = Event(new_ids(1)[0], kind, from_at, to_at, text, now, actor)
    connection.execute(sa.insert(model_event).values(project_id=project_id, model_id=model_id, **made._asdict()))
    return made


def get_event(connection: Connection, model_id: int, event_id: str) -> Event:
    """An event of that model.

    Raises:
        NotFound: it has none of that id.
    """
    row = connection.execute(
        sa.select(*_COLUMNS).where(model_event.c.model_id == model_id, model_event.c.id == event_id)
    ).one_or_none()
    if row is None:
        raise NotFound("this model has no event of that id")
    return Event(*row)


def list_events(
    connection: Connection,
    model_id: int,
    limit: int | None = None,
    after: tuple[int, str] | None = None,
    kind: str | None = None,
) -> list[Event]:
    """At most `limit` events, the latest begun first, those behind the place `after`: (from_at, id) of an event."""
    query = sa.select(*_COLUMNS).where(model_event.c.model_id == model_id)
    if kind is not None:
        query = query.where(model_event.c.kind == kind)
    if after is not None:
        query = query.where(sa.tuple_(model_event.c.from_at, model_event.c.id) < sa.tuple_(*after))
    query = query.order_by(model_event.c.from_at.desc(), model_event.c.id.desc())
    return [Event(*row) for row in connection.execute(query if limit is None else query.limit(limit))]


def events_between(connection: Connection, model_id: int, from_at: int, to_at: int) -> list[Event]:
    """The events that touch [from_at, to_at), the earliest first."""
    query = (
        sa.select(*_COLUMNS)
        .where(
            model_event.c.model_id == model_id,
            model_event.c.from_at < to_at,
            sa.or_(
                model_event.c.to_at > from_at,
                model_event.c.from_at >= from_at,
                sa.and_(model_event.c.to_at.is_(None), model_event.c.kind == INCIDENT),
            ),
        )
        .order_by(model_event.c.from_at, model_event.c.id)
    )
    return [Event(*row) for row in connection.execute(query)]


def count_events(connection: Connection, model_id: int) -> int:
    query = sa.select(sa.func.count()).select_from(model_event).where(model_event.c.model_id == model_id)
    return int(connection.scalar(query) or 0)


def delete_event(connection: Connection, model_id: int, event_id: str) -> None:
    """Forget an event; what it kept out while it was there stays out."""
    connection.execute(sa.delete(model_event).where(model_event.c.model_id == model_id, model_event.c.id == event_id))


def known_bad(connection: Connection, model_id: int) -> tuple[tuple[int, int], ...]:
    """The stretches [from, to) that are known to be bad, ascending, those that touch made one."""
    query = (
        sa.select(model_event.c.from_at, model_event.c.to_at)
        .where(model_event.c.model_id == model_id, model_event.c.kind == KNOWN_BAD)
        .order_by(model_event.c.from_at)
    )
    made: list[tuple[int, int]] = []
    for low, high in connection.execute(query):
        if made and low <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], high))
        else:
            made.append((low, high))
    return tuple(made)


def touches(stretches: tuple[tuple[int, int], ...], from_at: int, to_at: int) -> bool:
    """Whether one of the stretches overlaps [from_at, to_at)."""
    return any(low < to_at and high > from_at for low, high in stretches)
