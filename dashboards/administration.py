"""Pages about the installation: its health, and for administrators its keys, its settings and who did what."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import RedirectResponse, Response

from dashboards.mistakes import PageRoute
from dashboards.pages import access
from dashboards.pages import doctor as doctor_page
from dashboards.render import page
from dashboards.visit import Form, Page, Visit
from monitor import clock
from monitor.store.session import reading, writing

REFRESH = 60  # seconds

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/settings")
def settings(visit: Page) -> Response:
    return _settings(visit)


def _settings(visit: Visit, made: str = "") -> Response:
    ctx = visit.ctx
    with reading(ctx.engine) as connection:
        found = access.load(connection, ctx.settings, visit.project_id, made)
        frame = visit.frame(connection, "settings")
    return page("settings.html", frame, page=found)


@router.post("/settings/keys")
def make_key(visit: Page, fields: Form) -> Response:
    """A new key; its secret stands in this answer alone."""
    with writing(visit.ctx.engine) as connection:
        made = access.make(connection, visit.project_id, fields, clock.now(), visit.ctx.principal.name)
    return _settings(visit, made)


@router.post("/settings/keys/{key}/revoke")
def revoke_key(visit: Page, key: str) -> Response:
    with writing(visit.ctx.engine) as connection:
        access.revoke(connection, visit.project_id, key, clock.now(), visit.ctx.principal.name)
    return RedirectResponse(visit.links.settings() + "#keys", 303)


@router.get("/audit")
def audit(visit: Page, after: Annotated[str | None, Query(max_length=140)] = None) -> Response:
    with reading(visit.ctx.engine) as connection:
        found = access.log(connection, visit.project_id, after)
        frame = visit.frame(connection, "settings")
    return page("audit.html", frame, page=found)


@router.get("/doctor")
def doctor(visit: Page) -> Response:
    ctx = visit.ctx
    found = doctor_page.load(ctx.engine, ctx.settings, visit.project_id, clock.now())
    with reading(ctx.engine) as connection:
        frame = visit.frame(connection, "doctor", REFRESH)
    return page("doctor.html", frame, page=found)
