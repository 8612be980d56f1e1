"""Where alerts are sent, and whether they arrived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy.engine import Connection

from dashboards import theme
from dashboards.theme import State
from monitor.alerts.senders import place_of
from monitor.store import overview
from monitor.store.channels import MAX_CHANNELS, list_channels
from monitor.store.channels import Channel as Stored
from monitor.store.overview import LastAttempt

RECENT = 30


@dataclass(frozen=True)
class Channel:
    """A destination. Its URL may hold a secret, so only what `place_of` gives is shown.

    `reason` says why nothing is sent, or how the last attempt failed, at `failed_at`; `next_attempt_at` when a delivery
    waits for one.
    """

    name: str
    kind: str
    host: str
    state: State
    reason: str
    failed_at: int | None
    next_attempt_at: int | None
    delivered: int
    pending: int
    dead: int


@dataclass(frozen=True)
class Delivery:
    channel: str
    type: str
    state: State
    attempts: int
    created_at: int
    delivered_at: int | None
    alert_id: str | None


@dataclass(frozen=True)
class ChannelsPage:
    channels: Sequence[Channel]
    deliveries: Sequence[Delivery]


def load(connection: Connection, project_id: int, key: SecretStr | None) -> ChannelsPage:
    """The project's channels with how their deliveries stand, and the last thirty deliveries."""
    found, _ = list_channels(connection, project_id, key, limit=MAX_CHANNELS)
    counts = overview.delivery_counts(connection, project_id)
    attempts = overview.last_attempts(connection, project_id)
    names = {channel.id: channel.name for channel in found}
    return ChannelsPage(
        channels=[_channel(channel, attempts.get(channel.id), counts) for channel in found],
        deliveries=[
            Delivery(
                channel=names.get(one.channel_id, "a deleted channel"),
                type=one.type,
                state=theme.DELIVERY.get(one.state, theme.UNKNOWN),
                attempts=one.attempts,
                created_at=one.created_at,
                delivered_at=one.delivered_at,
                alert_id=one.alert_id,
            )
            for one in overview.recent_deliveries(connection, project_id, RECENT)
        ],
    )


def _channel(stored: Stored, last: LastAttempt | None, counts: Mapping[tuple[str, str], int]) -> Channel:
    disabled = _disabled(stored)
    failing = not disabled and last is not None and last.error is not None
    return Channel(
        name=stored.name,
        kind=stored.kind,
        host=place_of(stored),
        state=theme.CHANNEL["off" if disabled else "failing" if failing else "on"],
        reason=disabled or (last.error or "" if last is not None else ""),
        failed_at=last.at if failing and last is not None else None,
        next_attempt_at=last.next_attempt_at if failing and last is not None else None,
        delivered=counts.get((stored.id, "delivered"), 0),
        pending=counts.get((stored.id, "pending"), 0),
        dead=counts.get((stored.id, "dead"), 0),
    )


def _disabled(channel: Stored) -> str:
    """Why nothing is sent to it; empty when it is on."""
    if channel.disabled_at is not None:
        return channel.disabled_reason or "switched off"
    return channel.unreadable or ""
