"""The addresses of slices: searches, what they found, and what is followed."""

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from dashboards.mistakes import PageRoute
from dashboards.pages import slices as shown
from dashboards.render import page
from dashboards.visit import Form, Page
from monitor import clock
from monitor.slices import unfollow
from monitor.store.catalog import get_model, model_now
from monitor.store.session import reading, writing

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/models/{model}/slices")
def slices(visit: Page, model: str) -> Response:
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        found = shown.load(connection, known, model_now(connection, known, clock.now()))
        frame = visit.frame(connection, "models")
    return page("slices.html", frame, page=found)


@router.post("/models/{model}/slices")
def search_slices(visit: Page, model: str, fields: Form) -> Response:
    with writing(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        made = shown.ask(connection, known, fields, clock.now())
    return RedirectResponse(visit.links.search(model, made), 303)


@router.post("/models/{model}/slices/unfollow")
def unfollow_slice(visit: Page, model: str, fields: Form) -> Response:
    with writing(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        unfollow(connection, known, fields.get("name", ""), clock.now(), visit.ctx.principal.name)
    return RedirectResponse(visit.links.slices(model), 303)


@router.get("/models/{model}/slices/{search}")
def search(visit: Page, model: str, search: str) -> Response:
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        found = shown.load_search(connection, known, search)
        frame = visit.frame(connection, "models", 0 if found.done else 2)
    return page("search.html", frame, page=found)


@router.post("/models/{model}/slices/{search}/follow")
def follow_slice(visit: Page, model: str, search: str, fields: Form) -> Response:
    with writing(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        shown.follow_one(connection, known, search, fields, clock.now(), visit.ctx.principal.name)
    return RedirectResponse(visit.links.search(model, search), 303)
