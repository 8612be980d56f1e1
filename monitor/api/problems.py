"""Every error leaves as RFC 9457 `application/problem+json`, and never repeats what the client sent."""

import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy import exc as database
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from monitor import log
from monitor.errors import (
    Invalid,
    NotAllowed,
    NotFound,
    Overloaded,
    Problem,
    SetupError,
    TooLarge,
    Unauthorized,
    Unreadable,
)

TYPE = "application/problem+json"
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
RETRY_AFTER = 2  # seconds

_log = log.get(__name__)
_GONE = (database.OperationalError, database.InterfaceError, database.TimeoutError, database.DisconnectionError)
_KNOWN: dict[int, type[Problem]] = {404: NotFound, 405: NotAllowed, 413: TooLarge}
_DETAILS = {
    404: "there is nothing at this address: /openapi.json lists the routes",
    405: "this address does not know that method",
    413: "the body is larger than KEEPWATCH_MAX_BODY_MB allows",
}


def render(problem: Problem, **more: Any) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of a problem."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        **more,
    }
    if problem.errors:
        content["errors"] = problem.errors
    headers = {"content-type": TYPE}
    retry_after = problem.retry_after
    if problem.status in (429, 503):
        retry_after = retry_after or RETRY_AFTER
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    if problem.allow:
        headers["allow"] = ", ".join(problem.allow)
    if problem.status == 401:
        headers["www-authenticate"] = 'Bearer realm="keepwatch"'
    return problem.status, orjson.dumps(content), headers


def answer(problem: Problem, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """A problem as a response."""
    status, body, own = render(problem, **more)
    return Response(body, status, {**own, **(headers or {})})


def translate(error: Exception) -> Problem:
    """The problem that an exception is to the client; anything unforeseen is a 500 without details."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _of_status(error.status_code)
    if isinstance(error, ClientDisconnect):
        return Unreadable("the connection ended before the body did")
    if isinstance(error, _GONE) or (isinstance(error, database.DBAPIError) and error.connection_invalidated):
        return Overloaded("the database does not answer: try again", retry_after=RETRY_AFTER)
    if isinstance(error, SetupError):
        return Overloaded("the installation is not ready: its log says why", retry_after=RETRY_AFTER)
    return Problem("an unforeseen error; the log of the server has it under this id")


def _of_status(status: int) -> Problem:
    kind = _KNOWN.get(status, Problem)
    problem = kind(_DETAILS.get(status, "the request could not be read" if status < 500 else "try again later"))
    if kind is Problem:
        problem.status = status
        problem.title = HTTPStatus(status).phrase
    return problem


def _invalid(error: RequestValidationError) -> Problem:
    errors = []
    for one in error.errors():
        place = [str(part) for part in one.get("loc", ())]
        if place[:1] == ["body"] and one.get("type") == "json_invalid":
            problem = Problem("the body is not JSON")
            problem.status, problem.title = 400, "The body could not be read"
            return problem
        field = ".".join(place[1:] or place)[:100] or "body"
        errors.append({"field": field, "detail": _reason(one)})
    first = errors[0] if errors else {"field": "body", "detail": "is not valid"}
    return Invalid(f"{first['field']}: {first['detail']}", errors=errors[:100])


def _reason(error: Mapping[str, Any]) -> str:
    """What pydantic found, in words that hold nothing of the input."""
    kind = str(error.get("type", ""))
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is not a field that is known here"
    context = error.get("ctx") or {}
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "literal_error":
        return f"must be one of {str(context['expected']).replace(' or ', ', ')}"
    limits = [f"{words} {context[name]}" for name, words in _LIMITS.items() if name in context]
    return " and ".join(limits) or "is not valid"


_WORDS = {
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "string_too_short": "must not be empty",
}
_LIMITS = {
    "ge": "must be at least",
    "gt": "must be above",
    "le": "must be at most",
    "lt": "must be below",
    "max_length": "must have at most so many characters:",
}
Shown = Callable[[Request, Problem], Response | None]


def respond(error: Exception, path: str, method: str) -> Response:
    """The answer to an exception; what only we can mend is logged, under the id that the answer carries."""
    problem = translate(error)
    headers = getattr(error, "headers", None) if isinstance(error, HTTPException) else None
    if problem.status == 500:
        error_id = secrets.token_hex(8)
        _log.error("request_failed", id=error_id, method=method, path=path, exc_info=error)
        return answer(problem, id=error_id)
    if isinstance(error, database.SQLAlchemyError | SetupError):
        _log.error("request_refused", method=method, path=path, reason=type(error).__name__, error=_first_line(error))
    return answer(problem, headers)


def _first_line(error: Exception) -> str:
    """What the database said, without the statement and its values."""
    origin = getattr(error, "orig", None) or error
    return str(origin).split("\n", 1)[0][:200]


def install(app: FastAPI, shown: Shown | None = None) -> None:
    """Answer every exception of the app's routes with a problem.

    Args:
        shown: the page of an address that does not exist or does not know the method, None for who did not ask for one.
    """

    async def handle(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            error = _not_allowed(request)
        if shown is not None and isinstance(error, HTTPException | NotAllowed):
            problem = error if isinstance(error, NotAllowed) else _of_status(error.status_code)
            response = shown(request, problem) if problem.status in (404, 405) else None
            if response is not None:
                if problem.allow:
                    response.headers["allow"] = ", ".join(problem.allow)
                return response
        return respond(error, request.scope.get("path", ""), request.method)

    for kind in (Problem, HTTPException, RequestValidationError, database.SQLAlchemyError, SetupError):
        app.add_exception_handler(kind, handle)


def _not_allowed(request: Request) -> NotAllowed:
    """What says which methods an address has: those of every route of its path, not of the first one alone."""
    asked = request.scope
    allow = [
        method
        for method in _METHODS
        if any(route.matches({**asked, "method": method})[0] == Match.FULL for route in request.app.routes)
    ]
    return NotAllowed(_DETAILS[405] + (f": it knows {', '.join(allow)}" if allow else ""), allow=allow)


def unauthorized(authorization: str = "") -> Response:
    """The answer to one whom no key lets in; `authorization` is the header as it was sent."""
    if not authorization:
        detail = "send a key: Authorization: Bearer kw_…"
    elif authorization.lower().startswith("bearer "):
        detail = "this key is not known here, or was revoked"
    else:
        detail = "the header must be: Authorization: Bearer kw_…"
    return answer(Unauthorized(detail))
