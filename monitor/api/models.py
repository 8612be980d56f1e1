"""Models: making them, changing their settings, pausing and removing them, and how they are."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.alerts import transition
from monitor.api.deps import Ctx, Cursor, JsonObject, Limit, OptionalJsonObject
from monitor.errors import Invalid
from monitor.evaluate.health import Health, health, healths
from monitor.store import catalog, overview, schema_findings, slices
from monitor.store.model_config import CLOCKS, KINDS, TASKS
from monitor.store.session import reading, writing

router = APIRouter(tags=["models"])

_SPAN = {"type": "string", "examples": ["10m", "1h", "2d"]}
_SETTINGS = {
    "type": "object",
    "required": ["task"],
    "additionalProperties": False,
    "properties": {
        "task": {"enum": list(TASKS)},
        "positive_class": {"type": ["string", "number", "boolean", "null"], "description": "binary only; default 1"},
        "threshold": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.5},
        "features": {
            "type": ["object", "null"],
            "maxProperties": 1000,
            "additionalProperties": {
                "type": "object",
                "required": ["kind"],
                "additionalProperties": False,
                "properties": {"kind": {"enum": list(KINDS)}},
            },
        },
        "window": {**_SPAN, "default": "1h", "description": "1h 2h 3h 4h 6h 8h 12h 1d 7d"},
        "grace": {**_SPAN, "default": "10m"},
        "timezone": {"type": "string", "default": "UTC", "examples": ["Europe/Berlin"]},
        "clock": {"enum": list(CLOCKS), "default": "wall"},
        "label_delay": {**_SPAN, "default": "2d"},
        "alert_budget": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"false_alarms": {"type": "number", "default": 1}, "per": {**_SPAN, "default": "90d"}},
        },
        "segments": {"type": ["array", "null"], "items": {"type": "string"}, "maxItems": 50},
        "slices": slices.SCHEMA,
        "latency_budget_ms": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "variant_of": {"type": ["string", "null"]},
    },
}
_PAUSE = {"type": "object", "properties": {"paused": {"type": "boolean", "default": True}}}


def _body(schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def show(connection: Connection, model: catalog.Model, wall: int) -> dict[str, Any]:
    """A model as the API shows it: its settings, its clock, its health and the reasons for it."""
    now = catalog.model_now(connection, model, wall)
    return _shown(model, now, health(connection, model, now))


def _shown_all(
    connection: Connection, project_id: int, models: Sequence[catalog.Model], wall: int
) -> list[dict[str, Any]]:
    """Models of a project, in as many queries as for one."""
    newest = overview.newest(connection, project_id)
    now = {model.id: catalog.now_of(model, newest[model.id].known_at, wall) for model in models}
    states = healths(connection, project_id, models, newest, now)
    return [_shown(model, now[model.id], states[model.id]) for model in models]


def _shown(model: catalog.Model, now: int, state: Health) -> dict[str, Any]:
    features = None if model.features is None else {name: {"kind": kind} for name, kind in model.features.items()}
    return {
        "name": model.name,
        **model.config.to_dict(),
        "features": features,
        "created_at": clock.render(model.created_at),
        "paused_at": None if model.paused_at is None else clock.render(model.paused_at),
        "now": clock.render(now),
        "health": state.state,
        "reasons": state.reasons,
    }


@router.get("/v1/models")
def list_models(ctx: Ctx, limit: Limit = 100, cursor: Cursor = None) -> dict[str, Any]:
    """The models of the key's project, by name."""
    wall = clock.now()
    with reading(ctx.engine) as connection:
        project = ctx.principal.project_id
        models, following = catalog.list_models(connection, project, limit, cursor)
        return {"items": _shown_all(connection, project, models, wall), "next_cursor": following}


@router.get("/v1/models/{model}")
def get_model(ctx: Ctx, model: str) -> dict[str, Any]:
    """One model with its settings, its health and the reasons for it."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        return show(connection, found, clock.now())


@router.get("/v1/models/{model}/schema-findings", summary="Where rows and schema part")
def get_schema_findings(ctx: Ctx, model: str) -> dict[str, Any]:
    """Features that are `new`, came `retyped` or are `missing`: in how many rows, the first and the last; newest first.

    No row is refused for it. Features beyond 200 are counted together, under an empty name.
    """
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        listed = schema_findings.read(connection, found.project_id, found.id)
    return {
        "items": [
            {
                "feature": one.feature,
                "kind": one.kind,
                "rows": one.rows,
                "first_at": clock.render(one.first_at),
                "last_at": clock.render(one.last_at),
            }
            for one in listed
        ]
    }


@router.put("/v1/models/{model}", openapi_extra=_body(_SETTINGS, required=True), responses={201: {}})
def put_model(ctx: Ctx, response: Response, model: str, body: JsonObject) -> dict[str, Any]:
    """Make a model (201) or replace its settings (200); what is left out takes its default."""
    now = clock.now()
    with writing(ctx.engine) as connection:
        who = ctx.principal
        made, created = catalog.put_model(connection, who.project_id, model, body, now, who.name)
        response.status_code = 201 if created else 200
        return show(connection, made, now)


@router.delete("/v1/models/{model}", status_code=204)
def delete_model(ctx: Ctx, model: str) -> Response:
    """Remove a model and everything that was stored for it. Who was told of its open alerts is told of their end."""
    who, now = ctx.principal, clock.now()
    with writing(ctx.engine) as connection:
        found = catalog.get_model(connection, who.project_id, model)
        catalog.hold_model(connection, found)
        transition.close_all(connection, who.project_id, found.id, who.name, now, ctx.settings.public_url)
        catalog.delete_model(connection, found, now, who.name)
    if ctx.writer is not None:
        ctx.writer.forget(who.project_id, model)
    return Response(status_code=204)


@router.post("/v1/models/{model}/pause", openapi_extra=_body(_PAUSE, required=False))
def pause_model(ctx: Ctx, model: str, body: OptionalJsonObject) -> dict[str, Any]:
    """Stop raising alerts for a model, or go on with `{"paused": false}`; rows are taken all the while."""
    paused = body.pop("paused", True)
    if not isinstance(paused, bool):
        raise Invalid.field("paused", "must be true or false")
    if body:
        raise Invalid.field("body", "only `paused` is known here")
    now = clock.now()
    with writing(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        if paused != (found.paused_at is not None):
            before, found = found, catalog.set_paused(connection, found, now if paused else None)
            catalog.record_change(connection, found, now, ctx.principal.name, before)
        return show(connection, found, now)
