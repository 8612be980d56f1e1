"""The two ingest routes beside FastAPI's routing, which would take longer than the row that it brings here.

They are declared like all the others (`api/ingest`), and so are in /openapi.json and on the docs page; what they answer
is the same function's. Only the way from the gate to it is shorter: no search among the routes, no injected arguments.
With a query the way is the usual one, where parameters are checked. What is raised here the gate answers, as it does
behind every route.
"""

import re
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.api.gate import own_path

_PATH = re.compile(r"/v1/models/([^/]+)/(predictions|outcomes)")

Handler = Callable[[str, Request], Awaitable[Response]]


class HotRoutes:
    """ASGI middleware right behind the gate.

    Args:
        handlers: by the last part of the path: the route as it is declared, after which metrics are named, and its
            function.
    """

    def __init__(self, app: ASGIApp, handlers: Mapping[str, tuple[BaseRoute, Handler]]) -> None:
        self.app = app
        self.handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plain = scope["type"] == "http" and scope["method"] == "POST" and not scope["query_string"]
        match = _PATH.fullmatch(own_path(scope)) if plain else None
        if match is None:
            await self.app(scope, receive, send)
            return
        scope["route"], handler = self.handlers[match[2]]
        response = await handler(match[1], Request(scope, receive))
        await response(scope, receive, send)
