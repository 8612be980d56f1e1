"""Channels: the destinations of alerts, and the log of what was sent to them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.alerts import notify, payload
from monitor.alerts.kinds.webhook import check_secret, new_secret
from monitor.alerts.matchers import LABELS, MAX_MATCHERS, read_matchers
from monitor.alerts.senders import KINDS, Means, place_of
from monitor.api.deps import Context, Ctx, Cursor, JsonObject, Limit, OptionalJsonObject
from monitor.api.paging import place, token
from monitor.errors import Conflict, Invalid
from monitor.store import audit, channels, outbox, replays
from monitor.store.body import Reader, text_error
from monitor.store.channels import Channel
from monitor.store.outbox import Attempt, Delivery
from monitor.store.session import reading, writing

router = APIRouter(tags=["channels"])

_MATCHER = {
    "type": "object",
    "required": ["name", "value"],
    "additionalProperties": False,
    "properties": {
        "name": {"enum": list(LABELS)},
        "value": {"type": "string"},
        "isRegex": {"type": "boolean", "default": False},
        "isEqual": {"type": "boolean", "default": True},
    },
}
_CHANNEL = {
    "type": "object",
    "required": ["kind", "name"],
    "additionalProperties": False,
    "properties": {
        "kind": {"enum": list(KINDS)},
        "name": {"type": "string", "minLength": 1, "maxLength": 256},
        "url": {
            "type": ["string", "null"],
            "description": "where to: HTTP(S), for email mailto: and addresses, for apprise its URL; pagerduty has one",
            "examples": ["https://example.org/hooks/keepwatch", "mailto:oncall@example.org"],
        },
        "secret": {
            "type": ["string", "null"],
            "description": "webhook: whsec_ and base64, made here when it is left out; pagerduty: the integration key;"
            " alertmanager: user:password or a bearer token; the others have none",
        },
        "match": {"type": ["array", "null"], "items": _MATCHER, "maxItems": MAX_MATCHERS},
    },
}
_ROTATE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "secret": {"type": ["string", "null"], "description": "whsec_ and base64; made here when it is left out"},
        "overlap": {"type": ["string", "null"], "default": "24h", "description": "how long the old secret signs too"},
    },
}
_ROTATION = {"requestBody": {"required": False, "content": {"application/json": {"schema": _ROTATE}}}}
OVERLAP, LONGEST_OVERLAP = clock.DAY, 30 * clock.DAY
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _CHANNEL}}}}


def channel_json(channel: Channel) -> dict[str, Any]:
    """A channel as it may be shown: of its URL the host alone, and no secret.

    `unreadable` says why there is no URL: the secret key is not the one that sealed it. `failing_since` is the first
    failure after the last success; `old_secret_until` the end of a rotation.
    """
    return {
        "id": channel.id,
        "kind": channel.kind,
        "name": channel.name,
        "url": place_of(channel) or None,
        "match": list(channel.match),
        "created_at": clock.render(channel.created_at),
        "disabled_at": _time(channel.disabled_at),
        "disabled_reason": channel.disabled_reason,
        "failing_since": _time(channel.failing_since),
        "paused_until": _time(channel.paused_until),
        "old_secret_until": _time(channel.previous_until),
        "unreadable": channel.unreadable,
    }


def delivery_json(delivery: Delivery, attempts: list[Attempt]) -> dict[str, Any]:
    """A delivery with the log of its attempts, oldest first; `next_attempt_at` while it waits for one."""
    return {
        "id": delivery.id,
        "type": delivery.type,
        "alert_id": delivery.alert_id,
        "state": delivery.state,
        "created_at": clock.render(delivery.created_at),
        "next_attempt_at": clock.render(delivery.next_attempt_at) if delivery.state == "pending" else None,
        "delivered_at": _time(delivery.delivered_at),
        "attempts": [
            {
                "at": clock.render(attempt.at),
                "status_code": attempt.status_code,
                "error": attempt.error,
                "response": attempt.response,
                "milliseconds": attempt.milliseconds,
            }
            for attempt in attempts
        ],
    }


@router.post("/v1/channels", status_code=201, openapi_extra=_BODY)
def post_channel(ctx: Ctx, body: JsonObject) -> dict[str, Any]:
    """Make a channel. The answer holds the secret that a webhook's receiver verifies with, for the last time."""
    made = read_channel(ctx, body)
    with writing(ctx.engine) as connection:
        channels.add_channel(connection, made, ctx.settings.secret_key, ctx.principal.name)
    return {**channel_json(made), "secret": made.secret if KINDS[made.kind].signs else None}


@router.get("/v1/channels")
def list_channels(ctx: Ctx, limit: Limit = 100, cursor: Cursor = None) -> dict[str, Any]:
    """The channels of the key's project, oldest first."""
    after, project_id, key = place(cursor), ctx.principal.project_id, ctx.settings.secret_key
    with reading(ctx.engine) as connection:
        found, following = channels.list_channels(connection, project_id, key, limit=limit, after=after)
    return {"items": [channel_json(channel) for channel in found], "next_cursor": token(following)}


@router.get("/v1/channels/{id}")
def get_channel(ctx: Ctx, id: str) -> dict[str, Any]:  # noqa: A002 - the name in the path
    """One channel; `disabled_reason` says why it was switched off, if it was."""
    with reading(ctx.engine) as connection:
        return channel_json(_channel(ctx, connection, id))


@router.delete("/v1/channels/{id}", status_code=204)
def delete_channel(ctx: Ctx, id: str) -> Response:  # noqa: A002
    """Remove a channel with its deliveries."""
    with writing(ctx.engine) as connection:
        channels.delete_channel(connection, ctx.principal.project_id, id, clock.now(), ctx.principal.name)
    return Response(status_code=204)


@router.post("/v1/channels/{id}/test", status_code=202)
def test_channel(ctx: Ctx, id: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Send a `channel.test` on the way that alerts take; its outcome stands among the deliveries."""
    Reader(body).finish()
    now = clock.now()
    with writing(ctx.engine) as connection:
        channel = _usable(_channel(ctx, connection, id))
        message = payload.sample_body(channel, now, ctx.settings.public_url)
        delivery_id = outbox.add(connection, channel, "channel.test", None, message, now)
        return delivery_json(outbox.get_delivery(connection, channel, delivery_id), [])


@router.post("/v1/channels/{id}/enable")
def enable_channel(ctx: Ctx, id: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Switch a channel on again that was switched off: it is told of what is open. What was given up waits for a
    replay."""
    Reader(body).finish()
    with writing(ctx.engine) as connection:
        channel = _channel(ctx, connection, id)
        notify.switch_on(connection, channel, clock.now(), ctx.principal.name)
        return channel_json(_channel(ctx, connection, id))


@router.post("/v1/channels/{id}/rotate", openapi_extra=_ROTATION)
def rotate_secret(ctx: Ctx, id: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Give a webhook a new secret. Until `overlap` is over every message is signed with the old one too."""
    reader = Reader(body)
    secret, overlap = reader.body.pop("secret", None), reader.body.pop("overlap", None)
    lasts = OVERLAP
    try:
        lasts = OVERLAP if overlap is None else clock.parse_span(overlap) if isinstance(overlap, str) else -1
    except ValueError:
        lasts = -1
    if not 0 <= lasts <= LONGEST_OVERLAP:
        reader.wrong("overlap", "must be a span such as 24h, of at most 30d")
    if secret is not None and not isinstance(secret, str):
        reader.wrong("secret", "must be a text")
    reader.finish()
    secret = new_secret() if secret is None else check_secret(str(secret))
    now = clock.now()
    with writing(ctx.engine) as connection:
        channel = _channel(ctx, connection, id)
        if channel.unreadable is not None:
            raise Conflict(channel.unreadable)
        if not KINDS[channel.kind].signs:
            raise Conflict("only the kind webhook has a secret that is rotated: make a new channel, delete this one")
        channels.rotate_secret(connection, channel, secret, now + lasts, ctx.settings.secret_key)
        who = ctx.principal
        audit.note(connection, who.project_id, now, who.name, "channel.secret_rotated", channel.name)
        return {**channel_json(_channel(ctx, connection, id)), "secret": secret}


@router.get("/v1/channels/{id}/deliveries")
def list_deliveries(
    ctx: Ctx,
    id: str,  # noqa: A002
    state: Annotated[str | None, Query(max_length=20)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """What was sent to a channel, the newest first, with every attempt; `state`: pending, delivered or dead."""
    if state is not None and state not in outbox.STATES:
        raise Invalid.field("state", "must be one of " + ", ".join(outbox.STATES))
    after = place(cursor)
    with reading(ctx.engine) as connection:
        channel = _channel(ctx, connection, id)
        found, following = outbox.list_deliveries(connection, channel, limit=limit, state=state, after=after)
        attempts = outbox.attempts_of(connection, [delivery.id for delivery in found])
    items = [delivery_json(delivery, attempts[delivery.id]) for delivery in found]
    return {"items": items, "next_cursor": token(following)}


@router.post("/v1/channels/{id}/replay", status_code=202)
def replay_dead(ctx: Ctx, id: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Send everything once more that was given up, each under its id; answers with how many deliveries that are."""
    Reader(body).finish()
    with writing(ctx.engine) as connection:
        channel = _usable(_channel(ctx, connection, id))
        return {"replayed": replays.replay_dead(connection, channel, clock.now(), ctx.principal.name)}


@router.post("/v1/channels/{id}/deliveries/{delivery}/replay", status_code=202)
def replay_delivery(ctx: Ctx, id: str, delivery: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Send a delivery once more, now, under the same webhook-id and with the same body."""
    Reader(body).finish()
    with writing(ctx.engine) as connection:
        channel = _usable(_channel(ctx, connection, id))
        asked = outbox.get_delivery(connection, channel, delivery)
        replays.replay(connection, channel, asked, clock.now(), ctx.principal.name)
        found = outbox.get_delivery(connection, channel, delivery)
        return delivery_json(found, outbox.attempts_of(connection, [found.id])[found.id])


def read_channel(ctx: Ctx, body: dict[str, Any]) -> Channel:
    """A new channel of a body.

    Raises:
        Invalid: names every field that is wrong.
    """
    reader = Reader(body)
    kind = reader.body.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        reader.wrong("kind", "must be a kind that this version has: " + ", ".join(KINDS))
    name = reader.body.pop("name", None)
    if (reason := text_error(name)) is not None:
        reader.wrong("name", reason)
    url, secret = reader.body.pop("url", None), reader.body.pop("secret", None)
    if url is not None and not isinstance(url, str):
        reader.wrong("url", "must be a text")
    if secret is not None and not isinstance(secret, str):
        reader.wrong("secret", "must be a text")
    match = reader.body.pop("match", None)
    matchers: tuple[dict[str, Any], ...] = ()
    try:
        matchers = read_matchers([] if match is None else match)
    except Invalid as error:
        reader.errors += error.errors
    if isinstance(kind, str) and kind in KINDS and not {"url", "secret"} & {error["field"] for error in reader.errors}:
        try:
            url, secret = KINDS[kind].check(url, secret, Means(ctx.settings.allow_networks, ctx.settings.smtp_url))
        except Invalid as error:
            reader.errors += error.errors
    reader.finish()
    return Channel(
        id=channels.new_id(),
        project_id=ctx.principal.project_id,
        kind=str(kind),
        name=str(name),
        url=str(url),
        secret=str(secret),
        match=matchers,
        created_at=clock.now(),
    )


def _channel(ctx: Context, connection: Connection, channel_id: str) -> Channel:
    return channels.get_channel(connection, ctx.principal.project_id, channel_id, ctx.settings.secret_key)


def _usable(channel: Channel) -> Channel:
    if channel.unreadable is not None:
        raise Conflict(channel.unreadable)
    if channel.disabled_at is not None:
        raise Conflict("this channel is switched off: POST /v1/channels/{id}/enable switches it on again")
    return channel


def _time(at: int | None) -> str | None:
    return None if at is None else clock.render(at)
