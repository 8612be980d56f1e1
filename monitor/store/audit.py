"""Who did what: each deed of a person is one row, written in the transaction of the deed and never changed.

A deed carries the wall clock, whatever clock its model has, and outlives what it was done to. Secrets (keys, links,
URLs and secrets of channels) and ids of rows never stand in it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store import tables as t
from monitor.store.identity import new_ids

ITSELF = "keepwatch"  # the service by itself: the first key, a channel that took nothing for too long
MACHINE = "command line"  # whoever has the machine
LONGEST_VALUE = 60  # characters of a value that is shown

What = Literal[
    "alert.acknowledged",
    "alert.commented",
    "alert.resolved",
    "channel.changed",
    "channel.deleted",
    "channel.made",
    "channel.secret_rotated",
    "channel.switched_off",
    "channel.switched_on",
    "deliveries.replayed",
    "event.deleted",
    "event.made",
    "key.made",
    "key.revoked",
    "model.changed",
    "model.deleted",
    "model.made",
    "monitor.changed",
    "monitor.deleted",
    "monitor.made",
    "policy.changed",
    "reference.made",
    "route.changed",
    "route.deleted",
    "route.made",
    "rows.erased",
    "shared_link.made",
    "shared_link.revoked",
    "silence.changed",
    "silence.ended",
    "silence.made",
]


@dataclass(frozen=True)
class Deed:
    """One deed. `at`: microseconds; `subject`: the name of what it was done to; `detail`: what differs, or was said;
    `alert`: the id of its alert, as long as there is one."""

    id: str
    at: int
    actor: str
    what: str
    subject: str
    detail: str
    alert: str | None


def note(
    connection: Connection,
    project_id: int,
    now: int,
    actor: str,
    what: What,
    subject: str,
    detail: str = "",
    alert: str | None = None,
) -> None:
    """Write a deed in the caller's transaction; `now` is the wall clock."""
    connection.execute(
        sa.insert(t.deed).values(
            id=new_ids(1)[0],
            project_id=project_id,
            at=now,
            actor=actor,
            what=what,
            subject=subject,
            detail=detail,
            alert_id=alert,
        )
    )


def deeds(
    connection: Connection, project_id: int, limit: int, after: tuple[int, str] | None = None
) -> tuple[list[Deed], tuple[int, str] | None]:
    """At most `limit` deeds, the newest first, those behind the place `after`; and the place of the next page.

    A place is (at, id) of the last deed of a page.
    """
    deed = t.deed.c
    query = (
        sa.select(deed.id, deed.at, deed.actor, deed.what, deed.subject, deed.detail, t.alert.c.id.label("alert"))
        .join_from(t.deed, t.alert, t.alert.c.id == deed.alert_id, isouter=True)
        .where(deed.project_id == project_id)
    )
    if after is not None:
        query = query.where(sa.tuple_(deed.at, deed.id) < sa.tuple_(*after))
    rows = connection.execute(query.order_by(deed.at.desc(), deed.id.desc()).limit(limit + 1))
    found = [Deed(*row) for row in rows]
    last = found[limit - 1] if len(found) > limit else None
    return found[:limit], None if last is None else (last.at, last.id)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The fields that changed: `window: "1h" → "2h"`; one with a long value (a schema) by its name alone."""
    parts = []
    for name, value in after.items():
        if before.get(name) == value:
            continue
        values = [json.dumps(one, ensure_ascii=False, default=str) for one in (before.get(name), value)]
        short = max(map(len, values)) <= LONGEST_VALUE
        parts.append(f"{name}: {values[0]} → {values[1]}" if short else name)
    return "; ".join(parts)
