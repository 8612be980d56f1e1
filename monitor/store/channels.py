"""Channels: the destinations of alerts. A channel's URL and secret are credentials; neither shows in its repr.

In the database both are sealed. Here alone they are sealed, when a channel is added, and unsealed, when it is loaded.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.engine import Connection

from monitor.errors import Conflict, NotFound, SetupError
from monitor.store import audit
from monitor.store import tables as t
from monitor.store.seal import seal, unseal

MAX_CHANNELS = 100  # of one project


@dataclass(frozen=True)
class Channel:
    """A destination. `match` holds Alertmanager's matchers as JSON objects; `disabled_at` is set once it is off.

    `previous_secret` signs beside `secret` until `previous_until`. `failing_since` is the first failure after the last
    success, `paused_until` the end of a pause that the receiver asked for. `unreadable` says why `url` and the secrets
    are empty: the key at hand is not the one that sealed them.
    """

    id: str
    project_id: int
    kind: str
    name: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    match: tuple[dict[str, Any], ...]
    created_at: int
    disabled_at: int | None = None
    disabled_reason: str | None = None
    previous_secret: str = field(default="", repr=False)
    previous_until: int | None = None
    failing_since: int | None = None
    paused_until: int | None = None
    unreadable: str | None = None

    def secrets_at(self, now: int) -> tuple[str, ...]:
        """The secrets that a receiver may know at that time, the newest first."""
        both = self.previous_secret and self.previous_until is not None and now < self.previous_until
        return (self.secret, self.previous_secret) if both else (self.secret,)


def new_id() -> str:
    return f"channel_{uuid4().hex}"


def add_channel(connection: Connection, channel: Channel, key: SecretStr | None, actor: str) -> None:
    """Store a new channel, its URL and secret sealed with the installation's secret key.

    Raises:
        Conflict: the project has a channel of that name, or as many channels as it may have.
        SetupError: there is no secret key.
    """
    names = set(connection.scalars(sa.select(t.channel.c.name).where(t.channel.c.project_id == channel.project_id)))
    if channel.name in names:
        raise Conflict("there is a channel of that name: delete it first, or choose another name")
    if len(names) >= MAX_CHANNELS:
        raise Conflict(f"a project has at most {MAX_CHANNELS} channels: delete one first")
    values = {column.name: getattr(channel, column.name) for column in t.channel.columns}
    values |= {"match": json.dumps(channel.match), "url": seal(key, channel.url), "secret": seal(key, channel.secret)}
    values["previous_secret"] = None
    try:
        connection.execute(sa.insert(t.channel).values(**values))
    except sa.exc.IntegrityError:  # another request took the name since we looked
        raise Conflict("there is a channel of that name: delete it first, or choose another name") from None
    audit.note(connection, channel.project_id, channel.created_at, actor, "channel.made", channel.name, channel.kind)


def get_channel(connection: Connection, project_id: int, channel_id: str, key: SecretStr | None) -> Channel:
    """The channel with that id in that project.

    Raises:
        NotFound: there is none in this project.
    """
    query = sa.select(t.channel).where(t.channel.c.project_id == project_id, t.channel.c.id == channel_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("there is no channel with that id")
    return from_row(row, key)


def list_channels(
    connection: Connection, project_id: int, key: SecretStr | None, *, limit: int, after: tuple[int, str] | None = None
) -> tuple[list[Channel], tuple[int, str] | None]:
    """At most `limit` channels, the oldest first, those behind the place `after`; and the place of the next page.

    A place is (created_at, id) of the last channel of a page.
    """
    query = sa.select(t.channel).where(t.channel.c.project_id == project_id)
    if after is not None:
        query = query.where(sa.tuple_(t.channel.c.created_at, t.channel.c.id) > sa.tuple_(*after))
    query = query.order_by(t.channel.c.created_at, t.channel.c.id).limit(limit + 1)
    channels = [from_row(row, key) for row in connection.execute(query)]
    last = channels[limit - 1] if len(channels) > limit else None
    return channels[:limit], None if last is None else (last.created_at, last.id)


def find_channel(connection: Connection, project_id: int, name: str, key: SecretStr | None) -> Channel | None:
    """The channel of that name, or None."""
    query = sa.select(t.channel).where(t.channel.c.project_id == project_id, t.channel.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else from_row(row, key)


def replace_channel(
    connection: Connection, stored: Channel, channel: Channel, key: SecretStr | None, actor: str, *, moved: bool
) -> None:
    """Give a stored channel another kind, URL, secret and match; its id, name and deliveries stay.

    `moved`: it leads somewhere else now, and what the receiver before failed at or asked for is forgotten.

    Raises:
        SetupError: there is no secret key.
    """
    values: dict[str, Any] = {"kind": channel.kind, "url": seal(key, channel.url), "secret": seal(key, channel.secret)}
    if moved:
        values |= {"failing_since": None, "paused_until": None}
    query = sa.update(t.channel).where(t.channel.c.id == stored.id)
    connection.execute(query.values(**values, match=json.dumps(channel.match)))
    names = ("kind", "url", "secret", "match")
    changed = ", ".join(name for name in names if getattr(stored, name) != getattr(channel, name))
    audit.note(connection, stored.project_id, channel.created_at, actor, "channel.changed", stored.name, changed)


def names_of(connection: Connection, project_id: int) -> dict[str, str]:
    """The names of the project's channels by their id."""
    query = sa.select(t.channel.c.id, t.channel.c.name).where(t.channel.c.project_id == project_id)
    return {row.id: row.name for row in connection.execute(query)}


def enabled_channels(connection: Connection, project_id: int) -> Sequence[Channel]:
    """The channels of a project that are not switched off, oldest first; without URL and secrets."""
    query = sa.select(t.channel).where(t.channel.c.project_id == project_id, t.channel.c.disabled_at.is_(None))
    return [from_row(row, None) for row in connection.execute(query.order_by(t.channel.c.created_at, t.channel.c.id))]


def every_channel(connection: Connection, project_id: int) -> Sequence[Channel]:
    """The channels of a project, oldest first, those that are switched off too; without URL and secrets."""
    query = sa.select(t.channel).where(t.channel.c.project_id == project_id)
    return [from_row(row, None) for row in connection.execute(query.order_by(t.channel.c.created_at, t.channel.c.id))]


def disable_channel(connection: Connection, channel_id: str, at: int, reason: str) -> bool:
    """Switch a channel off; what waits for it is dead, and so stays in plain sight. False: it was off, or is gone.

    An attempt that is under way keeps its lease, so that its end can still be recorded.
    """
    changed = connection.execute(
        sa.update(t.channel)
        .where(t.channel.c.id == channel_id, t.channel.c.disabled_at.is_(None))
        .values(disabled_at=at, disabled_reason=reason)
        .returning(t.channel.c.project_id, t.channel.c.name)
    ).one_or_none()
    if changed is not None:
        audit.note(connection, changed.project_id, at, audit.ITSELF, "channel.switched_off", changed.name, reason)
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.channel_id == channel_id, t.delivery.c.state == "pending")
        .values(state="dead")
    )
    return changed is not None


def enable_channel(connection: Connection, channel_id: str) -> None:
    """Switch a channel on again, as if it had never failed. What was given up stays so until it is replayed."""
    connection.execute(
        sa.update(t.channel)
        .where(t.channel.c.id == channel_id)
        .values(disabled_at=None, disabled_reason=None, failing_since=None, paused_until=None)
    )


def rotate_secret(connection: Connection, channel: Channel, secret: str, until: int, key: SecretStr | None) -> None:
    """Give a channel a new secret; the one it had signs beside it until then.

    Raises:
        SetupError: there is no secret key.
    """
    values = {"secret": seal(key, secret), "previous_secret": seal(key, channel.secret), "previous_until": until}
    connection.execute(sa.update(t.channel).where(t.channel.c.id == channel.id).values(**values))


def note_success(connection: Connection, channel_id: str) -> None:
    """The channel took a message: it does not fail, and wants no pause."""
    column = t.channel.c
    connection.execute(
        sa.update(t.channel)
        .where(column.id == channel_id, sa.or_(column.failing_since.is_not(None), column.paused_until.is_not(None)))
        .values(failing_since=None, paused_until=None)
    )


def note_failure(connection: Connection, channel_id: str, at: int, paused_until: int | None) -> int:
    """The channel did not take a message; returns since when it has been failing."""
    column = t.channel.c
    changed = sa.update(t.channel).where(column.id == channel_id)
    values: dict[str, Any] = {"failing_since": sa.func.coalesce(column.failing_since, at)}
    if paused_until is not None:
        values["paused_until"] = paused_until
    return connection.execute(changed.values(**values).returning(column.failing_since)).scalar() or at


def delete_channel(connection: Connection, project_id: int, channel_id: str, now: int, actor: str) -> None:
    """Delete a channel with its deliveries and their attempts.

    Raises:
        NotFound: there is none in this project.
    """
    channel = get_channel(connection, project_id, channel_id, None)
    deliveries = sa.select(t.delivery.c.id).where(t.delivery.c.channel_id == channel_id)
    connection.execute(sa.delete(t.delivery_attempt).where(t.delivery_attempt.c.delivery_id.in_(deliveries)))
    connection.execute(sa.delete(t.delivery).where(t.delivery.c.channel_id == channel_id))
    connection.execute(sa.delete(t.notification).where(t.notification.c.channel_id == channel_id))
    connection.execute(sa.delete(t.channel).where(t.channel.c.id == channel_id))
    audit.note(connection, project_id, now, actor, "channel.deleted", channel.name, channel.kind)


def from_row(row: sa.Row[Any], key: SecretStr | None) -> Channel:
    """A channel of a row that has every column of the table under its own name."""
    values = {column.name: row._mapping[column.name] for column in t.channel.columns}
    values["match"] = tuple(json.loads(values["match"]))
    try:
        values |= {"url": unseal(key, values["url"]), "secret": unseal(key, values["secret"])}
        sealed = values["previous_secret"]
        values["previous_secret"] = unseal(key, sealed) if sealed else ""
    except SetupError as error:
        values |= {"url": "", "secret": "", "previous_secret": "", "unreadable": str(error)}
    return Channel(**values)
