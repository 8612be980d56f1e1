"""Answers of the writer's thread on their way to the event loop: as many at once as a commit gave.

`asyncio.wrap_future` wakes the loop for every single one, which for a crowd of rows that came one by one takes as long
as everything else that is done for them.
"""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

T = TypeVar("T")


class _Arrivals:
    """What came for one loop and is not handed out yet. Its flag says that the loop will look: whoever adds something
    wakes it otherwise, and the loop lowers the flag before it looks, so nothing is left lying.

    The loop is held weakly: this is kept as long as that lives.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._come: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._looks = False

    def add(self, waiting: "asyncio.Future[Any]", done: "Future[Any]") -> None:
        """In the thread that has the answer."""
        self._come.append((waiting, done))
        loop = self._loop()
        if not self._looks and loop is not None and not loop.is_closed():
            self._looks = True
            loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        self._looks = False
        while self._come:
            waiting, done = self._come.popleft()
            if waiting.cancelled():
                continue
            error = done.exception()
            if error is None:
                waiting.set_result(done.result())
            else:
                waiting.set_exception(error)


_of: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Arrivals]" = WeakKeyDictionary()


def awaited(future: "Future[T]") -> "asyncio.Future[T]":
    """A future of the running loop that ends as that of another thread does, which goes on if nobody waits any more."""
    loop = asyncio.get_running_loop()
    arrivals = _of.get(loop)
    if arrivals is None:
        arrivals = _of[loop] = _Arrivals(loop)
    waiting: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(lambda done: arrivals.add(waiting, done))
    return waiting
