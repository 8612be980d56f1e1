"""Alerts and what happened to them. One alert per model and family is open at a time; a unique index holds that."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.errors import NotFound
from monitor.store import tables as t

STATES = ("firing", "acknowledged", "resolved")
SEVERITIES = ("info", "warning", "critical")  # from mild to severe


@dataclass(frozen=True)
class Alert:
    """One alert; `model` is the model's name, times are microseconds, `causes` are JSON objects, strongest first."""

    id: str
    project_id: int
    model_id: int
    model: str
    family: str
    state: str
    severity: str
    opened_at: int
    first_evidence_at: int
    updated_at: int
    resolved_at: int | None
    evidence: float
    budget: dict[str, Any]
    causes: tuple[dict[str, Any], ...]
    text: str

    @property
    def labels(self) -> dict[str, str]:
        """What matchers of channels look at."""
        return {"model": self.model, "family": self.family, "severity": self.severity}


@dataclass(frozen=True)
class AlertEvent:
    """One line of an alert's history; `actor` is the key's name or "keepwatch", `comment` what a person said.

    `type` is the type of its webhook, or alert.reopened, alert.escalated, alert.comment; `text` is the alert's sentence
    at that time, of alert.updated what has changed.
    """

    at: int
    type: str
    actor: str
    text: str
    comment: str | None = None


def new_id() -> str:
    return f"alert_{uuid4().hex}"


def get_alert(connection: Connection, project_id: int, alert_id: str, *, lock: bool = False) -> Alert:
    """The alert with that id in that project; `lock` keeps others from changing it until the transaction ends.

    Raises:
        NotFound: there is none in this project.
    """
    query = _select().where(t.alert.c.project_id == project_id, t.alert.c.id == alert_id)
    row = connection.execute(query.with_for_update(of=t.alert) if lock else query).one_or_none()
    if row is None:
        raise NotFound("there is no alert with that id")
    return _alert(row)


def open_alert(connection: Connection, model_id: int, family: str) -> Alert | None:
    """The alert of that family that is not resolved, locked until the transaction ends, or None."""
    query = _select().where(t.alert.c.model_id == model_id, t.alert.c.family == family, t.alert.c.state != "resolved")
    row = connection.execute(query.with_for_update(of=t.alert)).one_or_none()
    return None if row is None else _alert(row)


def resolved_alert(connection: Connection, model_id: int, family: str, since: int) -> Alert | None:
    """The alert of that family that was resolved last, not before `since`; locked until the transaction ends."""
    query = _select().where(t.alert.c.model_id == model_id, t.alert.c.family == family, t.alert.c.resolved_at >= since)
    query = query.order_by(t.alert.c.resolved_at.desc(), t.alert.c.opened_at.desc(), t.alert.c.id).limit(1)
    row = connection.execute(query.with_for_update(of=t.alert)).one_or_none()
    return None if row is None else _alert(row)


def lock_idle(connection: Connection, alert_ids: Iterable[str]) -> list[Alert]:
    """Those of these alerts that no other transaction is at, locked until this one ends."""
    query = _select().where(t.alert.c.id.in_(sorted(set(alert_ids)))).order_by(t.alert.c.id)
    return [_alert(row) for row in connection.execute(query.with_for_update(of=t.alert, skip_locked=True))]


def open_alerts(connection: Connection, model_id: int, family: str) -> list[Alert]:
    """The alert of that family that is not resolved, without a lock; none or one."""
    query = _select().where(t.alert.c.model_id == model_id, t.alert.c.family == family, t.alert.c.state != "resolved")
    return [_alert(row) for row in connection.execute(query)]


def list_alerts(
    connection: Connection,
    project_id: int,
    *,
    limit: int,
    model_id: int | None = None,
    state: str | None = None,
    after: tuple[int, str] | None = None,
) -> tuple[list[Alert], tuple[int, str] | None]:
    """At most `limit` alerts, the latest opened first, those behind the place `after`; and the place of the next page.

    A place is (opened_at, id) of the last alert of a page.
    """
    query = _select().where(t.alert.c.project_id == project_id)
    if model_id is not None:
        query = query.where(t.alert.c.model_id == model_id)
    if state is not None:
        query = query.where(t.alert.c.state == state)
    if after is not None:
        query = query.where(sa.tuple_(t.alert.c.opened_at, t.alert.c.id) < sa.tuple_(*after))
    query = query.order_by(t.alert.c.opened_at.desc(), t.alert.c.id.desc()).limit(limit + 1)
    alerts = [_alert(row) for row in connection.execute(query)]
    last = alerts[limit - 1] if len(alerts) > limit else None
    return alerts[:limit], None if last is None else (last.opened_at, last.id)


def insert_alert(connection: Connection, alert: Alert) -> None:
    connection.execute(sa.insert(t.alert).values(**_values(alert)))


def update_alert(connection: Connection, alert: Alert) -> None:
    connection.execute(sa.update(t.alert).where(t.alert.c.id == alert.id).values(**_values(alert)))


def add_event(connection: Connection, alert: Alert, event: AlertEvent) -> int:
    """Write a line of the alert's history; returns its number."""
    values = {"project_id": alert.project_id, "alert_id": alert.id, **asdict(event)}
    return int(connection.scalar(sa.insert(t.alert_event).values(**values).returning(t.alert_event.c.id)))


def list_events(connection: Connection, project_id: int, alert_id: str) -> list[AlertEvent]:
    """The history of an alert, oldest first; empty when the project has no such alert."""
    columns = t.alert_event.c
    query = sa.select(columns.at, columns.type, columns.actor, columns.text, columns.comment).where(
        columns.project_id == project_id, columns.alert_id == alert_id
    )
    return [AlertEvent(*row) for row in connection.execute(query.order_by(columns.id))]


def texts_of(connection: Connection, event_ids: Iterable[int], type_: str) -> dict[int, str]:
    """The texts of those of these events that have that type, by their numbers, oldest first."""
    columns = t.alert_event.c
    query = sa.select(columns.id, columns.text).where(columns.id.in_(sorted(event_ids)), columns.type == type_)
    return {row.id: row.text for row in connection.execute(query.order_by(columns.id))}


def _select() -> sa.Select[Any]:
    return sa.select(t.alert, t.model.c.name.label("model")).join(t.model, t.model.c.id == t.alert.c.model_id)


def _alert(row: sa.Row[Any]) -> Alert:
    values = dict(row._mapping)
    values["budget"] = json.loads(values["budget"])
    values["causes"] = tuple(json.loads(values["causes"]))
    return Alert(**values)


def _values(alert: Alert) -> dict[str, Any]:
    values = {column.name: getattr(alert, column.name) for column in t.alert.columns}
    values["budget"] = json.dumps(alert.budget)
    values["causes"] = json.dumps(alert.causes, allow_nan=False)
    return values
