"""Bodies decoded in processes of their own, where several come at once.

To decode a thousand rows and to commit them takes about as long, and one interpreter does one of both at a time; so
what can be done beside it is: the bodies go over in one piece, and come back as Arrow columns that are used as they
are. A single sender is decoded here, so a small installation never has these processes; what they cannot do (none can
be started, the last one died) is done here too.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from monitor import clock, settings
from monitor.errors import Overloaded
from monitor.ingest import decoder_child
from monitor.ingest.children import Child
from monitor.ingest.decoder_child import READY, question, read_answer
from monitor.ingest.prepare import Batch, Form, prepared
from monitor.ingest.validate import Times
from monitor.store.catalog import Model

log = structlog.get_logger()

MOST = 4
SMALLEST = 16 * 1024  # bytes that are worth the way
SECONDS = 20.0  # one body,
SECONDS_A_MB = 5.0  # and beside that for its length: rows that are refused one by one take the longest
START_SECONDS = 30.0
AGAIN_SECONDS = 10.0  # after one could not be started


class Decoders:
    """At most one a core, started when they are of use; `close` ends them."""

    def __init__(self, most: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._most = min(MOST, cores) * (cores > 1) if most is None else most
        self._under_way = 0
        self._starting = 0
        self._not_before = 0.0
        self._running = 0
        self._idle: list[Child] = []
        self._closed = False
        self._changed = threading.Condition()

    def prepare(self, form: Form, kind: str, body: bytes, model: Model, times: Times) -> list[Batch]:
        """As `prepare.prepared`; waits for a process while others have them all.

        Raises:
            Overloaded: the process ended, or took too long; whether it was because of the body is not known.
        """
        if kind != "predictions" or len(body) < SMALLEST:  # outcomes come back as objects, which take as long as JSON
            return prepared(form, kind, body, model, times)
        with self._counted(), self._lent() as child:
            if child is None:
                return prepared(form, kind, body, model, times)
            child.within(SECONDS + SECONDS_A_MB * len(body) / 2**20)
            child.write(question(form, body, model, times))
            answer = read_answer(child.read)
        if isinstance(answer, Exception):
            raise answer
        return [*answer]

    def close(self) -> None:
        """End those that wait now, and those that are busy when they are done."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._running -= len(idle)
        for child in idle:
            child.close()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self._under_way += 1
            all_there = self._running + self._starting >= min(self._most, self._under_way)
            if self._under_way > 1 and not all_there and not self._closed and clock.monotonic() >= self._not_before:
                self._begin_start()
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1

    def _begin_start(self) -> None:
        try:
            threading.Thread(target=self._start, name="decoder-start", daemon=True).start()
        except RuntimeError:  # the system gives no thread
            self._put_off()
        else:
            self._starting += 1

    def _put_off(self) -> None:
        log.warning("ingest.no_decoder", again_in_seconds=AGAIN_SECONDS)
        self._not_before = clock.monotonic() + AGAIN_SECONDS

    @contextmanager
    def _lent(self) -> Iterator[Child | None]:
        """A process for one body; None where none is running."""
        child = self._taken()
        if child is None:
            yield None
            return
        is_good = False
        try:
            yield child
            is_good = True
        except EOFError:
            log.warning("ingest.decoder_ended")
            why = "the process that read this body ended: nothing of it was stored, send it again"
            raise Overloaded(why, retry_after=2) from None
        finally:
            self._take_back(child, is_good)

    def _taken(self) -> Child | None:
        with self._changed:
            while self._running:
                while self._idle:
                    child = self._idle.pop()
                    if child.alive:
                        return child
                    self._running -= 1
                    child.close()
                if self._running:
                    self._changed.wait()  # each comes back, or ends: its time is limited
            return None

    def _take_back(self, child: Child, is_good: bool) -> None:
        with self._changed:
            is_good = is_good and not self._closed
            if is_good:
                self._idle.append(child)
            else:
                self._running -= 1
            self._changed.notify_all()
        if not is_good:
            child.close()

    def _start(self) -> None:
        child = None
        try:
            child = Child([sys.executable, "-m", decoder_child.__name__], settings.of_decoder())
            child.within(START_SECONDS)
            is_good = bytes(child.read(1)) == READY
        except (OSError, EOFError):
            is_good = False
        with self._changed:
            self._starting -= 1
            if is_good:
                self._running += 1
            else:
                self._put_off()
        if child is not None:
            self._take_back(child, is_good) if is_good else child.close()
