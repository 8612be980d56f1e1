"""Where alerts are sent, and whether they arrived."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import Connection

from dashboards import theme, words
from dashboards.theme import State
from monitor.alerts.notify import switch_on as switch_on_again
from monitor.alerts.payload import sample_body
from monitor.alerts.senders import place_of
from monitor.api.deps import Context
from monitor.errors import Conflict
from monitor.store import outbox, overview, replays
from monitor.store.channels import MAX_CHANNELS, get_channel, list_channels
from monitor.store.channels import Channel as Stored
from monitor.store.overview import LastAttempt, RecentDelivery

RECENT = 30


@dataclass(frozen=True)
class Channel:
    """A destination; `off`: it was switched off, `usable`: something can be sent to it.

    Its URL may hold a secret, so only what `place_of` gives is shown.

    `reason` says why nothing is sent, or how the last attempt failed, at `failed_at`; `next_attempt_at` when a delivery
    waits for one.
    """

    id: str
    name: str
    kind: str
    host: str
    match: str
    off: bool
    usable: bool
    state: State
    reason: str
    failed_at: int | None
    next_attempt_at: int | None
    delivered: int
    pending: int
    dead: int


@dataclass(frozen=True)
class Delivery:
    """A delivery of the list; `replayable` when it was given up and its channel can be sent to; `error`: how its newest
    attempt failed, "" where it did not; `model`, `about`: whose alert it tells of and its title, None without one."""

    id: str
    channel_id: str
    channel: str
    replayable: bool
    type: str
    state: State
    attempts: int
    created_at: int
    delivered_at: int | None
    alert_id: str | None
    model: str | None
    about: str | None
    error: str


@dataclass(frozen=True)
class ChannelsPage:
    channels: Sequence[Channel]
    deliveries: Sequence[Delivery]
    dead: Sequence[Delivery]


def load(connection: Connection, project_id: int, key: SecretStr | None) -> ChannelsPage:
    """The project's channels with how their deliveries stand, and the last deliveries, of all and of those given up."""
    found, _ = list_channels(connection, project_id, key, limit=MAX_CHANNELS)
    counts = overview.delivery_counts(connection, project_id)
    attempts = overview.last_attempts(connection, project_id)
    names = {channel.id: channel.name for channel in found}
    usable = {channel.id for channel in found if not _disabled(channel)}
    dead = overview.recent_deliveries(connection, project_id, RECENT, "dead")
    latest = overview.recent_deliveries(connection, project_id, RECENT)
    return ChannelsPage(
        channels=[_channel(channel, attempts.get(channel.id), counts) for channel in found],
        deliveries=[_delivery(one, names, usable) for one in latest],
        dead=[_delivery(one, names, usable) for one in dead],
    )


def send_test(connection: Connection, ctx: Context, channel_id: str, now: int) -> None:
    """Send a test on the way that alerts take.

    Raises:
        NotFound: there is no such channel in the project.
        Conflict: it is switched off, or cannot be read.
    """
    channel = _usable(connection, ctx, channel_id)
    outbox.add(connection, channel, "channel.test", None, sample_body(channel, now, ctx.settings.public_url), now)


def switch_on(connection: Connection, ctx: Context, channel_id: str, now: int) -> None:
    """Switch a channel on again. Raises NotFound."""
    switch_on_again(connection, _channel_of(connection, ctx, channel_id), now, ctx.principal.name)


def replay(connection: Connection, ctx: Context, channel_id: str, delivery_id: str | None, now: int) -> None:
    """Send a delivery once more under its id; without one, every delivery of the channel that was given up.

    Raises:
        NotFound: there is no such channel, or delivery, in the project.
        Conflict: the channel is switched off, or cannot be read.
    """
    channel, who = _usable(connection, ctx, channel_id), ctx.principal.name
    if delivery_id is None:
        replays.replay_dead(connection, channel, now, who)
    else:
        replays.replay(connection, channel, outbox.get_delivery(connection, channel, delivery_id), now, who)


def _channel_of(connection: Connection, ctx: Context, channel_id: str) -> Stored:
    return get_channel(connection, ctx.principal.project_id, channel_id, ctx.settings.secret_key)


def _usable(connection: Connection, ctx: Context, channel_id: str) -> Stored:
    channel = _channel_of(connection, ctx, channel_id)
    if reason := _disabled(channel):
        raise Conflict(f"nothing can be sent to this channel: {reason}")
    return channel


def _delivery(one: RecentDelivery, names: Mapping[str, str], usable: Collection[str]) -> Delivery:
    return Delivery(
        id=one.id,
        channel_id=one.channel_id,
        channel=names.get(one.channel_id, "a deleted channel"),
        replayable=one.state == "dead" and one.channel_id in usable,
        type=one.type,
        state=theme.DELIVERY.get(one.state, theme.UNKNOWN),
        attempts=one.attempts,
        created_at=one.created_at,
        delivered_at=one.delivered_at,
        alert_id=one.alert_id,
        model=one.model,
        about=None if one.family is None else words.family(one.family),
        error=one.error or "",
    )


def _matchers(match: Sequence[Mapping[str, Any]]) -> str:
    """Matchers as Alertmanager writes them: `model=~"a|b", severity!="warning"`."""
    signs = {(False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~"}
    return ", ".join(f"{one['name']}{signs[one['isRegex'], one['isEqual']]}{json.dumps(one['value'])}" for one in match)


def _channel(stored: Stored, last: LastAttempt | None, counts: Mapping[tuple[str, str], int]) -> Channel:
    disabled = _disabled(stored)
    failing = not disabled and last is not None and last.error is not None
    return Channel(
        id=stored.id,
        name=stored.name,
        kind=stored.kind,
        host=place_of(stored),
        match=_matchers(stored.match),
        off=stored.disabled_at is not None,
        usable=not disabled,
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
