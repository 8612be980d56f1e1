"""Query parameters that a route does not know are refused: a mistyped `form=` would be an answer about another stretch.

`STRICT` is put before every route of the API when the application is put together, but for those whose senders are not
ours (KServe's and OTLP's may add what they like) and for the addresses of probes, scrapers and pages.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from monitor.errors import Invalid
from monitor.nearest import nearest
from monitor.store.body import printable

MOST_NAMED = 20


async def only_known(request: Request) -> None:
    """The dependency behind `STRICT`; a request without a query costs nothing.

    Raises:
        Invalid: names each unknown parameter, the nearest known one, and all of them.
    """
    if request.scope["query_string"]:
        await run_in_threadpool(_check, request)


STRICT = [Depends(only_known)]


def _check(request: Request) -> None:
    known = _known(request.app.openapi(), request.scope.get("route"), request.method)
    if known is None:
        return
    given = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    unknown = [name for name in dict.fromkeys(name for name, _ in given) if name not in known]
    if unknown:
        errors = [{"field": printable(name), "detail": _told(name, known)} for name in unknown[:MOST_NAMED]]
        raise Invalid(f"{errors[0]['field']}: {errors[0]['detail']}", errors=errors)


def _known(document: dict[str, Any], route: object, method: str) -> list[str] | None:
    """The query parameters of a route as /openapi.json describes them; None for a route that it does not describe."""
    path = document["paths"].get(getattr(route, "path_format", None), {})
    described = path.get(method.lower())
    if described is None:
        return None
    return [one["name"] for one in described.get("parameters", ()) if one["in"] == "query"]


def _told(name: str, known: Sequence[str]) -> str:
    if not known:
        return "is not known here: this route has no parameters"
    near = nearest(name, known)
    meant = f", do you mean {near}?" if near else "."
    return f"is not a parameter of this route{meant} It knows " + ", ".join(known)
