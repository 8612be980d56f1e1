"""Monitors by hand: `metric op value for N windows`, alone or joined by all or any."""

from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy.engine import Connection

from monitor import backtests, clock
from monitor.alerts import transition
from monitor.api.deps import Context, Ctx, JsonObject
from monitor.errors import Conflict, Invalid
from monitor.evaluate import watched
from monitor.evaluate.rules import (
    MOST_CONDITIONS,
    MOST_WINDOWS,
    check_name,
    read_rule,
    rule_json,
    rule_told,
)
from monitor.evaluate.watched import Monitor
from monitor.stats.rule import MATCHES, MISSING, OPS, Rule
from monitor.store import alerts, audit, catalog, profiles, tasks
from monitor.store.alerts import SEVERITIES
from monitor.store.catalog import Model
from monitor.store.session import reading, writing
from monitor.store.tasks import Task

router = APIRouter(tags=["monitors"])

_OPTIONAL = {"type": ["string", "null"]}
_WINDOWS = {"type": "integer", "minimum": 1, "maximum": MOST_WINDOWS}
_CONDITION = {
    "type": "object",
    "required": ["metric", "op", "value"],
    "additionalProperties": False,
    "properties": {
        "metric": {"type": "string", "examples": ["latency_p95"]},
        "op": {"enum": list(OPS)},
        "value": {"type": "number"},
        "clear": {"type": ["number", "null"], "description": "the bound once it fires; default: value"},
        "feature": _OPTIONAL,
        "segment": {**_OPTIONAL, "description": "NAME:VALUE, or NAME:other"},
        "version": {**_OPTIONAL, "description": "its live and shadow rows; default: all live rows"},
    },
}
RULE: dict[str, Any] = {
    "conditions": {"type": "array", "items": _CONDITION, "minItems": 1, "maxItems": MOST_CONDITIONS},
    "match": {"enum": list(MATCHES), "default": "all"},
    "windows": {**_WINDOWS, "default": 1, "description": "in a row that must meet it"},
    "resolve_windows": {**_WINDOWS, "description": "in a row that must not meet it to resolve; default: windows"},
    "missing": {"enum": list(MISSING), "default": "ignore", "description": "what a window without a value counts as"},
    "min_rows": {"type": "integer", "minimum": 0, "default": 0, "description": "a number from fewer rows is none"},
    "severity": {"enum": list(SEVERITIES), "default": "warning"},
}


def schema_of(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The OpenAPI of a JSON body."""
    schema = {"type": "object", "required": required, "additionalProperties": False, "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def monitor_json(monitor: Monitor) -> dict[str, Any]:
    """A monitor as the API shows it. `state`: ok, pending (met, not often enough yet), firing, or waiting."""
    last = monitor.last
    return {
        "name": monitor.name,
        **rule_json(monitor.rule),
        "text": rule_told(monitor.rule),
        "state": state_of(monitor),
        "family": monitor.family,
        "created_at": clock.render(monitor.created_at),
        "created_by": monitor.created_by,
        "last": None
        if last is None
        else {
            "start": clock.render(last.start),
            "end": clock.render(last.end),
            "met": last.met,
            "readings": [one.__dict__ for one in last.readings],
        },
    }


def state_of(monitor: Monitor) -> str:
    """How a monitor stands, in a word."""
    if monitor.memory.firing:
        return "firing"
    if monitor.last is None:
        return "waiting"
    return "pending" if monitor.memory.met else "ok"


@router.post(
    "/v1/models/{model}/monitors",
    status_code=201,
    openapi_extra=schema_of({"name": {"type": "string"}, **RULE}, ["name", "conditions"]),
)
def post_monitor(ctx: Ctx, model: str, body: JsonObject) -> dict[str, Any]:
    """Make a monitor. It looks at each window once, from the next one on, when its numbers are final."""
    name = check_name(body.pop("name", None))
    with writing(ctx.engine) as connection:
        found = locked_model(connection, ctx, model)
        if watched.find_monitor(connection, found.id, name) is not None:
            raise Conflict("this model has a monitor of that name: PUT replaces it")
        return monitor_json(save(connection, ctx, found, name, read_rule(connection, found, body))[0])


_TIME = {"type": "string", "format": "date-time"}
_BUDGET = {
    "type": "object",
    "properties": {"false_alarms": {"type": "number"}, "per": {"type": "string", "examples": ["90d"]}},
    "description": "in place of a rule: the model's own alarms under this budget",
}


def backtest_json(model: str, found: Task) -> dict[str, Any]:
    """A back-test as the API shows it."""
    return {
        "id": found.id,
        "setting": backtests.Asked.load(found.request).shown(),
        "state": found.state,
        "progress": found.progress,
        "error": found.error,
        "created_at": clock.render(found.created_at),
        "finished_at": None if found.finished_at is None else clock.render(found.finished_at),
        "url": f"/v1/models/{model}/monitors/backtests/{found.id}",
        "result": found.answer or None,
    }


@router.post(
    "/v1/models/{model}/monitors/backtest",
    responses={202: {}},
    openapi_extra=schema_of({**RULE, "alert_budget": _BUDGET, "from": _TIME, "to": _TIME}, []),
)
def post_backtest(ctx: Ctx, response: Response, model: str, body: JsonObject) -> dict[str, Any]:
    """Play a rule, or an alert budget, over the stored history before it is saved.

    A rule over up to 1,500 windows is answered at once (200); anything longer is played in the background (202), and
    `url` says how far it is. `result` says how often it would have paged and when, and which of these pages vanish
    with the rows and outcomes that came after their window had given its evidence.
    """
    wall = clock.now()
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        asked = backtests.read(connection, found, body, catalog.model_now(connection, found, wall))
    made = backtests.ask(ctx.engine, found, asked, wall)
    shown = backtest_json(found.name, made)
    if made.finished_at is None:
        response.status_code = 202
        response.headers["location"] = shown["url"]
    return shown


@router.get("/v1/models/{model}/monitors/backtests/{backtest}")
def get_backtest(ctx: Ctx, model: str, backtest: str) -> dict[str, Any]:
    """How far a back-test is, and its result; the 50 newest of a model are kept."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        return backtest_json(found.name, tasks.get(connection, found.id, backtests.KIND, backtest))


@router.get("/v1/models/{model}/monitors")
def list_monitors(ctx: Ctx, model: str) -> dict[str, Any]:
    """The monitors of a model by name, at most 100, each with what its last window came to."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        listed = watched.list_monitors(connection, found.id)
    return {"items": [monitor_json(one) for one in listed], "next_cursor": None}


@router.get("/v1/models/{model}/monitors/{name}")
def get_monitor(ctx: Ctx, model: str, name: str) -> dict[str, Any]:
    """One monitor with what its last window came to."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        return monitor_json(watched.get_monitor(connection, found.id, name))


@router.put("/v1/models/{model}/monitors/{name}", openapi_extra=schema_of(RULE, ["conditions"]), responses={201: {}})
def put_monitor(ctx: Ctx, response: Response, model: str, name: str, body: JsonObject) -> dict[str, Any]:
    """Make a monitor (201) or replace its rule (200). One that fires goes on until its new rule is not met any more."""
    check_name(name)
    with writing(ctx.engine) as connection:
        found = locked_model(connection, ctx, model)
        made, created = save(connection, ctx, found, name, read_rule(connection, found, body))
    response.status_code = 201 if created else 200
    return monitor_json(made)


@router.delete("/v1/models/{model}/monitors/{name}", status_code=204)
def delete_monitor(ctx: Ctx, model: str, name: str) -> Response:
    """Remove a monitor; its open alert is resolved."""
    with writing(ctx.engine) as connection:
        remove(connection, ctx, locked_model(connection, ctx, model), name)
    return Response(status_code=204)


def locked_model(connection: Connection, ctx: Context, name: str) -> Model:
    """The model of that name, with its evaluation held until the transaction ends."""
    found = catalog.get_model(connection, ctx.principal.project_id, name)
    if profiles.lock_watermark(connection, found.id) is None:
        raise Invalid("the model is gone")
    return found


def save(connection: Connection, ctx: Context, model: Model, name: str, rule: Rule) -> tuple[Monitor, bool]:
    """Make or change a monitor in the caller's transaction; whether it is new."""
    now, who = clock.now(), ctx.principal.name
    before = watched.find_monitor(connection, model.id, name)
    made, created = watched.put_monitor(connection, model.project_id, model.id, name, rule, now, who)
    if before is None or before.rule != rule:
        what: audit.What = "monitor.made" if created else "monitor.changed"
        audit.note(connection, model.project_id, now, who, what, f"{model.name}/{name}", rule_told(rule))
    return made, created


def remove(connection: Connection, ctx: Context, model: Model, name: str) -> None:
    """Remove a monitor, and resolve its open alert.

    Raises:
        NotFound: the model has none of that name.
    """
    found = watched.get_monitor(connection, model.id, name)
    now, who = clock.now(), ctx.principal.name
    watched.delete_monitor(connection, found)
    audit.note(connection, model.project_id, now, who, "monitor.deleted", f"{model.name}/{name}", rule_told(found.rule))
    current = alerts.open_alert(connection, model.id, found.family)
    if current is not None:
        transition.resolve(connection, model.project_id, current.id, who, now, ctx.settings.public_url)
