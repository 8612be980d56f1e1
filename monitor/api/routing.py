"""Routes (which alerts go to which channels, and how) and the policy of the whole project."""

from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.alerts.notify import wake_all
from monitor.alerts.rules import MAX_CHANNELS_OF_ROUTE, read_policy, read_route
from monitor.api.deps import Ctx, JsonObject
from monitor.api.silences import HOURS, MATCHERS
from monitor.errors import Invalid
from monitor.store import channels, routing
from monitor.store.routing import Policy, Route
from monitor.store.session import reading, writing

router = APIRouter(tags=["routes"])

_SPAN = {"type": ["string", "null"], "examples": ["30m", "4h"]}
ROUTE = {
    "type": "object",
    "required": ["channels"],
    "additionalProperties": False,
    "properties": {
        "match": {**MATCHERS, "type": ["array", "null"], "description": "which alerts; all of them if left out"},
        "channels": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": MAX_CHANNELS_OF_ROUTE,
            "description": "names of channels; one that any route names gets only what its routes take",
        },
        "escalate_after": {**_SPAN, "description": "only when nobody has acknowledged for so long"},
        "repeat": {**_SPAN, "description": "say it again this often while it fires and nobody has acknowledged"},
        "digest": {**_SPAN, "description": "gather what is not critical for so long, and send it as one message"},
        "quiet_hours": {**HOURS, "description": "what is not critical waits until these hours are over"},
    },
}
POLICY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "alert_budget": {
            "type": ["object", "null"],
            "required": ["false_alarms"],
            "additionalProperties": False,
            "description": "for all models together, beside their own; none if left out",
            "properties": {
                "false_alarms": {"type": "number", "exclusiveMinimum": 0},
                "per": {"type": "string", "default": "1d", "examples": ["1d"]},
            },
        },
        "digest": {"type": "string", "default": "1h", "description": "how long what exceeds the budget is gathered"},
        "cooldown": {"type": "string", "default": "1d", "description": "within it an alert is opened again; 0m: never"},
    },
}
_ROUTE_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": ROUTE}}}}
_POLICY_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": POLICY}}}}


def route_json(route: Route) -> dict[str, Any]:
    """A route as it is shown, and as a file declares it (without its name)."""
    return {
        "name": route.name,
        "match": list(route.match),
        "channels": list(route.channels),
        "escalate_after": route.escalate_after,
        "repeat": route.repeat,
        "digest": route.digest,
        "quiet_hours": route.quiet_hours,
    }


def policy_json(policy: Policy) -> dict[str, Any]:
    """A policy as it is set."""
    budget = None if policy.false_alarms is None else {"false_alarms": policy.false_alarms, "per": policy.per}
    return {"alert_budget": budget, "digest": policy.digest, "cooldown": policy.cooldown}


@router.get("/v1/routes")
def list_routes(ctx: Ctx) -> dict[str, Any]:
    """The routes by name: of several that take an alert for the same channel the first decides."""
    with reading(ctx.engine) as connection:
        return {"items": [route_json(one) for one in routing.list_routes(connection, ctx.principal.project_id)]}


@router.get("/v1/routes/{route}")
def get_route(ctx: Ctx, route: str) -> dict[str, Any]:
    """One route."""
    with reading(ctx.engine) as connection:
        return route_json(routing.get_route(connection, ctx.principal.project_id, route))


@router.put("/v1/routes/{route}", openapi_extra=_ROUTE_BODY)
def put_route(ctx: Ctx, route: str, body: JsonObject, response: Response) -> dict[str, Any]:
    """Make a route, or replace it."""
    made = read_route(route, body, ctx.principal.project_id, clock.now())
    with writing(ctx.engine) as connection:
        known = {one.name for one in channels.every_channel(connection, made.project_id)}
        for place, name in enumerate(made.channels):
            if name not in known:
                raise Invalid.field(f"channels[{place}]", "there is no channel of this name: make it first")
        if routing.put_route(connection, made, ctx.principal.name):
            response.status_code = 201
        wake_all(connection, made.project_id, clock.now())
    return route_json(made)


@router.delete("/v1/routes/{route}", status_code=204)
def delete_route(ctx: Ctx, route: str) -> Response:
    """Remove a route; its channels get again what their own `match` takes."""
    with writing(ctx.engine) as connection:
        routing.delete_route(connection, ctx.principal.project_id, route, clock.now(), ctx.principal.name)
        wake_all(connection, ctx.principal.project_id, clock.now())
    return Response(status_code=204)


@router.get("/v1/project")
def get_project(ctx: Ctx) -> dict[str, Any]:
    """The project's policy, and what its models' own budgets allow in all (`expected`)."""
    with reading(ctx.engine) as connection:
        return _project_json(connection, ctx.principal.project_id)


@router.put("/v1/project", openapi_extra=_POLICY_BODY)
def put_project(ctx: Ctx, body: JsonObject) -> dict[str, Any]:
    """Set the project's budget of pages, how long what exceeds it is gathered, and the cool-down of its alerts."""
    policy = read_policy(body)
    with writing(ctx.engine) as connection:
        who = ctx.principal
        routing.put_policy(connection, who.project_id, policy, clock.now(), who.name)
        wake_all(connection, who.project_id, clock.now())
        return _project_json(connection, who.project_id)


def _project_json(connection: Connection, project_id: int) -> dict[str, Any]:
    models, per_day = routing.expected_rate(connection, project_id)
    expected = {"models": models, "false_alarms_per_day": per_day}
    return {**policy_json(routing.get_policy(connection, project_id)), "expected": expected}
