"""What became of each event of an alert for each channel: sent, held back, or dropped, and why.

A row is written with its event. What is held carries the time at which to look at it again (`due_at`); what was sent
carries there the time of its reminder, if there is to be one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store import tables as t

HELD, SENT, DROPPED = "held", "sent", "dropped"
MOST_DUE = 2000  # rows that one turn looks at

_n = t.notification.c


@dataclass(frozen=True)
class Notification:
    """One row; `round` counts the reminders of an event, `reason` and `detail` say why it is or was not sent."""

    id: int
    project_id: int
    model_id: int
    alert_id: str
    event_id: int
    channel_id: str
    round: int
    type: str
    state: str
    reason: str
    detail: str
    created_at: int
    changed_at: int
    due_at: int | None
    delivery_id: str | None


def add(connection: Connection, **values: Any) -> None:
    """Write a row; an event that a channel was told of already is refused by the database."""
    connection.execute(sa.insert(t.notification).values(**values))


def change(connection: Connection, ids: Iterable[int], now: int, **values: Any) -> None:
    """Change these rows; `now` becomes their `changed_at`."""
    wanted = list(ids)
    if wanted:
        connection.execute(sa.update(t.notification).where(_n.id.in_(wanted)).values(changed_at=now, **values))


def postpone(connection: Connection, ids: Iterable[int], due_at: int | None) -> None:
    """Look at these rows again at another time (None: never); nothing else about them changes."""
    wanted = list(ids)
    if wanted:
        connection.execute(sa.update(t.notification).where(_n.id.in_(wanted)).values(due_at=due_at))


def held(connection: Connection, alert_id: str, channel_id: str | None = None) -> list[Notification]:
    """What is held back of an alert (for a channel), oldest first, locked until the transaction ends."""
    query = sa.select(t.notification).where(_n.alert_id == alert_id, _n.state == HELD)
    if channel_id is not None:
        query = query.where(_n.channel_id == channel_id)
    return [_read(row) for row in connection.execute(query.order_by(_n.id).with_for_update())]


def told_channels(connection: Connection, alert_id: str) -> set[str]:
    """The channels that know of the alert: what they were sent last was not its end."""
    query = sa.select(_n.channel_id, _n.type).where(_n.alert_id == alert_id, _n.state == SENT).order_by(_n.id)
    last = {row.channel_id: row.type for row in connection.execute(query)}
    return {channel for channel, type_ in last.items() if type_ != "alert.resolved"}


def reminders(connection: Connection, alert_id: str, channel_id: str, now: int) -> list[Notification]:
    """What was sent of an alert to a channel and whose reminder is due, oldest first, locked."""
    query = sa.select(t.notification).where(
        _n.alert_id == alert_id, _n.channel_id == channel_id, _n.state == SENT, _n.due_at <= now
    )
    return [_read(row) for row in connection.execute(query.order_by(_n.id).with_for_update())]


def last_told(connection: Connection, project_id: int) -> list[Notification]:
    """What each channel was told last of each alert that fires."""
    newest = (
        sa.select(sa.func.max(_n.id))
        .join(t.alert, t.alert.c.id == _n.alert_id)
        .where(_n.project_id == project_id, _n.state == SENT, t.alert.c.state == "firing")
        .group_by(_n.alert_id, _n.channel_id)
    )
    return [_read(row) for row in connection.execute(sa.select(t.notification).where(_n.id.in_(newest)))]


def due(connection: Connection, now: int) -> list[Notification]:
    """What is to be looked at again, the longest due first."""
    query = sa.select(t.notification).where(_n.due_at.is_not(None), _n.due_at <= now)
    return [_read(row) for row in connection.execute(query.order_by(_n.due_at, _n.id).limit(MOST_DUE))]


def next_digest(connection: Connection, channel_id: str, reason: str) -> int | None:
    """When the digest that is being gathered for a channel will be sent; None: nothing is gathered."""
    query = sa.select(sa.func.min(_n.due_at)).where(
        _n.channel_id == channel_id, _n.state == HELD, _n.reason == reason, _n.due_at.is_not(None)
    )
    found = connection.scalar(query)
    return None if found is None else int(found)


def forget_reminders(connection: Connection, alert_id: str, channel_id: str) -> None:
    """No reminder of what was sent before: something newer was."""
    connection.execute(
        sa.update(t.notification)
        .where(_n.alert_id == alert_id, _n.channel_id == channel_id, _n.state == SENT, _n.due_at.is_not(None))
        .values(due_at=None)
    )


def wake(connection: Connection, now: int, reasons: Sequence[str], **where: Any) -> None:
    """Look at what is held for these reasons at the next turn, because the reason may be over.

    Rows that another transaction holds are left out (they are looked at again within a minute), so that this waits for
    nobody and nobody for it.
    """
    query = sa.select(_n.id).where(_n.state == HELD, _n.reason.in_(reasons), _n.due_at > now)
    query = query.where(*(_n[name] == value for name, value in where.items()))
    ids = list(connection.scalars(query.order_by(_n.id).with_for_update(skip_locked=True)))
    for start in range(0, len(ids), 500):
        postpone(connection, ids[start : start + 500], now)


def revive(connection: Connection, channel_id: str, reason: str, now: int) -> None:
    """What a channel was not told for this reason is held again, and looked at in the next turn."""
    query = sa.update(t.notification).where(_n.channel_id == channel_id, _n.state == DROPPED, _n.reason == reason)
    connection.execute(query.values(state=HELD, due_at=now, changed_at=now))


def pages(connection: Connection, project_id: int, since: int, apart: Sequence[str]) -> dict[int, int]:
    """How many alerts of each model were told one by one since then (those told for the reasons `apart` left out)."""
    query = (
        sa.select(_n.model_id, sa.func.count(_n.alert_id.distinct()))
        .where(_n.project_id == project_id, _n.changed_at > since, _n.state == SENT, _n.round == 0)
        .where(_n.type == "alert.firing", _n.reason.not_in(apart))
        .group_by(_n.model_id)
    )
    return {int(model): int(number) for model, number in connection.execute(query)}


def of_alert(connection: Connection, project_id: int, alert_id: str) -> list[tuple[Notification, str | None]]:
    """Everything that became of an alert's events, oldest first, and how far its delivery is: pending, delivered, dead;
    None where nothing was sent, or so long ago that the delivery is gone."""
    query = (
        sa.select(t.notification, t.delivery.c.state.label("delivery_state"))
        .outerjoin(t.delivery, t.delivery.c.id == _n.delivery_id)
        .where(_n.project_id == project_id, _n.alert_id == alert_id)
    )
    return [(_read(row), row.delivery_state) for row in connection.execute(query.order_by(_n.id))]


def alerts_told_by(connection: Connection, delivery_id: str) -> list[str]:
    """The ids of the alerts that a delivery tells of."""
    query = sa.select(_n.alert_id).where(_n.delivery_id == delivery_id).order_by(_n.id)
    return list(dict.fromkeys(connection.scalars(query)))


def held_counts(connection: Connection, project_id: int) -> list[tuple[str, str, int]]:
    """(reason, detail, how many alerts) of what is held back in a project, the most first."""
    number = sa.func.count(_n.alert_id.distinct())
    query = (
        sa.select(_n.reason, _n.detail, number)
        .where(_n.project_id == project_id, _n.state == HELD)
        .group_by(_n.reason, _n.detail)
        .order_by(number.desc(), _n.reason, _n.detail)
    )
    return [(row[0], row[1], int(row[2])) for row in connection.execute(query.limit(100))]


def _read(row: sa.Row[Any]) -> Notification:
    return Notification(**{name: row._mapping[name] for name in Notification.__dataclass_fields__})
