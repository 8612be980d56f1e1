"""Silences: stretches of time in which no channel is told of the alerts that their matchers take."""

from typing import Any, Literal

from fastapi import APIRouter, Response

from monitor import clock
from monitor.alerts.hours import DAYS
from monitor.alerts.matchers import LABELS, MAX_MATCHERS
from monitor.alerts.notify import end_silence
from monitor.alerts.rules import MAX_COMMENT, read_silence
from monitor.api.deps import Ctx, Cursor, JsonObject, Limit
from monitor.api.paging import place, token
from monitor.store import silences
from monitor.store.session import reading, writing
from monitor.store.silences import Silence

router = APIRouter(tags=["silences"])

MATCHERS = {
    "type": "array",
    "maxItems": MAX_MATCHERS,
    "items": {
        "type": "object",
        "required": ["name", "value"],
        "additionalProperties": False,
        "properties": {
            "name": {"enum": list(LABELS)},
            "value": {"type": "string"},
            "isRegex": {"type": "boolean", "default": False},
            "isEqual": {"type": "boolean", "default": True},
        },
    },
}
_CLOCK_TIME = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$", "examples": ["22:00"]}
HOURS = {
    "type": ["object", "null"],
    "required": ["from", "to"],
    "additionalProperties": False,
    "description": "hours of a week; past midnight when they end before they begin",
    "properties": {
        "days": {"type": "array", "minItems": 1, "items": {"enum": list(DAYS)}, "description": "every day if left out"},
        "from": _CLOCK_TIME,
        "to": _CLOCK_TIME,
        "timezone": {"type": "string", "default": "UTC", "examples": ["Europe/Berlin"]},
    },
}
SILENCE = {
    "type": "object",
    "required": ["matchers", "endsAt"],
    "additionalProperties": False,
    "properties": {
        "matchers": {**MATCHERS, "minItems": 1},
        "startsAt": {"type": ["string", "null"], "format": "date-time", "description": "now if left out"},
        "endsAt": {"type": "string", "format": "date-time"},
        "weekly": {**HOURS, "description": "a maintenance window: it acts in these hours only"},
        "comment": {"type": ["string", "null"], "maxLength": MAX_COMMENT},
        "createdBy": {"type": ["string", "null"], "description": "not kept: the key's name is"},
    },
}
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": SILENCE}}}}


def silence_json(silence: Silence, now: int) -> dict[str, Any]:
    """A silence as Alertmanager shows one, with `weekly` and `name` (of those that a file declares)."""
    return {
        "id": silence.id,
        "name": silence.name,
        "matchers": list(silence.matchers),
        "startsAt": clock.render(silence.starts_at),
        "endsAt": clock.render(silence.ends_at),
        "weekly": silence.weekly,
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "updatedAt": clock.render(silence.updated_at),
        "status": {"state": silence.state(now)},
    }


@router.post("/v1/silences", status_code=201, openapi_extra=_BODY)
def create_silence(ctx: Ctx, body: JsonObject) -> dict[str, Any]:
    """Tell no channel of the alerts that all matchers take, until `endsAt`; what still fires then is told then."""
    now = clock.now()
    made = read_silence(body, ctx.principal.project_id, now, ctx.principal.name)
    with writing(ctx.engine) as connection:
        silences.add_silence(connection, made)
    return silence_json(made, now)


@router.get("/v1/silences")
def list_silences(
    ctx: Ctx, state: Literal["pending", "active", "expired"] | None = None, limit: Limit = 100, cursor: Cursor = None
) -> dict[str, Any]:
    """The silences of the key's project, those that end last first; `state` leaves the others out."""
    now, after = clock.now(), place(cursor)
    with reading(ctx.engine) as connection:
        found, following = silences.list_silences(
            connection, ctx.principal.project_id, now, limit=limit, state=state, after=after
        )
    return {"items": [silence_json(one, now) for one in found], "next_cursor": token(following)}


@router.get("/v1/silences/{id}")
def get_silence(ctx: Ctx, id: str) -> dict[str, Any]:  # noqa: A002 - the name in the path
    """One silence."""
    with reading(ctx.engine) as connection:
        return silence_json(silences.get_silence(connection, ctx.principal.project_id, id), clock.now())


@router.delete("/v1/silences/{id}", status_code=204)
def expire_silence(ctx: Ctx, id: str) -> Response:  # noqa: A002
    """End a silence now; it stays in the list as expired. What it held back and still fires is told at once."""
    with writing(ctx.engine) as connection:
        end_silence(connection, ctx.principal.project_id, id, clock.now(), ctx.principal.name)
    return Response(status_code=204)
