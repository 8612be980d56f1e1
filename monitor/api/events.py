"""Events of a model: marks on its charts, and stretches that stay out of references and evidence."""

from typing import Any

from fastapi import APIRouter, Response

from monitor import clock
from monitor.api.deps import Ctx, Cursor, JsonObject, Limit
from monitor.api.paging import place, token
from monitor.evaluate import events as of_models
from monitor.store import catalog, events
from monitor.store.events import Event
from monitor.store.session import reading, writing

router = APIRouter(tags=["events"])

_TIME = {"type": "string", "format": "date-time"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["kind", "from"],
                    "additionalProperties": False,
                    "properties": {
                        "kind": {"enum": list(events.KINDS)},
                        "from": _TIME,
                        "to": {
                            **_TIME,
                            "description": "required for known_bad",
                        },
                        "text": {"type": "string", "maxLength": of_models.MAX_TEXT},
                    },
                }
            }
        },
    }
}


def event_json(event: Event) -> dict[str, Any]:
    """An event as the API shows it."""
    return {
        "id": event.id,
        "kind": event.kind,
        "from": clock.render(event.from_at),
        "to": None if event.to_at is None else clock.render(event.to_at),
        "text": event.text,
        "created_at": clock.render(event.created_at),
        "created_by": event.created_by,
    }


@router.post("/v1/models/{model}/events", status_code=201, openapi_extra=_BODY)
def post_event(ctx: Ctx, model: str, body: JsonObject) -> dict[str, Any]:
    """Mark a deployment, an incident, or a stretch that is known to be bad.

    Windows that touch a known-bad stretch give no evidence, and references made from then on leave its rows out. What
    was judged before stays: `judged_windows` counts such windows, `references` names the references that hold rows of
    the stretch, and `note` says what to do.
    """
    asked = of_models.read_event(body)
    with writing(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        added = of_models.add(connection, found, asked, clock.now(), ctx.principal.name)
    return {
        **event_json(added.event),
        "judged_windows": added.judged_windows,
        "references": list(added.references),
        "note": added.note,
    }


@router.get("/v1/models/{model}/events")
def list_events(ctx: Ctx, model: str, limit: Limit = 100, cursor: Cursor = None) -> dict[str, Any]:
    """The events of a model, the latest begun first."""
    after = place(cursor)
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        listed = events.list_events(connection, found.id, limit + 1, after)
    last = listed[limit - 1] if len(listed) > limit else None
    following = token(None if last is None else (last.from_at, last.id))
    return {"items": [event_json(one) for one in listed[:limit]], "next_cursor": following}


@router.get("/v1/models/{model}/events/{event}")
def get_event(ctx: Ctx, model: str, event: str) -> dict[str, Any]:
    """One event."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        return event_json(events.get_event(connection, found.id, event))


@router.delete("/v1/models/{model}/events/{event}", status_code=204)
def delete_event(ctx: Ctx, model: str, event: str) -> Response:
    """Forget an event. Windows that passed while it kept them from giving evidence do not give it afterwards."""
    with writing(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        of_models.remove(connection, found, event, clock.now(), ctx.principal.name)
    return Response(status_code=204)
