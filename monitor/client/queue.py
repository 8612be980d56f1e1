"""Rows between the caller and the disk: a bounded queue in memory, and the thread that writes it down.

The thread gathers what came meanwhile and syncs it at once, so that a row is on disk some milliseconds after it was
logged, whatever the rate.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from monitor.client import clock
from monitor.client.encode import Unfit
from monitor.client.spool import Full, Spool, size_on_disk

TYPE_CHECKING = False  # as typing's, which takes milliseconds to import
if TYPE_CHECKING:
    from typing import Any


GROUP = 500  # rows that are written with one sync
OVERHEAD = 200  # bytes that a waiting row takes beside its content
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between tries while the disk takes nothing

WAITING, WRITTEN, SENT, NOT_TAKEN = "waiting", "written", "sent", "not taken"


class Logged(str):
    """The id of a row, which knows what became of it in this process."""

    state = WAITING
    _queue: Queue | None = None

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Copied and pickled it is the id alone."""
        return str, (str(self),)

    def wait(self, timeout: float = 5.0) -> bool:
        """Wait until the row is safe, on disk or confirmed by the service. False: not taken, or not in that time."""
        return self._queue is not None and self._queue.wait_for(self, timeout)

    @property
    def durable(self) -> bool:
        """Whether neither a crash nor a power cut can lose the row any more."""
        return self.state in (WRITTEN, SENT)


class Item:
    """What waits for the disk: one row, or many whose contents are made when they are written."""

    def __init__(self, logged: list[Logged], size: int, contents: Callable[[], list[bytes]]) -> None:
        self.logged, self.size = logged, size
        self._make: Callable[[], list[bytes]] | None = contents
        self._contents: list[bytes] = []

    def contents(self) -> list[bytes]:
        if self._make is not None:
            self._contents, self._make = self._make(), None
        return self._contents


class Queue:
    """Rows that wait for the disk. `changed` is notified whenever rows were written, sent or refused."""

    def __init__(self, spool: Spool, max_memory: int) -> None:
        self.changed = threading.Condition()
        self.closed = False
        self.disk_trouble: str | None = None
        self.news = False  # whether something was written since the sender last looked
        self.reasons: dict[str, int] = {}  # rows not taken, by reason
        self._unsaved: dict[str, int] = {}
        self._spool = spool
        self._max_memory = max_memory
        self._items: deque[Item] = deque()
        self._memory = 0
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._logged = self._written = self._sent = self._not_taken = self._told = 0

    # -------------------------------------------------------------- callers

    def put(self, logged: Logged, content: bytes) -> None:
        """Take a row, or count it as not taken."""
        self.put_later([logged], len(content), lambda: [content])

    def put_later(self, logged: list[Logged], size: int, contents: Callable[[], list[bytes]]) -> None:
        size += OVERHEAD * len(logged)
        item = Item(logged, size, contents)
        for one in logged:
            one._queue = self
        with self.changed:
            self._logged += len(logged)
            if not self.closed and self._memory + size <= self._max_memory:
                self._memory += size
                self._items.append(item)
                self._wake.set()
                return
        self._refuse(logged, "the client was closed" if self.closed else "the memory for waiting rows was full")

    def refuse(self, logged: Logged, reason: str) -> None:
        """Count a row that cannot be taken."""
        logged._queue = self
        with self.changed:
            self._logged += 1
        self._refuse([logged], reason)

    def _refuse(self, logged: list[Logged], reason: str) -> None:
        with self.changed:
            for one in logged:
                one.state = NOT_TAKEN
            self._not_taken += len(logged)
            for counts in (self.reasons, self._unsaved):
                counts[reason] = counts.get(reason, 0) + len(logged)
            self.changed.notify_all()
        self._wake.set()

    # -------------------------------------------------------------- the thread

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="keepwatch-queue", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        failures = 0
        while True:
            self._wake.wait(LONGEST_PAUSE if self._unsaved or self.disk_trouble else None)
            self._wake.clear()
            while (items := self.take()) is not None:
                if self._write(items):
                    failures = 0
                    continue
                failures += 1
                if self.closed:
                    break
                self._nap(min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10)))
            self._look_at_disk()
            self._save_reasons()
            if self.closed:
                return

    def _look_at_disk(self) -> None:
        """After trouble: whether the disk takes something again, when the sender has left nothing to try it with."""
        if self.disk_trouble is not None and not self.closed:
            try:
                self._spool.probe()
            except OSError:
                return
            self.disk_trouble = None

    def _nap(self, seconds: float) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.closed, seconds)

    def take(self, rows: int = GROUP) -> list[Item] | None:
        """The oldest items out of memory, to be written or sent, then settled or given back; None: there are none."""
        with self.changed:
            taken: list[Item] = []
            while self._items and rows > 0:
                taken.append(self._items.popleft())
                rows -= len(taken[-1].logged)
            return taken or None

    def give_back(self, items: list[Item]) -> None:
        """Items that could be neither written nor sent: they are the next again."""
        with self.changed:
            self._items.extendleft(reversed(items))

    def readable(self, items: list[Item]) -> list[Item]:
        """The items whose contents can be made; the others are counted as not taken."""
        good = []
        for item in items:
            try:
                item.contents()
                good.append(item)
            except Unfit as error:
                self.settle([item], NOT_TAKEN, str(error))
            except Exception as error:  # made of the caller's objects
                self.settle([item], NOT_TAKEN, f"the row could not be read: {type(error).__name__}")
        return good

    def _write(self, items: list[Item]) -> bool:
        items = self.readable(items)
        contents = [content for item in items for content in item.contents()]
        try:
            if contents:
                self._spool.append(contents)
        except Full as full:
            fitting = _fitting(items, full.room)
            self.settle(items[len(fitting) :], NOT_TAKEN, "the queue directory was full")
            return not fitting or self._write(fitting)
        except OSError as error:
            self.give_back(items)
            with self.changed:
                self.disk_trouble, self.news = f"the disk takes no rows: {error.strerror or error}", True
                self.changed.notify_all()
            return False
        else:
            self.settle(items, WRITTEN)
            self.disk_trouble = None
        return True

    def settle(self, items: list[Item], state: str, reason: str = "") -> None:
        """Note what became of items that were taken out."""
        with self.changed:
            rows = sum(len(item.logged) for item in items)
            self._memory -= sum(item.size for item in items)
            if state == NOT_TAKEN:
                self._not_taken += rows
                for counts in (self.reasons, self._unsaved):
                    counts[reason] = counts.get(reason, 0) + rows
            elif state == WRITTEN:
                self._written += rows
                self.news = True
            else:
                self._sent += rows
            for item in items:
                for one in item.logged:
                    one.state = state
            self.changed.notify_all()

    def _save_reasons(self) -> None:
        with self.changed:
            unsaved, self._unsaved = self._unsaved, {}
        if not unsaved:
            return
        try:
            self._spool.note_not_taken(unsaved)
        except OSError:  # a full disk, most likely; counted here, and written down when it takes something again
            with self.changed:
                for reason, rows in unsaved.items():
                    self._unsaved[reason] = self._unsaved.get(reason, 0) + rows

    # -------------------------------------------------------------- waiting

    def wait_for(self, logged: Logged, timeout: float) -> bool:
        with self.changed:
            self.changed.wait_for(lambda: logged.state != WAITING, timeout)
        return logged.durable

    def wait_written(self, timeout: float) -> bool:
        """Wait until what was logged before has left the memory."""
        with self.changed:
            target = self._logged
            return self.changed.wait_for(lambda: self._written + self._sent + self._not_taken >= target, timeout)

    def all_taken(self) -> bool:
        """Whether every row was taken since this was last asked."""
        with self.changed:
            before, self._told = self._told, self._not_taken
            return before == self._told

    def counts(self) -> dict[str, Any]:
        with self.changed:
            return {
                "logged": self._logged,
                "written": self._written,
                "sent_from_memory": self._sent,
                "in_memory": self._logged - self._written - self._sent - self._not_taken,
                "not_taken": self._not_taken,
                "not_taken_reasons": dict(self.reasons),
            }

    def close(self, timeout: float) -> None:
        """Write what waits, then stop. What neither the disk nor the service took by then is counted as not taken."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self._wake.set()
        if self._thread is not None:
            deadline = clock.monotonic() + timeout
            self._thread.join(max(0.0, deadline - clock.monotonic()))
            if self._thread.is_alive():
                return  # the disk hangs
        while (items := self.take()) is not None:
            self.settle(items, NOT_TAKEN, "the process ended while the disk took no rows")
        self._save_reasons()


def _fitting(items: list[Item], room: int) -> list[Item]:
    """The oldest items that fit into so many bytes together."""
    for count, item in enumerate(items):
        room -= size_on_disk(item.contents())
        if room < 0:
            return items[:count]
    return items
