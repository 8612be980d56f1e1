"""Slices of rows in which the loss rose: searched in the background, read, and followed as segments."""

from typing import Any

from fastapi import APIRouter, Response

from monitor import clock, slices
from monitor.api.deps import Ctx, Cursor, JsonObject, Limit, OptionalJsonObject
from monitor.api.monitors import schema_of
from monitor.errors import Invalid
from monitor.evaluate.slicing import PREVIOUS, REFERENCE
from monitor.store import catalog, tasks
from monitor.store.body import printable, unknown
from monitor.store.session import reading, writing
from monitor.store.tasks import Task

router = APIRouter(tags=["slices"])

_TIME = {"type": "string", "format": "date-time"}
_ASKED = schema_of({"from": _TIME, "to": _TIME, "against": {"enum": [REFERENCE, PREVIOUS]}}, [])
_ASKED["requestBody"]["required"] = False
_FOLLOW = schema_of({"slice": {"type": "integer", "minimum": 0}, "name": {"type": ["string", "null"]}}, ["slice"])


def show(model: str, task: Task) -> dict[str, Any]:
    """A search as the API shows it."""
    asked = task.asked
    return {
        "id": task.id,
        "from": clock.render(asked["from_at"]),
        "to": clock.render(asked["to_at"]),
        "against": asked["against"],
        "state": task.state,
        "stage": task.stage,
        "progress": task.progress,
        "error": task.error,
        "created_at": clock.render(task.created_at),
        "finished_at": None if task.finished_at is None else clock.render(task.finished_at),
        "url": f"/v1/models/{model}/slices/{task.id}",
        "result": task.answer or None,
    }


@router.post("/v1/models/{model}/slices", status_code=202, openapi_extra=_ASKED)
def search_slices(ctx: Ctx, response: Response, model: str, body: OptionalJsonObject) -> dict[str, Any]:
    """Search slices of one feature or two in which the loss rose; 202 and where to ask for the answer.

    By default the last two weeks whose outcomes are due are compared with the reference; `against` "previous" compares
    with the stretch before, equally long. With a chance of at most 5 % does an answer hold any slice whose loss did not
    rise, however many were searched.
    """
    wall = clock.now()
    with writing(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        asked = slices.read(connection, found, body, catalog.model_now(connection, found, wall))
        made = slices.ask(connection, found, asked, wall)
    shown = show(found.name, made)
    response.headers["location"] = shown["url"]
    return shown


@router.get("/v1/models/{model}/slices")
def list_searches(ctx: Ctx, model: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """The searches of a model, newest first; the 50 newest are kept."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        listed = tasks.listed(connection, found.id, slices.KIND, limit + 1, cursor)
    shown = [show(found.name, one) for one in listed[:limit]]
    return {"items": shown, "next_cursor": shown[-1]["id"] if len(listed) > limit else None}


@router.get("/v1/models/{model}/slices/{search}")
def get_search(ctx: Ctx, model: str, search: str) -> dict[str, Any]:
    """How far a search is, and what it found: effect with its 95 % interval, adjusted p, rows, and the terms."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        return show(found.name, tasks.get(connection, found.id, slices.KIND, search))


@router.post("/v1/models/{model}/slices/{search}/follow", openapi_extra=_FOLLOW)
def follow_slice(ctx: Ctx, model: str, search: str, body: JsonObject) -> dict[str, Any]:
    """Make a slice that was found a segment of the model, `NAME:in`: it then has numbers and evidence of its own.

    It becomes part of the model's settings (`slices`); the rows that are still kept are counted again.
    """
    place, name = body.pop("slice", None), body.pop("name", None)
    if not isinstance(place, int) or isinstance(place, bool):
        raise Invalid.field("slice", "must be the place of a slice in the answer, from 0")
    if name is not None and not isinstance(name, str):
        raise Invalid.field("name", "must be a text")
    if body:
        field = next(iter(body))
        raise Invalid.field(printable(field), unknown(field, ("slice", "name")))
    with writing(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        now, who = clock.now(), ctx.principal.name
        chosen, made = slices.follow(connection, found, search, place, name, now, who)
        return {"segment": f"{chosen}:in", "slices": made.config.to_dict()["slices"]}
