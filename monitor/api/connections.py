"""Connections that end in time: uvicorn's protocol, with deadlines for what a client has begun to send.

uvicorn waits without end for the rest of a header or a body, so a few hundred slow clients could hold every
connection. Here a request has `FIRST_SECONDS` to arrive, and a second more for every `BYTES_A_SECOND` that did. Time in
which we do not read, since there is no room, is not held against the sender.
"""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from monitor.api import problems
from monitor.errors import Overloaded, Problem

FIRST_SECONDS = 12.0
BYTES_A_SECOND = 16 * 1024
MAX_HEADER = 64 * 1024  # bytes of a request line and its headers
DRAIN_SECONDS = 1.5  # for the rest of a body when the service is stopping
_TICK = 1.0
_SPARE_FILES = 256  # for databases, logs and children


class RequestTimeout(Problem):
    status, title = 408, "The request came too slowly"


class HeaderTooLarge(Problem):
    status, title = 431, "The header is too large"


_LATE = RequestTimeout(f"send faster than {BYTES_A_SECOND // 1024} KiB a second, or in smaller parts")
_STOPPING = Overloaded("the service is stopping: send it again", retry_after=2)
_CROWDED = Overloaded("too many connections: send it again, or share one connection", retry_after=2)
_LONG = HeaderTooLarge(f"request line and headers may have {MAX_HEADER >> 10} KiB")


def most_connections() -> int:
    """How many connections this process can hold without running out of files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, min(8192, soft - _SPARE_FILES)) if soft != resource.RLIM_INFINITY else 8192


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 of uvicorn, with deadlines and a limit of connections."""

    limit = most_connections()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._coming = True  # a request is expected or on its way
        self._in_header = True
        self._waited = 0.0
        self._received = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            self._refuse(_CROWDED)
        else:
            self._timer = self.loop.call_later(_TICK, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._received += len(data)
        if self._in_header and self._received > MAX_HEADER and not self.transport.is_closing():
            self._refuse(_LONG)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._coming = self._in_header = True
        self._waited, self._received = 0.0, 0

    def on_headers_complete(self) -> None:
        self._in_header = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._coming = self._in_header = False
        super().on_message_complete()

    def shutdown(self) -> None:
        super().shutdown()
        if self._coming and not self.transport.is_closing():
            self.loop.call_later(DRAIN_SECONDS, self._end_unfinished, _STOPPING)

    def _tick(self) -> None:
        if self.transport.is_closing():
            return
        if self._coming and not self.flow.read_paused:
            self._waited += _TICK
            if self._waited > FIRST_SECONDS + self._received / BYTES_A_SECOND:
                self._end_unfinished(_LATE)
                return
        self._timer = self.loop.call_later(_TICK, self._tick)

    def _end_unfinished(self, problem: Problem) -> None:
        """End the connection, with an answer where none has begun."""
        if not self._coming or self.transport.is_closing():
            return
        answering = not self._in_header and self.cycle.response_started
        if answering or (self._in_header and not self._received):
            self.transport.close()
        else:
            self._refuse(problem)

    def _refuse(self, problem: Problem) -> None:
        status, body, headers = problems.render(problem)
        lines = [f"HTTP/1.1 {status} {problem.title}", *(f"{name}: {value}" for name, value in headers.items())]
        lines += [f"content-length: {len(body)}", "connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode("latin-1") + body)
        self.transport.close()
