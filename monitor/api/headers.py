"""The headers that every answer carries: what a browser may do with it, and that data is not kept in caches."""

from starlette.types import Message, Send

CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_Headers = list[tuple[bytes, bytes]]

_ALWAYS: _Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_POLICY: _Headers = [(b"content-security-policy", CSP.encode()), (b"x-frame-options", b"DENY")]
_FOR_ANYBODY = (b"cross-origin-resource-policy", b"cross-origin")
_FOR_OURSELVES = (b"cross-origin-resource-policy", b"same-origin")


def may_be_framed(path: str) -> bool:
    """Whether the answer is a report's HTML: the one that sets its own, sandboxed policy."""
    return path.startswith("/v1/models/") and path.endswith("/html") and "/reports/" in path


def may_be_embedded(path: str) -> bool:
    """Whether pages of other sites may show the answer: the badge, a picture that is made for it."""
    return path.endswith("/badge.svg") and path.startswith(("/v1/models/", "/shared/"))


def guarded(send: Send, path: str, request_id: str, *, https: bool) -> Send:
    """A `send` that adds the headers to the answer."""

    added = [*_ALWAYS, (b"x-request-id", request_id.encode())]
    added.append(_FOR_ANYBODY if may_be_embedded(path) else _FOR_OURSELVES)
    if https:
        added.append((b"strict-transport-security", b"max-age=31536000"))
    own_policy, kept = may_be_framed(path), path.startswith("/static/")

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            present = {name.lower() for name, _ in headers}
            if not (own_policy and b"content-security-policy" in present):
                if b"content-security-policy" in present:
                    headers = _without(headers, b"content-security-policy")
                headers += _POLICY
            if not kept:
                if b"cache-control" in present:
                    headers = _without(headers, b"cache-control")
                headers.append((b"cache-control", b"no-store"))
            message["headers"] = headers + added
        await send(message)

    return with_headers


def _without(headers: _Headers, name: bytes) -> _Headers:
    return [pair for pair in headers if pair[0].lower() != name]
