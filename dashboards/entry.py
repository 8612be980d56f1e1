"""The way in and out: the log-in page, log-out, and the static files, which need no session."""

from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards import assets
from dashboards.links import own
from dashboards.mistakes import PageRoute
from dashboards.render import page
from dashboards.visit import Form, Page, bare_frame
from monitor import clock
from monitor.api import auth
from monitor.errors import NotFound
from monitor.store.session import writing

router = APIRouter(include_in_schema=False, route_class=PageRoute)


NEXT_COOKIE = "keepwatch_next"  # where who logs in wanted to go, while the log-in link is fetched
NEXT_SECONDS = 900


@router.get("/login")
def login_page(request: Request, token: str = "", next_: Annotated[str, Query(alias="next")] = "") -> Response:
    """One button that sends the token: opening the link alone (a preview, a scanner) does not use it up.

    The link knows nothing of the page that somebody wanted (`next`): a cookie keeps it, for the log-in page alone.
    """
    frame = bare_frame(request)
    kept = own(next_) or own(unquote(request.cookies.get(NEXT_COOKIE, "")))
    answer = page("login.html", frame, token=token, next=kept, failed=False)
    if own(next_):
        answer.set_cookie(
            NEXT_COOKIE,
            quote(next_, safe=""),
            max_age=NEXT_SECONDS,
            path=frame.links.login(),
            secure=request.app.state.settings.public_url.startswith("https://"),
            httponly=True,
            samesite="lax",
        )
    return answer


@router.post("/login")
def login(request: Request, fields: Form) -> Response:
    state, token = request.app.state, fields.get("token", "")
    frame = bare_frame(request)
    with writing(state.engine) as connection:
        session = auth.exchange_login(connection, token, clock.now()) if token else None
    if session is None:
        return page("login.html", frame, 401, token="", next="", failed=True)
    wanted = own(fields.get("next", ""))
    answer = RedirectResponse(frame.links.root + wanted if wanted else frame.links.home(), 303)
    answer.headers["set-cookie"] = auth.session_cookie(session, state.settings)
    answer.delete_cookie(NEXT_COOKIE, path=frame.links.login(), httponly=True, samesite="lax")
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
