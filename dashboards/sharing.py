"""Sharing a page: the list of links, making and revoking one, and what a link that has ended shows.

A link that is open never comes here: the gate has led it to its page (monitor/api/sharing.py).
"""

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from dashboards.mistakes import PageRoute
from dashboards.pages import shares as shares_page
from dashboards.render import page
from dashboards.visit import Form, Page, Visit
from monitor import clock
from monitor.errors import NotFound
from monitor.store import shares
from monitor.store.session import reading, writing

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/shares")
def listed(visit: Page) -> Response:
    return _page(visit)


@router.post("/shares")
def create(visit: Page, fields: Form) -> Response:
    """The new link stands on the page that answers: it is shown once."""
    with writing(visit.ctx.engine) as connection:
        token = shares_page.create(connection, visit.project_id, fields, clock.now(), visit.ctx.principal.name)
    return _page(visit, visit.base_url.removesuffix(visit.links.root) + visit.links.link(token))


@router.post("/shares/{share}/revoke")
def revoke(visit: Page, share: str) -> Response:
    with writing(visit.ctx.engine) as connection:
        shares.revoke(connection, visit.project_id, share, clock.now(), visit.ctx.principal.name)
    return RedirectResponse(visit.links.shares(), 303)


@router.get("/shared/{link:path}")
def ended(link: str) -> Response:
    raise NotFound("this link has ended, or there never was one: ask who sent it for a new one")


def _page(visit: Visit, fresh: str = "") -> Response:
    with reading(visit.ctx.engine) as connection:
        found = shares_page.load(connection, visit.project_id, clock.now(), visit.links.root, fresh)
        frame = visit.frame(connection, "shares")
    return page("shares.html", frame, page=found)
