"""Sending once more what was given up, or did not do what it should."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.errors import Conflict
from monitor.store import audit
from monitor.store import tables as t
from monitor.store.channels import Channel
from monitor.store.outbox import UNORDERED, Delivery, unclaimed

_d = t.delivery.c


def replay(connection: Connection, channel: Channel, delivery: Delivery, now: int, actor: str) -> None:
    """Set a delivery pending again, due now, under the same id and with the whole schedule before it.

    One that is being sent at this moment stays as it is.

    Raises:
        Conflict: the receiver knows something later of its alert (see `_fresh`).
    """
    if not connection.scalar(sa.select(sa.exists().where(_d.id == delivery.id, _fresh(channel)))):
        raise Conflict("the receiver knows something later of this alert: sent now, this would open it again there")
    again = connection.execute(
        sa.update(t.delivery)
        .where(_d.id == delivery.id, unclaimed(now))
        .values(state="pending", attempts=0, next_attempt_at=now, delivered_at=None, lease_owner=None, lease_until=None)
    )
    if again.rowcount:
        told, alert = delivery.type, delivery.alert_id
        audit.note(connection, channel.project_id, now, actor, "deliveries.replayed", channel.name, told, alert)


def replay_dead(connection: Connection, channel: Channel, now: int, actor: str) -> int:
    """Replay what a channel has given up, but for what its receiver knows something later of; returns how many
    deliveries that are."""
    count = connection.execute(
        sa.update(t.delivery)
        .where(_d.channel_id == channel.id, _d.state == "dead", unclaimed(now), _fresh(channel))
        .values(state="pending", attempts=0, next_attempt_at=now, lease_owner=None, lease_until=None)
    ).rowcount
    if count:
        told = f"{count:,} that {'was' if count == 1 else 'were'} given up"
        audit.note(connection, channel.project_id, now, actor, "deliveries.replayed", channel.name, told)
    return count


def _fresh(channel: Channel) -> sa.ColumnElement[bool]:
    """That the receiver of a delivery knows nothing later of its alert: a "firing" after "resolved" would open an
    incident that nobody closes. Receivers of webhooks see by the timestamps what is old."""
    if channel.kind == UNORDERED:
        return sa.true()
    later = t.delivery.alias("later").c
    known = sa.exists().where(
        later.channel_id == _d.channel_id,
        later.alert_id == _d.alert_id,
        later.state == "delivered",
        later.created_at > _d.created_at,
    )
    return sa.or_(_d.alert_id.is_(None), sa.not_(known))
