"""Who did what: what people changed, put together from the tables that keep it, the newest first."""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store import tables as t

ITSELF = "keepwatch"  # what the service does by itself is no deed of anybody


@dataclass(frozen=True)
class Deed:
    """One deed. `subject`: the name of the model or key; `alert`: the id of its alert; `detail`: what was said."""

    at: int
    actor: str
    what: str
    subject: str
    detail: str
    alert: str | None = None


def deeds(connection: Connection, project_id: int, limit: int, before: int | None = None) -> list[Deed]:
    """At most `limit` deeds, those before the time `before`."""
    found = [
        *_settings(connection, project_id, limit, before),
        *_alerts(connection, project_id, limit, before),
        *_events(connection, project_id, limit, before),
        *_silences(connection, project_id, limit, before),
        *_keys(connection, project_id, before),
    ]
    return sorted(found, key=lambda one: -one.at)[:limit]


def _page(query: sa.Select[Any], at: sa.Column[int], limit: int, before: int | None) -> sa.Select[Any]:
    return (query if before is None else query.where(at < before)).order_by(at.desc()).limit(limit)


def _settings(connection: Connection, project_id: int, limit: int, before: int | None) -> list[Deed]:
    """Settings of models, each with what differs from the settings before."""
    change, earlier = t.model_change, t.model_change.alias("earlier")
    last = (
        sa.select(earlier.c.config)
        .where(earlier.c.model_id == change.c.model_id, earlier.c.id < change.c.id)
        .order_by(earlier.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        sa.select(change.c.changed_at, change.c.changed_by, t.model.c.name, change.c.config, last.label("earlier"))
        .join(t.model, t.model.c.id == change.c.model_id)
        .where(change.c.project_id == project_id)
    )
    return [
        Deed(row.changed_at, row.changed_by, "Settings changed" if row.earlier else "Model made", row.name,
             _differences(row.earlier, row.config))
        for row in connection.execute(_page(query, change.c.changed_at, limit, before))
    ]  # fmt: skip


def _differences(earlier: str | None, config: str) -> str:
    """The fields that changed: `window: 1h -> 2h`; long values (schemas) by name alone."""
    if earlier is None:
        return ""
    old, new = json.loads(earlier), json.loads(config)
    parts = []
    for name in new:
        if old.get(name) == new[name]:
            continue
        values = [json.dumps(one, ensure_ascii=False) for one in (old.get(name), new[name])]
        parts.append(f"{name}: {values[0]} → {values[1]}" if max(map(len, values)) <= 60 else name)
    return "; ".join(parts)


_ALERTS = {
    "alert.acknowledged": "Alert acknowledged",
    "alert.resolved": "Alert resolved",
    "alert.comment": "Alert commented",
}


def _alerts(connection: Connection, project_id: int, limit: int, before: int | None) -> list[Deed]:
    event = t.alert_event
    query = (
        sa.select(event.c.at, event.c.actor, event.c.type, event.c.comment, event.c.alert_id, t.model.c.name)
        .join(t.alert, t.alert.c.id == event.c.alert_id)
        .join(t.model, t.model.c.id == t.alert.c.model_id)
        .where(event.c.project_id == project_id, event.c.actor != ITSELF)
    )
    return [
        Deed(row.at, row.actor, _ALERTS.get(row.type, row.type), row.name, row.comment or "", row.alert_id)
        for row in connection.execute(_page(query, event.c.at, limit, before))
    ]


def _events(connection: Connection, project_id: int, limit: int, before: int | None) -> list[Deed]:
    event = t.model_event
    query = (
        sa.select(event.c.created_at, event.c.created_by, event.c.kind, event.c.text, t.model.c.name)
        .join(t.model, t.model.c.id == event.c.model_id)
        .where(event.c.project_id == project_id)
    )
    return [
        Deed(row.created_at, row.created_by, f"Marked: {row.kind.replace('_', ' ')}", row.name, row.text)
        for row in connection.execute(_page(query, event.c.created_at, limit, before))
    ]


def _silences(connection: Connection, project_id: int, limit: int, before: int | None) -> list[Deed]:
    table = t.silence
    query = sa.select(table.c.created_at, table.c.created_by, table.c.comment).where(table.c.project_id == project_id)
    return [
        Deed(row.created_at, row.created_by, "Silence made", "", row.comment)
        for row in connection.execute(_page(query, table.c.created_at, limit, before))
    ]


def _keys(connection: Connection, project_id: int, before: int | None) -> list[Deed]:
    """Keys are made and revoked by whoever has the machine or an administrator's session; there are few of them."""
    found = []
    for row in connection.execute(sa.select(t.api_key).where(t.api_key.c.project_id == project_id)):
        found.append(Deed(row.created_at, "", f"Key made ({row.scope})", row.name, row.id))
        if row.revoked_at is not None:
            found.append(Deed(row.revoked_at, "", "Key revoked", row.name, row.id))
    return [one for one in found if before is None or one.at < before]
