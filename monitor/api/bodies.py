"""Reading the bodies of ingest requests: let in, inflated, counted, and within what their key may hold."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

from monitor.errors import Overloaded, TooLarge
from monitor.ingest.fairness import Ticket
from monitor.ingest.inflate import STEP, Plain, inflater


def admitted(request: Request, *, queued: bool = True) -> Ticket:
    """Let a request in, for as long as the ticket is held; who cannot be served is told before its body is read.

    Args:
        queued: whether what it sends will wait for the writer.

    Raises:
        Overloaded: too much waits to be written, or is here to be read.
        QuotaExceeded: too much of this key does.
    """
    state, principal = request.app.state, request.scope["principal"]
    owner: str = principal.key_id or principal.name
    if queued:
        state.writer.check_room(owner)
    ticket: Ticket = state.admission.enter(owner, _announced(request, state.settings.max_body))
    return ticket


def _announced(request: Request, limit: int) -> int:
    """Bytes that a body says it has; the gate has seen that it is a number."""
    return min(int(request.headers.get("content-length") or 0), limit)


async def chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, inflated, in pieces of bounded size.

    Raises:
        Unreadable: it is not what its Content-Encoding says.
        UnsupportedEncoding: an encoding that is not read here.
        Overloaded: the service is stopping.
    """
    undo = inflater(request.headers.get("content-encoding"))
    async for raw in request.stream():
        if request.app.state.draining:
            raise Overloaded("the service is stopping: send it again", retry_after=2)
        for piece in undo.feed(raw):
            yield piece
            if len(piece) >= STEP:
                await asyncio.sleep(0)  # others are served between the pieces of a large one
    undo.finish()


async def whole(request: Request, limit: int, ticket: Ticket) -> bytes:
    """The whole body, inflated.

    Raises:
        TooLarge: it is larger than `limit` once inflated.
        Unreadable, UnsupportedEncoding, Overloaded: as `chunks`.
        QuotaExceeded: this key holds too much already.
    """
    if isinstance(inflater(request.headers.get("content-encoding")), Plain):
        body = await request.body()
        ticket.hold(len(body))
        return body
    parts: list[bytes] = []
    size = 0
    async for piece in chunks(request):
        size += len(piece)
        if size > limit:
            raise TooLarge(f"a body may have {limit} bytes once it is inflated: send it in parts")
        ticket.hold(size)
        parts.append(piece)
    return b"".join(parts)
