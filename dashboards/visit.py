"""One request for a page: who looks, how links begin, which theme; and errors shown as pages."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from fastapi import Depends
from fastapi.routing import APIRoute
from sqlalchemy.engine import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards.links import Links, own
from dashboards.render import Frame, compressed, page
from monitor.api.auth import Principal
from monitor.api.deps import Ctx
from monitor.api.gate import is_page, own_path
from monitor.api.sharing import MAY_BE_SHARED
from monitor.errors import Problem, TooLarge, Unauthorized
from monitor.store import overview

THEME_COOKIE = "keepwatch_theme"
LONGEST_FORM = 10_000  # bytes


def bare_frame(request: Request) -> Frame:
    """The frame of a page that stands before log-in, or of an error."""
    principal = request.scope.get("principal")
    chosen = request.cookies.get(THEME_COOKIE, "")
    path, query = own_path(request.scope), request.url.query
    return Frame(
        links=Links(str(request.scope.get("root_path", "")).rstrip("/"), request.scope.get("shared")),
        theme=chosen if chosen in ("light", "dark") else "",
        viewer=principal.name if isinstance(principal, Principal) else "",
        address=f"{quote(path)}?{query}" if MAY_BE_SHARED.fullmatch(quote(path)) else "",
    )


def error_page(request: Request, problem: Problem) -> Response | None:
    """A problem as a page, for a browser at an address that is not the API's."""
    if not is_page(own_path(request.scope)) or "text/html" not in request.headers.get("accept", ""):
        return None
    detail = problem.detail if problem.status != 404 else "there is nothing at this address"
    return page("error.html", bare_frame(request), problem.status, problem=type(problem)(detail))


def wanted(request: Request) -> str:
    """The address that was asked for, below the path that the service is mounted at, to come back to after log-in."""
    path, query = quote(own_path(request.scope)), request.url.query
    target = path + (f"?{query}" if query else "")
    return own(target) if request.method == "GET" and target != "/" else ""


@dataclass(frozen=True)
class Visit:
    """What every page is given: the API's context, and the frame around the page."""

    ctx: Ctx
    bare: Frame
    base_url: str

    @property
    def links(self) -> Links:
        return self.bare.links

    @property
    def project_id(self) -> int:
        return self.ctx.principal.project_id

    def frame(self, connection: Connection, section: str, refresh: int = 0) -> Frame:
        """The frame with the number of open alerts; one query."""
        counts = overview.open_alert_counts(connection, self.project_id)
        return replace(
            self.bare,
            may_write=self.ctx.principal.may("admin"),
            firing=sum(counts.values()),
            open_of=counts,
            section=section,
            refresh=refresh,
        )


def visit(request: Request, ctx: Ctx) -> Visit:
    """The dependency behind `Page`."""
    base = ctx.settings.public_url or str(request.base_url)
    return Visit(ctx, bare_frame(request), base.rstrip("/"))


Page = Annotated[Visit, Depends(visit)]


async def form(request: Request) -> dict[str, str]:
    """The fields of a form as the browser sends it; of repeated ones the first.

    Raises:
        TooLarge: more than 10 kB.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            raise TooLarge("this form is too large")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=50)
    return {name: values[0] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(form)]

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose errors are pages for people; who is not logged in is shown where to."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def with_error_pages(request: Request) -> Response:
            try:
                return compressed(await handle(request), request.headers.get("accept-encoding", ""))
            except Unauthorized:
                return RedirectResponse(bare_frame(request).links.login(wanted(request)), 303)
            except Problem as problem:
                return page("error.html", bare_frame(request), problem.status, problem=problem)

        return with_error_pages
