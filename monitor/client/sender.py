"""The thread that sends: batches out of the lanes, in order, until the service has answered for every row."""

from __future__ import annotations

import threading
from collections.abc import Callable

from monitor.client import clock
from monitor.client.deliver import Delivered, Later, deliver, pause
from monitor.client.lane import Batch, Lane
from monitor.client.queue import SENT, Item, Queue
from monitor.client.spool import DEAD_LETTERS, Spool
from monitor.client.transport import Transport

TYPE_CHECKING = False  # as typing's, which takes milliseconds to import
if TYPE_CHECKING:
    from typing import Any


BATCH_ROWS, BATCH_BYTES = 1000, 4 << 20
LINGER = 0.1  # seconds that a first row waits for company
ADOPT_EVERY = 15.0  # seconds between looks for lanes of processes that ended
SUSPECT_AFTER = 5  # failures of the service at the same lane in a row: then some row of it may be at fault
REPORT_EVERY = 60.0  # seconds between reports of the same trouble


class Sender:
    """Sends what the spool holds. `wait_sent` waits for it."""

    def __init__(
        self, queue: Queue, spool: Spool, transport: Transport, model: str, on_problem: Callable[[str], None] | None
    ) -> None:
        self._queue, self._spool, self._transport, self._model = queue, spool, transport, model
        self._on_problem = on_problem
        self._changed = queue.changed  # one condition for all that can be waited for
        self._closed = False
        self._thread: threading.Thread | None = None
        self._looked_at = -ADOPT_EVERY
        # A flush draws a number; it is served when everything was sent that a look after the drawing found.
        self._drawn = self._looked = self._served = 0
        self._problem: str | None = None
        self._reported: dict[str, float] = {}
        self._accepted = self._duplicates = self._refused = self._damaged = 0
        self._tries = 0
        self._failures: dict[str, int] = {}  # by lane, in a row
        self._refused_before = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="keepwatch-send", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            try:
                worked = self._step()
            except Later as later:
                self._wait_after(later)
                continue
            except OSError as error:  # the queue directory cannot be read, or its dead letters not be written
                self._wait_after(Later(f"the queue directory: {error.strerror or error}"))
                continue
            except Exception as error:  # whatever it is, the queue goes on
                self._wait_after(Later(f"unforeseen: {type(error).__name__}: {error}"))
                continue
            self._tries = 0
            if not worked:
                self._rest()
        self._transport.close()

    def _step(self) -> bool:
        """Send one batch; False when there was none."""
        now = clock.monotonic()
        if now - self._looked_at >= ADOPT_EVERY or self._drawn > self._looked:
            self._looked_at, self._looked = now, self._drawn
            self._spool.adopt()
        self._report_not_taken()
        lane = self._spool.next_lane()
        batch = None if lane is None else lane.peek(BATCH_ROWS, BATCH_BYTES)
        if lane is not None and batch is not None:
            self._send_batch(lane, batch)
            return True
        if self._queue.disk_trouble is not None and (items := self._queue.take()) is not None:
            self._send_from_memory(items)
            return True
        return False

    def _send_batch(self, lane: Lane, batch: Batch) -> None:
        done = self._deliver(lane.folder, batch.records)
        self._bury(done)
        lane.acknowledge(batch.end)
        if batch.damaged:
            self._damaged += batch.damaged
            self._report("damaged", f"{lane.folder}: damaged bytes were passed over; was the power cut?")
        self._note(done)

    def _send_from_memory(self, items: list[Item]) -> None:
        """While the disk takes nothing."""
        self._report("disk", f"{self._queue.disk_trouble}; rows are sent from memory")
        items = self._queue.readable(items)
        try:
            done = self._deliver("", [one for item in items for one in item.contents()])
            self._bury(done)
        except BaseException:
            self._queue.give_back(items)
            raise
        self._queue.settle(items, SENT)
        self._note(done)

    def _deliver(self, source: str, records: list[bytes]) -> Delivered:
        """Send records of a lane, or of memory; a row that the service fails at holds them up for a while only."""
        suspect = self._failures.get(source, 0) >= SUSPECT_AFTER
        try:
            done = deliver(self._transport.post, self._model, records, suspect=suspect)
        except Later as later:
            if later.failed:
                self._failures[source] = self._failures.get(source, 0) + 1
            raise
        self._failures.pop(source, None)
        return done

    def _bury(self, done: Delivered) -> None:
        at = clock.render(clock.wall())
        self._spool.bury([{"at": at, "model": self._model} | letter for letter in done.refused])

    def _note(self, done: Delivered) -> None:
        with self._changed:
            self._accepted += done.accepted
            self._duplicates += done.duplicates
            self._refused += len(done.refused)
            self._problem = None
            self._changed.notify_all()
        if done.refused:
            first = done.refused[0]
            where = f"{self._spool.folder}/{DEAD_LETTERS}"
            self._report(
                "refused", f"{len(done.refused)} rows were refused ({first['code']}: {first['message']}): see {where}"
            )

    # -------------------------------------------------------------- pauses

    def _wait_after(self, later: Later) -> None:
        self._tries += 1
        with self._changed:
            self._problem = str(later)
            self._changed.notify_all()
        if later.blocked or self._tries == 5:
            self._report("blocked" if later.blocked else "away", f"rows wait in {self._spool.folder}: {later}")
        with self._changed:
            self._changed.wait_for(lambda: self._closed, pause(self._tries, later.asked))

    def _rest(self) -> None:
        """Nothing to send: wait for rows, then a moment for more of them to come."""
        with self._changed:
            self._served = self._looked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._called() or self._queue.news, ADOPT_EVERY)
            self._changed.wait_for(self._called, LINGER)
            self._queue.news = self._queue.disk_trouble is not None

    def _called(self) -> bool:
        return self._closed or self._drawn > self._looked

    # -------------------------------------------------------------- reports

    def _report_not_taken(self) -> None:
        total = sum(self._queue.reasons.values())
        if total > self._refused_before:
            reasons = ", ".join(f"{rows} because {reason}" for reason, rows in self._queue.reasons.items())
            if self._report("not taken", f"rows were not taken into the queue: {reasons}"):
                self._refused_before = total

    def _report(self, kind: str, text: str) -> bool:
        """Tell people, at most once a minute of the same kind; whether it was told."""
        now = clock.monotonic()
        if now - self._reported.get(kind, -REPORT_EVERY) < REPORT_EVERY:
            return False
        self._reported[kind] = now
        try:
            if self._on_problem is not None:
                self._on_problem(text)
            else:
                import logging

                logging.getLogger("keepwatch").warning("%s", text)
        except Exception:  # noqa: S110 - a receiver of reports that fails must not stop the sending
            pass
        return True

    # -------------------------------------------------------------- callers

    def wait_sent(self, timeout: float) -> bool:
        deadline = clock.monotonic() + timeout
        if not self._queue.wait_written(timeout):
            return False
        with self._changed:
            self._drawn += 1
            number = self._drawn
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._served >= number, max(0.0, deadline - clock.monotonic()))

    def counts(self) -> dict[str, Any]:
        waiting = self._spool.waiting_bytes()
        with self._changed:
            return {
                "accepted": self._accepted,
                "duplicates": self._duplicates,
                "refused": self._refused,
                "damaged": self._damaged,
                "waiting_bytes": waiting,
                "problem": self._problem or self._queue.disk_trouble,
            }

    def close(self, timeout: float) -> None:
        """Stop; a request that is under way is given the time to end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                return  # it hangs in a request: its lanes stay locked until the process ends
        self._spool.close()
