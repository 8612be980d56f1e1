"""Alerts: listing them, looking at one and its history; acknowledging, resolving and commenting by hand."""

from dataclasses import asdict
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query

from monitor import clock
from monitor.alerts import transition
from monitor.alerts.payload import alert_json
from monitor.alerts.rules import MAX_COMMENT, read_comment
from monitor.api.deps import Ctx, Cursor, JsonObject, Limit, OptionalJsonObject
from monitor.api.paging import place, token
from monitor.errors import Conflict
from monitor.evaluate.adopt import adopt as adopt_change
from monitor.stats.verdict import Family
from monitor.store import alerts, catalog, notifications
from monitor.store.body import Reader
from monitor.store.model_config import NAME
from monitor.store.notifications import Notification
from monitor.store.session import reading, writing

router = APIRouter(tags=["alerts"])

_COMMENT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"comment": {"type": ["string", "null"], "maxLength": MAX_COMMENT}},
}
_BODY = {"requestBody": {"content": {"application/json": {"schema": _COMMENT}}}}

ModelName = Annotated[str | None, Query(pattern=f"^{NAME.pattern}$")]


@router.get("/v1/alerts")
def list_alerts(
    ctx: Ctx,
    model: ModelName = None,
    state: Literal["firing", "acknowledged", "resolved"] | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """The alerts of the key's project, the latest opened first; of one model or in one state if asked for."""
    after = place(cursor)
    project_id = ctx.principal.project_id
    with reading(ctx.engine) as connection:
        model_id = None if model is None else catalog.get_model(connection, project_id, model).id
        found, following = alerts.list_alerts(
            connection, project_id, limit=limit, model_id=model_id, state=state, after=after
        )
    public_url = ctx.settings.public_url
    return {"items": [alert_json(alert, public_url) for alert in found], "next_cursor": token(following)}


@router.get("/v1/alerts/{id}")
def get_alert(ctx: Ctx, id: str) -> dict[str, Any]:  # noqa: A002 - the name in the path
    """One alert: what changed, since when, by how much, and the evidence for it."""
    with reading(ctx.engine) as connection:
        found = alerts.get_alert(connection, ctx.principal.project_id, id)
    return alert_json(found, ctx.settings.public_url)


@router.get("/v1/alerts/{id}/events")
def list_events(ctx: Ctx, id: str) -> dict[str, Any]:  # noqa: A002
    """What happened to an alert and who did it, the oldest first, with what people said."""
    with reading(ctx.engine) as connection:
        alerts.get_alert(connection, ctx.principal.project_id, id)
        found = alerts.list_events(connection, ctx.principal.project_id, id)
    return {"items": [{**asdict(event), "at": clock.render(event.at)} for event in found]}


@router.get("/v1/alerts/{id}/notifications")
def list_notifications(ctx: Ctx, id: str) -> dict[str, Any]:  # noqa: A002
    """Which channel was told what, when, and whether it arrived (`delivery_state`: pending, delivered or dead).

    Also what was not sent, with the reason. The oldest first.
    """
    with reading(ctx.engine) as connection:
        alerts.get_alert(connection, ctx.principal.project_id, id)
        found = notifications.of_alert(connection, ctx.principal.project_id, id)
    return {"items": [notification_json(one) | {"delivery_state": state} for one, state in found]}


def notification_json(one: Notification) -> dict[str, Any]:
    """What became of an event for a channel: `state` sent, held or dropped, and the `reason` where there is one."""
    return {
        "channel_id": one.channel_id,
        "type": one.type,
        "state": one.state,
        "reason": one.reason or None,
        "detail": one.detail or None,
        "created_at": clock.render(one.created_at),
        "changed_at": clock.render(one.changed_at),
        "due_at": None if one.due_at is None else clock.render(one.due_at),
        "delivery_id": one.delivery_id,
    }


@router.post("/v1/alerts/{id}/acknowledge", openapi_extra=_BODY)
def acknowledge(ctx: Ctx, id: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Say that somebody has seen it; 409 when it is resolved already. Twice is as good as once."""
    said = _comment(body)
    with writing(ctx.engine) as connection:
        who, public_url = ctx.principal, ctx.settings.public_url
        changed = transition.acknowledge(connection, who.project_id, id, who.name, clock.now(), public_url, said)
    return alert_json(changed, public_url)


@router.post("/v1/alerts/{id}/resolve", openapi_extra=_BODY)
def resolve(ctx: Ctx, id: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Close it by hand; new evidence opens it again, or after the cool-down a new one. Twice is as good as once."""
    said = _comment(body)
    with writing(ctx.engine) as connection:
        who, public_url = ctx.principal, ctx.settings.public_url
        changed = transition.resolve(connection, who.project_id, id, who.name, clock.now(), public_url, said)
    return alert_json(changed, public_url)


@router.post("/v1/alerts/{id}/comments", status_code=201, openapi_extra=_BODY)
def comment(ctx: Ctx, id: str, body: JsonObject) -> dict[str, Any]:  # noqa: A002
    """Say something about an alert; it stands in its history, and no channel is told."""
    said = _comment(body, required=True)
    with writing(ctx.engine) as connection:
        who = ctx.principal
        transition.comment(connection, who.project_id, id, who.name, clock.now(), said)
        event = alerts.list_events(connection, who.project_id, id)[-1]
    return {**asdict(event), "at": clock.render(event.at)}


def _comment(body: dict[str, Any], *, required: bool = False) -> str:
    reader = Reader(body)
    said = read_comment(reader, required=required)
    reader.finish()
    return said


@router.post("/v1/alerts/{id}/adopt")
def adopt(ctx: Ctx, id: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Accept the change as the new normal: the windows since its first evidence become the reference, and the alert is
    resolved. 409 while there are fewer than 14 such windows, or when it is resolved already. Evidence starts afresh
    against the new reference; alerts of the other families end with their next window, unless they hold against it too.
    """
    Reader(body).finish()
    changed, made = accept(ctx, id)
    return {"alert": alert_json(changed, ctx.settings.public_url), "reference": made}


def accept(ctx: Ctx, id: str) -> tuple[alerts.Alert, dict[str, Any]]:  # noqa: A002
    """Adopt the change behind an alert: the resolved alert, and the reference that was made.

    Raises:
        NotFound: there is no such alert in the project.
        Conflict: it is resolved already, or there are too few windows yet.
    """
    who, public_url = ctx.principal, ctx.settings.public_url
    with reading(ctx.engine) as connection:
        found = alerts.get_alert(connection, who.project_id, id)
        model = catalog.get_model_by_id(connection, found.model_id)
    if found.state == "resolved":
        raise Conflict("this alert is resolved: PUT a reference to change what windows are compared with")
    family, first, now = cast(Family, found.family), found.first_evidence_at, clock.now()
    made = adopt_change(ctx.engine, model, family, first, now, who.name)
    note = f"accepted as the new normal: reference {made['number']}"
    with writing(ctx.engine) as connection:
        return transition.resolve(connection, who.project_id, id, who.name, clock.now(), public_url, note), made
