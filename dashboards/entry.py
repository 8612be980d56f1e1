"""The way in and out: the log-in page, log-out, and the static files, which need no session."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards import assets
from dashboards.render import page
from dashboards.visit import Form, Page, PageRoute, bare_frame
from monitor import clock
from monitor.api import auth
from monitor.errors import NotFound
from monitor.store.session import writing

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/login")
def login_page(request: Request, token: str = "") -> Response:
    """One button that sends the token: opening the link alone (a preview, a scanner) does not use it up."""
    return page("login.html", bare_frame(request), token=token, failed=False)


@router.post("/login")
def login(request: Request, fields: Form) -> Response:
    state, token = request.app.state, fields.get("token", "")
    frame = bare_frame(request)
    with writing(state.engine) as connection:
        session = auth.exchange_login(connection, token, clock.now()) if token else None
    if session is None:
        return page("login.html", frame, 401, token="", failed=True)
    answer = RedirectResponse(frame.links.home(), 303)
    answer.headers["set-cookie"] = auth.session_cookie(session, state.settings)
    return answer


@router.post("/logout")
def logout(request: Request, visit: Page) -> Response:
    token = request.cookies.get(auth.COOKIE)
    if token:
        with writing(visit.ctx.engine) as connection:
            auth.end_session(connection, token)
    ring = getattr(request.app.state, "ring", None)
    if ring is not None:
        ring.forget()
    answer = RedirectResponse(visit.links.login(), 303)
    answer.headers["set-cookie"] = auth.session_cookie(None, visit.ctx.settings)
    return answer


@router.get("/static/{path}")
def static(request: Request, path: str) -> Response:
    found = assets.response(path, request.headers.get("accept-encoding", ""))
    if found is None:
        raise NotFound("there is no such file")
    return found
