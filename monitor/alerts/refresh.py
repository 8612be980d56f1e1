"""Telling Alertmanager again what is still open: it keeps alerts in memory and ends each one that nobody repeats.

What is told again are the messages that it took, so an alert that was silenced or held back stays so. A refresh is no
delivery: it changes nothing, is not logged as an attempt, and one that fails is made up for by the next.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.engine import Connection, Engine

from monitor import log
from monitor.alerts.kinds.alertmanager import REFRESH, alert_of, post_alerts
from monitor.alerts.sending import Means, SendError
from monitor.settings import Settings
from monitor.store import channels, outbox
from monitor.store import tables as t
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery
from monitor.store.session import reading

KIND = "alertmanager"
CHANNELS_AT_ONCE = 8
AT_ONCE = 500  # alerts in one POST

_OPEN = re.compile('"state":"(firing|acknowledged)"')  # in a text of JSON the quotes would be escaped

_log = log.get(__name__)


def refresh(engine: Engine, settings: Settings, now: int) -> int:
    """Repeat the open alerts of every Alertmanager; returns how many alerts were told again.

    An alert that was resolved between the look and the POST is told as resolved once more, so that it does not stay.
    """
    means = Means(settings.allow_networks, settings.smtp_url)
    with reading(engine) as connection:
        waiting = _standing(connection, settings.secret_key)

    def repeat(standing: tuple[Channel, list[Delivery]]) -> int:
        channel, deliveries = standing
        parts = (deliveries[start : start + AT_ONCE] for start in range(0, len(deliveries), AT_ONCE))
        return sum(_post(channel, part, now, means) for part in parts)

    with ThreadPoolExecutor(CHANNELS_AT_ONCE, thread_name_prefix="refresh") as pool:
        told = sum(pool.map(repeat, waiting))  # one that hangs may not keep another from hearing in time
    _end(engine, settings, {one.id for _, deliveries in waiting for one in deliveries}, now, means)
    return told


def _standing(connection: Connection, key: SecretStr | None) -> list[tuple[Channel, list[Delivery]]]:
    """By channel the last message that it took about each alert that is open still."""
    rows = connection.execute(sa.select(t.channel).where(t.channel.c.kind == KIND, t.channel.c.disabled_at.is_(None)))
    every = [channels.from_row(row, key) for row in rows]
    found = [(channel, outbox.last_of_open_alerts(connection, channel)) for channel in every if not channel.unreadable]
    return [(channel, deliveries) for channel, deliveries in found if deliveries]


def _post(channel: Channel, deliveries: list[Delivery], now: int, means: Means) -> int:
    alerts: list[dict[str, Any]] = [alert_of(delivery, now) for delivery in deliveries]
    try:
        post_alerts(channel, alerts, now, means)
    except SendError as error:
        _log.warning("alertmanager_not_refreshed", channel=channel.id, reason=str(error))
        return 0
    return len(alerts)


def _end(engine: Engine, settings: Settings, told: set[str], now: int, means: Means) -> None:
    """End at Alertmanager what was told again although it had just been resolved."""
    if not told:
        return
    with reading(engine) as connection:
        late = outbox.of_resolved_alerts(connection, told, settings.secret_key)
    for channel, delivery in late:
        _post(channel, [replace(delivery, body=_OPEN.sub('"state":"resolved"', delivery.body))], now, means)


__all__ = ["REFRESH", "refresh"]
