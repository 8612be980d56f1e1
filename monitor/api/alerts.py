"""Alerts: listing them, looking at one, acknowledging and resolving by hand."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from monitor import clock
from monitor.alerts import transition
from monitor.alerts.payload import alert_json
from monitor.api.deps import Ctx, Cursor, Limit, OptionalJsonObject
from monitor.api.paging import place, token
from monitor.store import alerts, catalog
from monitor.store.body import Reader
from monitor.store.model_config import NAME
from monitor.store.session import reading, writing

router = APIRouter(tags=["alerts"])

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


@router.post("/v1/alerts/{id}/acknowledge")
def acknowledge(ctx: Ctx, id: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Say that somebody has seen it; 409 when it is resolved already. Twice is as good as once."""
    Reader(body).finish()
    with writing(ctx.engine) as connection:
        who, public_url = ctx.principal, ctx.settings.public_url
        changed = transition.acknowledge(connection, who.project_id, id, who.name, clock.now(), public_url)
    return alert_json(changed, public_url)


@router.post("/v1/alerts/{id}/resolve")
def resolve(ctx: Ctx, id: str, body: OptionalJsonObject) -> dict[str, Any]:  # noqa: A002
    """Close it by hand; new evidence opens a new alert. Twice is as good as once."""
    Reader(body).finish()
    with writing(ctx.engine) as connection:
        who, public_url = ctx.principal, ctx.settings.public_url
        changed = transition.resolve(connection, who.project_id, id, who.name, clock.now(), public_url)
    return alert_json(changed, public_url)
