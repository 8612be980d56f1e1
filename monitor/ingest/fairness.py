"""Fair by key: whoever waits is served in turns, one request of each key, so that a small sender never stands behind
everything that a large one has sent; and nobody may fill the whole room."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from monitor.errors import Overloaded, QuotaExceeded

SHARE = 0.5  # of a room that one key may fill: what it has waiting is then still far more than one group
T = TypeVar("T")


class Rotation(Generic[T]):
    """Queues by owner; `take` goes round among them."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[T]] = {}
        self._turns: deque[str] = deque()

    def put(self, owner: str, item: T) -> None:
        found = self._queues.get(owner)
        if found is None:
            self._queues[owner] = deque([item])
            self._turns.append(owner)
        else:
            found.append(item)

    def take(self) -> T | None:
        """The oldest item of the owner whose turn it is; None where nothing waits."""
        if not self._turns:
            return None
        owner = self._turns.popleft()
        waiting = self._queues[owner]
        item = waiting.popleft()
        if waiting:
            self._turns.append(owner)
        else:
            del self._queues[owner]
        return item


class Room:
    """How much of something is taken, by whom; not safe for threads by itself.

    Args:
        what: the word for it in answers, for instance `rows`.
        size: how much there is in all.
    """

    def __init__(self, what: str, size: int) -> None:
        self._what = what
        self._size = size
        self._taken = 0
        self._by_owner: dict[str, int] = {}

    def take(self, owner: str, amount: int) -> None:
        """Take some of it.

        Raises:
            Overloaded: there is no room.
            QuotaExceeded: this owner has its share.
        """
        own = self._by_owner.get(owner, 0)
        if self._taken + amount > self._size and self._taken:
            raise Overloaded(f"too many {self._what} wait to be written: send it again", retry_after=1)
        if own + amount > self._size * SHARE and own:
            why = f"too many {self._what} of this key wait to be written: wait for answers before you send more"
            raise QuotaExceeded(why, retry_after=1)
        self._taken += amount
        self._by_owner[owner] = own + amount

    def give_back(self, owner: str, amount: int) -> None:
        self._taken -= amount
        left = self._by_owner[owner] - amount
        if left:
            self._by_owner[owner] = left
        else:
            del self._by_owner[owner]


class FairQueue(Generic[T]):
    """What waits for the writer, bounded in rows; `put` by any thread, `get` by one."""

    def __init__(self, rows: int) -> None:
        self._lock = threading.Lock()
        self._room = Room("rows", rows)
        self._waiting: Rotation[T] = Rotation()
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each item, and one for the end
        self._closed = False

    def put(self, owner: str, rows: int, item: T) -> None:
        """Let an item wait.

        Raises:
            Overloaded: too many rows wait, or the queue is closed.
            QuotaExceeded: too many of this owner do.
        """
        with self._lock:
            if self._closed:
                raise Overloaded("the service is stopping: send it again", retry_after=2)
            self._room.take(owner, rows)
            self._waiting.put(owner, item)
        self._tokens.put(None)

    def get(self) -> T | None:
        """The next item, as soon as there is one; None at the end."""
        self._tokens.get()
        with self._lock:
            return self._waiting.take()

    def get_nowait(self) -> T | None:
        """The next item, None at the end; raises queue.Empty where nothing waits."""
        self._tokens.get_nowait()
        with self._lock:
            return self._waiting.take()

    def done(self, owner: str, rows: int) -> None:
        """Rows that were put are written."""
        with self._lock:
            self._room.give_back(owner, rows)

    def check(self, owner: str) -> None:
        """Raise what `put` would for one more row: before the trouble of parsing it."""
        with self._lock:
            self._room.take(owner, 1)
            self._room.give_back(owner, 1)

    def close(self) -> None:
        """Take nothing more; `get` gives what waits, then None."""
        with self._lock:
            self._closed = True
        self._tokens.put(None)


class Turns:
    """How many large bodies are decoded at once; whose turn it is goes round. For one event loop."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: Rotation[asyncio.Future[None]] = Rotation()

    @asynccontextmanager
    async def take(self, owner: str) -> AsyncIterator[None]:
        await self._enter(owner)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, owner: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(owner, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it came in the moment in which its owner went away
            raise

    def _leave(self) -> None:
        while (turn := self._waiting.take()) is not None:
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Admission:
    """The bytes of all bodies between the door and their answer. For one event loop."""

    def __init__(self, size: int) -> None:
        self._room = Room("bytes", size)

    def enter(self, owner: str, size: int) -> "Ticket":
        """Let a body in, by the size it announces.

        Raises:
            Overloaded, QuotaExceeded: it must come again later.
        """
        self._room.take(owner, size)
        return Ticket(self._room, owner, size)


class Ticket:
    """What one request holds; it is given back at the end of a `with`, or with `close`."""

    def __init__(self, room: Room, owner: str, size: int) -> None:
        self._room = room
        self.owner = owner
        self._size = size

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self, size: int) -> None:
        """Hold that many bytes from now on; raises as `Admission.enter` does."""
        if size > self._size:
            self._room.take(self.owner, size - self._size)
        elif size < self._size:
            self._room.give_back(self.owner, self._size - size)
        self._size = size

    def close(self) -> None:
        self._room.give_back(self.owner, self._size)
        self._size = 0
