"""A load client that costs little: its requests are bytes made beforehand, and of an answer it reads what it must.

It shares the machine's cores with the server that it measures; so each of its seconds is one that the server lacks.
"""

import asyncio
import gc
import re
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after: *\d", re.IGNORECASE)


@dataclass
class Seen:
    """What became of the requests. Times in seconds."""

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)  # of answers with 200
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0  # of 429 and 503
    broken: int = 0  # connections that ended with a request under way: closed for idleness as it was sent, for instance
    to_last_answer: float = 0.0  # what came after the end of the load included
    client_seconds: float = 0.0  # of CPU
    answered: list[int] = field(default_factory=list)  # numbers of the requests with 200

    def quantile(self, share: float) -> float:
        """In milliseconds."""
        return float(np.quantile(self.times, share) * 1e3) if self.times else float("nan")


def requests_of(path: str, key: str, content_type: str, bodies: Iterable[bytes]) -> list[bytes]:
    """Whole requests as bytes."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: {content_type}\r\n"
    return [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._buffer = b""
        self._wanted = -1
        self._began = 0.0
        self.number = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._load.free(self)

    def send(self, number: int, request: bytes) -> None:
        self.number = number
        self._began = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._wanted < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._buffer, 0, end + 2)
            self._wanted = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) >= self._wanted:
            answer, self._buffer, self._wanted = self._buffer, b"", -1
            number, self.number = self.number, -1
            self._load.answered(number, answer, time.perf_counter() - self._began)
            self._load.free(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._load.lost(self)


class _Load:
    """Requests from a number of connections."""

    def __init__(self, port: int, requests: Iterator[bytes], connections: int) -> None:
        self._port = port
        self._requests = enumerate(requests)
        self._connections = connections
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._running = True
        self._rate = self._began = 0.0
        self._failure = ""
        self.seen = Seen()

    async def run(self, seconds: float, rate: float = 0.0) -> Seen:
        """Each connection sends as soon as it is answered; with a `rate`, requests a second come whatever happens."""
        loop = asyncio.get_running_loop()
        self._rate = rate
        began, cpu = time.perf_counter(), time.process_time()
        self._began = began
        first = min(16, self._connections) if rate else self._connections  # idle ones would be closed
        await asyncio.gather(*(self._connect(loop) for _ in range(first)))
        opening: set[asyncio.Task[None]] = set()
        sent = 0
        while self._running and (left := began + seconds - time.perf_counter()) > -9 * seconds:
            if left <= 0 and len(self.seen.times) >= self._connections:
                break  # on a slow machine it goes on until there is something to count
            if rate:
                due = int((time.perf_counter() - began) * rate)
                while sent < due and self._idle:  # beyond the connections there is no room for more: they count as sent
                    self._send(self._idle.popleft())
                    sent += 1
                opening = {one for one in opening if not one.done()}
                room = self._connections - len(self._open) - len(opening)
                opening |= {loop.create_task(self._connect(loop)) for _ in range(min(due - sent, room))}
                sent = due
            await asyncio.sleep(0.002 if rate else min(max(left, 0.005), 0.05))
        self._running = False
        self.seen.seconds = time.perf_counter() - began
        self.seen.client_seconds = time.process_time() - cpu
        until = time.perf_counter() + 60
        while any(one.number >= 0 for one in self._open) and time.perf_counter() < until:
            await asyncio.sleep(0.01)  # what is under way is answered, but no part of the rate
        for one in list(self._open):
            one.transport.close()
        if self._failure:
            raise RuntimeError(self._failure)
        return self.seen

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        _, made = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        self._open.add(made)

    def free(self, connection: _Connection) -> None:
        if self._rate:
            self._idle.append(connection)
        elif self._running:
            self._send(connection)

    def _send(self, connection: _Connection) -> None:
        number, request = next(self._requests, (-1, b""))
        if number < 0:
            self._running = False
        else:
            connection.send(number, request)

    def answered(self, number: int, answer: bytes, seconds: float) -> None:
        status = int(answer[9:12])
        if status == 200:
            self.seen.answered.append(number)
            self.seen.to_last_answer = time.perf_counter() - self._began
        if not self._running:
            return
        self.seen.statuses[status] += 1
        if status == 200:
            self.seen.times.append(seconds)
        elif status in (429, 503) and not _RETRY.search(answer):
            self.seen.without_retry_after += 1
        elif status not in (429, 503):
            self._failure = answer[:600].decode("utf-8", "replace")
            self._running = False

    def lost(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._running:
            self.seen.broken += connection.number >= 0
            asyncio.get_running_loop().create_task(self._connect(asyncio.get_running_loop()))


def closed(port: int, requests: Iterable[bytes], connections: int, seconds: float) -> Seen:
    """As many requests as are answered: each connection waits for its answer."""
    return _run(_Load(port, iter(requests), connections).run(seconds))


def opened(port: int, requests: Iterable[bytes], connections: int, seconds: float, rate: float) -> Seen:
    """`rate` requests a second whether they are answered or not, as far as the connections go."""
    return _run(_Load(port, iter(requests), connections).run(seconds, rate))


def _run(load: Coroutine[Any, Any, Seen]) -> Seen:
    """On a quick loop, and without pauses of our own garbage collector: among millions of bytes objects that were made
    beforehand it takes 80 ms, which would be seen as the server's."""
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(load)
    finally:
        gc.enable()
