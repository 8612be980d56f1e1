"""The one gate in front of every route, mounts and unknown addresses included.

In this order: a clean path, a Host that is ours, who asks and whether they may, where a browser's request comes from,
the size of the body. What passes is measured; what raises beyond the routes' handlers becomes a 500 with an id.
"""

import random
import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor import clock, log, telemetry
from monitor.api import problems
from monitor.api.auth import SAFE, KeyRing, Principal, required_scope, sent_session
from monitor.api.headers import guarded
from monitor.api.hosts import is_clean, is_own, nul_parameter, own_hosts, same_origin
from monitor.api.sharing import PREFIX, open_link
from monitor.errors import Forbidden, Invalid, Problem, TooLarge, Unreadable
from monitor.settings import Settings

ENDLESS = re.compile(r"/v1/models/[^/]+/(?:predictions|outcomes|reference)")
_REMEMBERED, _REMEMBERED_BYTES = 1000, 300
_ROUTES_OF_MACHINES = ("/v1/", "/metrics", "/openapi.json")


class Gate:
    """ASGI middleware; the principal of a request that passes is `scope["principal"]`."""

    def __init__(self, app: ASGIApp, ring: KeyRing, settings: Settings, hosts: Iterable[str] = ()) -> None:
        self.app = app
        self.ring = ring
        self.public_url = settings.public_url
        self.max_body = settings.max_body
        self.hosts = own_hosts(settings.public_url, hosts)
        self.passed: set[tuple[bytes, bytes]] = set()  # addresses that were looked at: most requests come to a few

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = clock.monotonic()
        request_id = f"{random.getrandbits(64):016x}"  # no secret; the system's noise would let other threads go first
        path, method = own_path(scope), scope["method"]
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        send_out = guarded(watched, path, request_id, https=self.public_url.startswith("https://"))
        before = log.request_id.set(request_id)
        try:
            endless = is_endless(scope, path, method)
            refusal = await self._refusal(scope, path, method, endless)
            if refusal is None:
                await self.app(scope, receive if endless else _limited(receive, self.max_body), send_out)
            else:
                await refusal(scope, receive, send_out)
        except Exception as error:  # the last resort: a client gets an answer, the log gets the error
            response = problems.respond(error, path, method)
            if status == 0:
                await response(scope, receive, send_out)
        finally:
            telemetry.observe_request(method, scope.get("route"), status, clock.monotonic() - began)
            log.request_id.reset(before)

    async def _refusal(self, scope: Scope, path: str, method: str, endless: bool) -> Response | None:
        """The answer to a request that may not pass."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            address = (scope.get("raw_path") or scope["path"].encode(), headers.get(b"host", b""))
            if address not in self.passed:
                self._check_address(*address)
            if (name := nul_parameter(scope.get("query_string", b""))) is not None:
                raise Invalid.field(name, "must not contain a NUL character")
            refusal = await self._rights(scope, path, method, headers)
            if refusal is None:
                self._check_length(headers, endless)
            return refusal
        except Problem as problem:
            return problems.answer(problem)

    def _check_address(self, raw_path: bytes, host: bytes) -> None:
        """Raise for a path of two readings and for a Host that is not ours; remember what is neither."""
        if not is_clean(raw_path):
            raise Unreadable("the path holds an escaped slash, dots, or a control character")
        if not is_own(host.decode("latin-1"), self.hosts):
            raise Unreadable("this Host is not ours: KEEPWATCH_PUBLIC_URL says under which name people reach us")
        if len(raw_path) + len(host) <= _REMEMBERED_BYTES:
            if len(self.passed) >= _REMEMBERED:
                self.passed.clear()
            self.passed.add((raw_path, host))

    async def _rights(self, scope: Scope, path: str, method: str, headers: dict[bytes, bytes]) -> Response | None:
        if path.startswith(PREFIX):
            shown = await run_in_threadpool(open_link, self.ring.engine, scope, path)
            if shown is not None:
                scope["principal"] = shown
            return None
        needed = required_scope(method, path)
        if needed is None:
            if method not in SAFE and not same_origin(headers, self.public_url, required=False):
                raise Forbidden("a page of another site sent this")
            return None
        principal = await self._principal(headers)
        if principal is None:
            if method == "GET" and is_page(path) and b"text/html" in headers.get(b"accept", b""):
                return RedirectResponse(f"{scope.get('root_path', '')}/login{_wanted(scope, path)}", 303)
            return problems.unauthorized(headers.get(b"authorization", b"").decode("latin-1"))
        if not principal.may(needed):
            raise Forbidden(f"this needs a key of scope {needed}, and this one has {principal.scope}")
        ambient = method not in SAFE and principal.via != "bearer"  # a browser sends it along by itself
        if ambient and not same_origin(headers, self.public_url, required=principal.via == "session"):
            raise Forbidden("a page of another site sent this")
        scope["principal"] = principal
        return None

    async def _principal(self, headers: dict[bytes, bytes]) -> Principal | None:
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        cookie = headers.get(b"cookie", b"").decode("latin-1")
        if authorization and (known := self.ring.recent(authorization)) is not None:
            return known
        if self.ring.is_fresh(authorization, cookie):
            return self._look_up(authorization, cookie)
        return await run_in_threadpool(self._look_up, authorization, cookie)

    def _look_up(self, authorization: str, cookie: str) -> Principal | None:
        if authorization:
            return self.ring.by_header(authorization)
        token = sent_session(cookie)
        return None if token is None else self.ring.by_session(token)

    def _check_length(self, headers: dict[bytes, bytes], endless: bool) -> None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise Unreadable("the Content-Length is not a number")
        if len(length) > 18 or (int(length) > self.max_body and not endless):
            raise TooLarge(f"a body may have {self.max_body} bytes: send it in parts")


def _wanted(scope: Scope, path: str) -> str:
    """The query of the log-in page that leads back to where a browser wanted to go."""
    query = scope.get("query_string", b"").decode("latin-1")
    target = quote(path) + (f"?{query}" if query else "")
    return "" if target == "/" else "?" + urlencode({"next": target})


def _limited(receive: Receive, limit: int) -> Receive:
    """A `receive` that stops at a body larger than announced or allowed."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > limit:
                raise HTTPException(413)
        return message

    return counted


def own_path(scope: Scope) -> str:
    """The path below the root path, as the routes see it."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :] or "/"
    return path


def is_endless(scope: Scope, path: str, method: str) -> bool:
    """Whether a body may have any length: rows, a line each, are committed as they come and never held as a whole."""
    if method not in ("POST", "PUT") or not ENDLESS.fullmatch(path):
        return False
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return bool(kind.partition(b";")[0].strip().lower() == b"application/x-ndjson")


def is_page(path: str) -> bool:
    """Whether people look at that address, and not machines."""
    return not path.startswith(_ROUTES_OF_MACHINES)
