"""Where alerts are sent, and whether they arrived."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards import theme
from dashboards.theme import State
from monitor.store import overview
from monitor.store.channels import MAX_CHANNELS, list_channels

RECENT = 30


@dataclass(frozen=True)
class Channel:
    """A destination. Its URL may hold a secret, so only its host is shown."""

    name: str
    kind: str
    host: str
    disabled: str
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


def load(connection: Connection, project_id: int) -> ChannelsPage:
    """The project's channels with how their deliveries stand, and the last thirty deliveries."""
    found, _ = list_channels(connection, project_id, limit=MAX_CHANNELS)
    counts = overview.delivery_counts(connection, project_id)
    names = {channel.id: channel.name for channel in found}
    return ChannelsPage(
        channels=[
            Channel(
                name=channel.name,
                kind=channel.kind,
                host=host(channel.url),
                disabled="" if channel.disabled_at is None else channel.disabled_reason or "switched off",
                delivered=counts.get((channel.id, "delivered"), 0),
                pending=counts.get((channel.id, "pending"), 0),
                dead=counts.get((channel.id, "dead"), 0),
            )
            for channel in found
        ],
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


def host(url: str) -> str:
    """The host of a URL without user, path or query, where secrets stand; empty when there is none to show."""
    rest = url.partition("://")[2]
    return rest.split("/", 1)[0].split("?", 1)[0].rpartition("@")[2]
