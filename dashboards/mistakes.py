"""Errors as pages for people, in the frame of every other page; what an address asks for in vain is told."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards.asked import refuse_mistyped
from dashboards.nearby import Link, nearby
from dashboards.render import Frame, compressed, page
from dashboards.visit import bare_frame, visit, wanted
from monitor.api.deps import context
from monitor.api.gate import is_page, own_path
from monitor.api.problems import translate
from monitor.errors import Invalid, Problem, Unauthorized
from monitor.store.body import printable
from monitor.store.session import reading

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
SECTIONS = {"models": "models", "alerts": "alerts", "silences": "silences", "channels": "channels", "doctor": "doctor"}
SECTIONS |= dict.fromkeys(("settings", "audit"), "settings")


class PageRoute(APIRoute):
    """A route whose errors are pages; who is not logged in is shown where to."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def with_error_pages(request: Request) -> Response:
            try:
                if request.scope["query_string"]:
                    refuse_mistyped(request.scope["query_string"], [one.alias for one in self.dependant.query_params])
                return compressed(await handle(request), request.headers.get("accept-encoding", ""))
            except Unauthorized:
                return RedirectResponse(bare_frame(request).links.login(wanted(request)), 303)
            except (Problem, RequestValidationError) as error:
                return await run_in_threadpool(_page, request, translate(error))

        return with_error_pages


def error_page(request: Request, problem: Problem) -> Response | None:
    """A problem as a page, for a browser at an address that is not the API's."""
    if not is_page(own_path(request.scope)) or "text/html" not in request.headers.get("accept", ""):
        return None
    detail = problem.detail if problem.status != 404 else "there is nothing at this address"
    return _page(request, type(problem)(detail))


def _page(request: Request, problem: Problem) -> Response:
    asked = problem.errors if isinstance(problem, Invalid) and request.method in ("GET", "HEAD") else []
    without = _without(request, {one["field"] for one in asked})
    frame, near = _frame(request, problem)
    return page("error.html", frame, problem.status, problem=problem, asked=asked, without=without, near=near)


def _frame(request: Request, problem: Problem) -> tuple[Frame, list[Link]]:
    """The frame as on other pages, with nothing to share, and where to go from here; bare where the database may be
    what went wrong."""
    bare, path = replace(bare_frame(request), address=""), own_path(request.scope)
    section = SECTIONS.get(path.split("/")[1], "")
    if problem.status >= 500 or not bare.viewer:
        return bare, []
    try:
        with reading(request.app.state.engine) as connection:
            seen = visit(request, context(request))
            near = nearby(connection, seen.project_id, path, seen.links) if problem.status == 404 else []
            return replace(seen.frame(connection, section), address=""), near
    except (Problem, SQLAlchemyError):
        return bare, []


def _without(request: Request, fields: set[str]) -> str:
    """The same address without these parameters; empty where it has none of them."""
    given = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = [(name, text) for name, text in given if printable(name) not in fields]
    if len(kept) == len(given):
        return ""
    links = bare_frame(request).links
    path = links.shared.link if links.shared is not None else links.root + quote(own_path(request.scope))
    return path + (f"?{urlencode(kept)}" if kept else "")
