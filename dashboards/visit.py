"""One request for a page: who looks, how links begin, which theme. Errors are pages too (mistakes.py)."""

from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import parse_qs, quote

from fastapi import Depends
from sqlalchemy.engine import Connection
from starlette.requests import Request

from dashboards.links import Links, own
from dashboards.render import Frame
from monitor.api.auth import Principal
from monitor.api.deps import Ctx
from monitor.api.gate import own_path
from monitor.api.sharing import MAY_BE_SHARED
from monitor.errors import TooLarge
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
