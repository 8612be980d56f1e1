"""Evidently reports of any stretch: asked for, computed in the background, read as HTML in a sandbox."""

from typing import Any

from fastapi import APIRouter, Response

from monitor import clock, reports
from monitor.api.deps import Ctx, Cursor, JsonObject, Limit
from monitor.errors import Conflict, Invalid
from monitor.store import catalog, tasks
from monitor.store.body import printable, unknown
from monitor.store.session import reading, writing

router = APIRouter(tags=["reports"])

# Foreign HTML: its scripts run in an origin of their own, reach no network, and see no cookie.
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["from", "to"],
                    "additionalProperties": False,
                    "properties": {
                        "from": {"type": "string", "format": "date-time"},
                        "to": {"type": "string", "format": "date-time"},
                        "segment": {"type": "string", "description": "NAME:VALUE", "maxLength": 600},
                    },
                }
            }
        },
    }
}


def show(model: str, report: reports.Report) -> dict[str, Any]:
    """A report as the API shows it."""
    url = f"/v1/models/{model}/reports/{report.id}"
    return {
        "id": report.id,
        "from": clock.render(report.from_at),
        "to": clock.render(report.to_at),
        "segment": report.segment or None,
        "state": report.state,
        "progress": report.progress,
        "error": report.error,
        "rows": report.rows,
        "created_at": clock.render(report.created_at),
        "finished_at": None if report.finished_at is None else clock.render(report.finished_at),
        "url": url,
        "html_url": f"{url}/html" if report.state == "done" else None,
    }


@router.post("/v1/models/{model}/reports", status_code=202, openapi_extra=_BODY)
def ask_for_report(ctx: Ctx, response: Response, model: str, body: JsonObject) -> dict[str, Any]:
    """Ask for a report of from <= timestamp < to, and of one segment; 202 and where to ask for it again."""
    segment = body.pop("segment", None) or ""
    if not isinstance(segment, str):
        raise Invalid.field("segment", "must be a text: NAME:VALUE")
    from_at, to_at = (_instant(body, name) for name in ("from", "to"))
    if body:
        field = next(iter(body))
        raise Invalid.field(printable(field), unknown(field, ("from", "to", "segment")))
    if to_at <= from_at:
        raise Invalid.field("to", "must be later than `from`")
    with writing(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        made = reports.ask(connection, found, from_at, to_at, clock.now(), segment)
    shown = show(found.name, made)
    response.headers["location"] = shown["url"]
    return shown


@router.get("/v1/models/{model}/reports")
def list_reports(ctx: Ctx, model: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """The reports of a model, newest first."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        listed = reports.listed(connection, found.id, limit + 1, cursor)
    shown = [show(found.name, one) for one in listed[:limit]]
    return {"items": shown, "next_cursor": shown[-1]["id"] if len(listed) > limit else None}


@router.get("/v1/models/{model}/reports/{report_id}")
def get_report(ctx: Ctx, model: str, report_id: str) -> dict[str, Any]:
    """How far a report is: pending, running, done or failed, with the reason."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        return show(found.name, reports.get(connection, found.id, report_id))


@router.get("/v1/models/{model}/reports/{report_id}/html", response_class=Response)
def get_report_html(ctx: Ctx, model: str, report_id: str) -> Response:
    """The page of a report that is done; 409 before, and when it failed."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        report = reports.get(connection, found.id, report_id)
        page = tasks.document(connection, found.id, report_id)
    if page is None:
        raise Conflict("the report failed" if report.state == "failed" else "the report is not done yet")
    return Response(page, media_type="text/html; charset=utf-8", headers={"content-security-policy": SANDBOX})


def _instant(body: dict[str, Any], name: str) -> int:
    value = body.pop(name, None)
    try:
        return clock.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise Invalid.field(name, str(error)) from None
