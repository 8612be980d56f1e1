"""What every endpoint is given: the engine, the settings, and who asks.

An endpoint takes `ctx: Ctx`; a page may use the same. Who asks was decided before, by `api/gate.py`.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query
from sqlalchemy.engine import Engine
from starlette.requests import Request

from monitor.api.auth import Principal
from monitor.errors import Invalid, Unauthorized, Unreadable, UnsupportedEncoding
from monitor.ingest.wording import not_json
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import catalog
from monitor.store.session import reading


@dataclass(frozen=True)
class Context:
    """The request's surroundings; `principal` has .project_id, .scope and .name; `writer` is that of ingest, if any."""

    engine: Engine
    settings: Settings
    principal: Principal
    writer: Writer | None = None


def context(request: Request) -> Context:
    """The dependency behind `Ctx`.

    Raises:
        Unauthorized: the gate let nobody in (a public path that asks for a context).
    """
    principal = request.scope.get("principal")
    if not isinstance(principal, Principal):
        raise Unauthorized("send a key: Authorization: Bearer kw_…")
    state = request.app.state
    return Context(state.engine, state.settings, principal, state.writer)


Ctx = Annotated[Context, Depends(context)]


def load_model(ctx: Context, name: str) -> catalog.Model:
    """The model of that name in the project of the one who asks.

    Raises:
        NotFound: there is none, also when another project has one.
    """
    with reading(ctx.engine) as connection:
        return catalog.get_model(connection, ctx.principal.project_id, name)


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        UnsupportedEncoding: another content type.
        Unreadable: not JSON.
        Invalid: JSON, but no object.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise UnsupportedEncoding("send application/json")
    raw = await request.body()
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Unreadable(not_json(raw)) from None
    if not isinstance(body, dict):
        raise Invalid("the body must be a JSON object")
    return body


async def optional_json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object, and an empty body as an empty object."""
    return await json_object(request) if await request.body() else {}


JsonObject = Annotated[dict[str, Any], Depends(json_object)]
OptionalJsonObject = Annotated[dict[str, Any], Depends(optional_json_object)]
Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
Cursor = Annotated[str | None, Query(max_length=300, description="`next_cursor` of the page before")]
