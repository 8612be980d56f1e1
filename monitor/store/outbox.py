"""The outbox: deliveries are written in the transaction of their event and sent afterwards, at least once.

A delivery is claimed with a lease by a conditional update; whoever loses that race goes on. A lease that ran out (its
sender died) may be claimed again, under the same id. Only attempts whose end was recorded count.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.engine import Connection

from monitor.errors import NotFound
from monitor.store import channels
from monitor.store import tables as t
from monitor.store.channels import Channel

STATES = ("pending", "delivered", "dead")
FIRST_PLACES = 4
UNORDERED = "webhook"  # its receivers put messages in order by their timestamps

_d = t.delivery.c


@dataclass(frozen=True)
class Delivery:
    """One message for one channel; `id` is the webhook-id on every attempt, `body` was frozen when it was made.

    `attempts` counts those of the present run through the schedule: a replay starts again at 0.
    """

    id: str
    project_id: int
    channel_id: str
    alert_id: str | None
    type: str
    body: str = field(repr=False)
    created_at: int
    state: str  # one of STATES
    attempts: int
    next_attempt_at: int
    lease_owner: str | None
    lease_until: int | None
    delivered_at: int | None


@dataclass(frozen=True)
class Attempt:
    """How one try ended; `error` is None when it was a success, `response` is the start of the answer."""

    at: int
    status_code: int | None
    error: str | None
    response: str | None
    milliseconds: int


def add(connection: Connection, channel: Channel, type_: str, alert_id: str | None, body: str, now: int) -> str:
    """Write a delivery that is due now; returns its id."""
    delivery_id = f"msg_{uuid4().hex}"
    created_at = now
    if alert_id is not None:  # their order holds also where clocks differ or step back; the alert is locked by now
        before = sa.select(sa.func.max(_d.created_at)).where(_d.channel_id == channel.id, _d.alert_id == alert_id)
        created_at = max(now, (connection.scalar(before) or 0) + 1)
    connection.execute(
        sa.insert(t.delivery).values(
            id=delivery_id,
            project_id=channel.project_id,
            channel_id=channel.id,
            alert_id=alert_id,
            type=type_,
            body=body,
            created_at=created_at,
            state="pending",
            attempts=0,
            next_attempt_at=now,
        )
    )
    return delivery_id


def any_due(connection: Connection, now: int) -> bool:
    """Whether a claim could find something: asked first, so that an idle tick takes no write lock."""
    return connection.execute(_due(now).with_only_columns(_d.id).limit(1)).first() is not None


def claim(
    connection: Connection, now: int, lease: int, key: SecretStr | None, *, per_channel: int, in_all: int
) -> list[tuple[Channel, Delivery]]:
    """Take due deliveries, the longest due first, for `lease` microseconds; `key` unseals their channels.

    At most `per_channel` of a channel are under way at a time, counting every process; `in_all` bounds all but the
    first of each channel, and four times that the first ones too: so receivers that are slow, however many, cannot take
    the places of the others. (Two claims at the same instant may pass these by a few.)
    """
    busy = _under_way(connection, now)
    total = sum(busy.values())
    rank = sa.func.row_number().over(partition_by=_d.channel_id, order_by=(_d.next_attempt_at, _d.id))
    due = _due(now).with_only_columns(_d.id, _d.channel_id, _d.next_attempt_at, rank.label("rank")).subquery()
    query = sa.select(due.c.id, due.c.channel_id, due.c.rank).where(due.c.rank <= per_channel)
    chosen = []
    for row in connection.execute(query.order_by(due.c.rank, due.c.next_attempt_at, due.c.id)):
        place = busy.get(row.channel_id, 0) + 1
        if place > per_channel or total >= (in_all if place > 1 else FIRST_PLACES * in_all):
            continue
        busy[row.channel_id] = place
        total += 1
        chosen.append(row.id)
    token = uuid4().hex
    for delivery_id in chosen:
        connection.execute(
            sa.update(t.delivery)
            .where(_d.id == delivery_id, _d.state == "pending", _d.next_attempt_at <= now, unclaimed(now))
            .values(lease_owner=token, lease_until=now + lease)
        )
    return _with_channels(connection, _d.lease_owner == token, key) if chosen else []


def finish(connection: Connection, claimed: Delivery, attempt: Attempt, *, next_attempt_at: int | None) -> bool:
    """Record how an attempt ended: delivered, or due again at `next_attempt_at`, or (None) dead.

    A failure counts only while the lease is ours; a success counts always, since the receiver has it. What was given up
    while this attempt was under way (its channel was switched off) stays so, unless it was the success. Returns False
    when the record came too late or the delivery is gone.
    """
    done = attempt.error is None
    ours = _d.state != "delivered"
    state: Any = "delivered"
    if not done:
        ours = sa.and_(ours, _d.lease_owner == claimed.lease_owner)
        state = "dead" if next_attempt_at is None else _d.state  # pending still, or dead by now
    changed = connection.execute(
        sa.update(t.delivery)
        .where(_d.id == claimed.id, ours)
        .values(
            state=state,
            attempts=_d.attempts + 1,
            next_attempt_at=_d.next_attempt_at if next_attempt_at is None else next_attempt_at,
            delivered_at=attempt.at if done else None,
            lease_owner=None,
            lease_until=None,
        )
    )
    if changed.rowcount != 1:
        return False
    log = t.delivery_attempt.c
    number = sa.select(sa.func.coalesce(sa.func.max(log.attempt), 0) + 1).where(log.delivery_id == claimed.id)
    connection.execute(
        sa.insert(t.delivery_attempt).values(
            delivery_id=claimed.id,
            attempt=number.scalar_subquery(),
            project_id=claimed.project_id,
            at=attempt.at,
            status_code=attempt.status_code,
            error=attempt.error,
            response=attempt.response,
            milliseconds=attempt.milliseconds,
        )
    )
    return True


def last_of_open_alerts(connection: Connection, channel: Channel) -> list[Delivery]:
    """The newest message about each alert that is not resolved, where the channel took it; of one alert at most one."""
    newest = sa.func.row_number().over(partition_by=_d.alert_id, order_by=(_d.created_at.desc(), _d.id.desc()))
    ranked = (
        sa.select(t.delivery, newest.label("place"))
        .join(t.alert, t.alert.c.id == _d.alert_id)
        .where(_d.channel_id == channel.id, t.alert.c.state != "resolved")
        .subquery()
    )
    columns = [ranked.c[column.name] for column in t.delivery.columns]
    query = sa.select(*columns).where(ranked.c.place == 1, ranked.c.state == "delivered")
    return [_delivery(row) for row in connection.execute(query.order_by(ranked.c.created_at))]


def digests_of(connection: Connection, channel: Channel, alert_id: str) -> list[Delivery]:
    """The digests in which a channel was told of an alert, oldest first."""
    told = sa.select(t.notification.c.delivery_id).where(
        t.notification.c.alert_id == alert_id, t.notification.c.channel_id == channel.id
    )
    query = sa.select(t.delivery).where(_d.id.in_(told), _d.type == "alert.digest").order_by(_d.created_at)
    return [_delivery(row) for row in connection.execute(query)]


def of_resolved_alerts(
    connection: Connection, ids: Collection[str], key: SecretStr | None
) -> list[tuple[Channel, Delivery]]:
    """Those of these deliveries whose alert is resolved by now, each with its channel."""
    resolved = sa.select(t.alert.c.id).where(t.alert.c.state == "resolved")
    return _with_channels(connection, sa.and_(_d.id.in_(ids), _d.alert_id.in_(resolved)), key)


def get_delivery(connection: Connection, channel: Channel, delivery_id: str) -> Delivery:
    """The delivery with that id of that channel.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(
        sa.select(t.delivery).where(_d.channel_id == channel.id, _d.id == delivery_id)
    ).one_or_none()
    if row is None:
        raise NotFound("this channel has no delivery with that id")
    return _delivery(row)


def last_taken(connection: Connection, project_id: int) -> dict[str, int]:
    """When each channel of a project took its last message, of those that ever took one."""
    query = sa.select(_d.channel_id, sa.func.max(_d.delivered_at)).where(_d.project_id == project_id)
    return {row[0]: row[1] for row in connection.execute(query.where(_d.state == "delivered").group_by(_d.channel_id))}


def told_nobody(connection: Connection, channel: Channel, type_: str) -> list[str]:
    """The bodies of that type that were given up at a channel and that no other channel took or is going to get."""
    mine = sa.select(_d.body).where(_d.channel_id == channel.id, _d.type == type_, _d.state == "dead")
    other = t.delivery.alias("other").c
    told = sa.exists().where(
        other.project_id == channel.project_id,
        other.type == type_,
        other.channel_id != channel.id,
        other.body == _d.body,
        other.state != "dead",
    )
    return list(dict.fromkeys(connection.scalars(mine.where(sa.not_(told)).order_by(_d.created_at, _d.id))))


def list_deliveries(
    connection: Connection,
    channel: Channel,
    *,
    limit: int,
    state: str | None = None,
    after: tuple[int, str] | None = None,
) -> tuple[list[Delivery], tuple[int, str] | None]:
    """At most `limit` deliveries of a channel, the newest first, those behind the place `after`; and the next place.

    A place is (created_at, id) of the last delivery of a page. `state` keeps those in that state.
    """
    query = sa.select(t.delivery).where(_d.channel_id == channel.id)
    if state is not None:
        query = query.where(_d.state == state)
    if after is not None:
        query = query.where(sa.tuple_(_d.created_at, _d.id) < sa.tuple_(*after))
    rows = connection.execute(query.order_by(_d.created_at.desc(), _d.id.desc()).limit(limit + 1))
    deliveries = [_delivery(row) for row in rows]
    last = deliveries[limit - 1] if len(deliveries) > limit else None
    return deliveries[:limit], None if last is None else (last.created_at, last.id)


def attempts_of(connection: Connection, delivery_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """The recorded attempts of these deliveries, oldest first; every id has an entry."""
    found: dict[str, list[Attempt]] = {delivery_id: [] for delivery_id in delivery_ids}
    log = t.delivery_attempt.c
    query = sa.select(log.delivery_id, log.at, log.status_code, log.error, log.response, log.milliseconds)
    for delivery_id, *values in connection.execute(
        query.where(log.delivery_id.in_(delivery_ids)).order_by(log.delivery_id, log.attempt)
    ):
        found[delivery_id].append(Attempt(*values))
    return found


def unclaimed(now: int) -> sa.ColumnElement[bool]:
    return sa.or_(_d.lease_until.is_(None), _d.lease_until <= now)


def _due(now: int) -> sa.Select[Any]:
    """What may be sent now, of channels that are on and want no pause. Uses the partial index on next_attempt_at.

    To all kinds but webhooks the messages about one alert go in their order: a late "firing" after "resolved" would
    open an incident that nobody closes.
    """
    channel = t.channel.c
    return (
        sa.select(t.delivery)
        .join(t.channel, channel.id == _d.channel_id)
        .where(
            _d.state == "pending",
            _d.next_attempt_at <= now,
            unclaimed(now),
            channel.disabled_at.is_(None),
            sa.or_(channel.paused_until.is_(None), channel.paused_until <= now),
            in_turn(),
        )
    )


def in_turn() -> sa.ColumnElement[bool]:
    """No earlier message about the same alert waits before a delivery; its channel is joined."""
    earlier = t.delivery.alias("earlier").c
    waits = sa.exists().where(
        earlier.channel_id == _d.channel_id,
        earlier.alert_id == _d.alert_id,
        earlier.state == "pending",
        earlier.created_at < _d.created_at,
    )
    return sa.or_(t.channel.c.kind == UNORDERED, _d.alert_id.is_(None), sa.not_(waits))


def _under_way(connection: Connection, now: int) -> dict[str, int]:
    query = sa.select(_d.channel_id, sa.func.count()).where(_d.state == "pending", _d.lease_until > now)
    return {row[0]: row[1] for row in connection.execute(query.group_by(_d.channel_id))}


def _with_channels(
    connection: Connection, which: sa.ColumnElement[bool], key: SecretStr | None
) -> list[tuple[Channel, Delivery]]:
    deliveries = [_delivery(row) for row in connection.execute(sa.select(t.delivery).where(which))]
    ids = {delivery.channel_id for delivery in deliveries}
    rows = connection.execute(sa.select(t.channel).where(t.channel.c.id.in_(ids)))
    by_id = {row.id: channels.from_row(row, key) for row in rows}
    return [(by_id[delivery.channel_id], delivery) for delivery in deliveries if delivery.channel_id in by_id]


def _delivery(row: sa.Row[Any]) -> Delivery:
    return Delivery(**row._mapping)
