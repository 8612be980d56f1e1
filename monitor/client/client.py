"""The client: what a serving process calls. `log` and `outcome` hand a row over in memory and return at once.

Two threads of the process do the rest: one writes rows to the queue on disk, many with one sync, the other sends what
is there. They start with the first row, or with `start`. While the disk takes nothing, rows are sent from memory.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress

from monitor.client import clock
from monitor.client.encode import Unfit, as_json, moment
from monitor.client.queue import Logged, Queue
from monitor.client.sender import Sender
from monitor.client.spool import Spool, not_taken
from monitor.client.transport import Transport, checked_url

TYPE_CHECKING = False  # as typing's, which takes milliseconds to import
if TYPE_CHECKING:
    from typing import Any


_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class Client:
    """Logs the predictions and outcomes of one model.

    Args:
        url: the address of the service.
        key: an API key of scope `ingest`.
        model: the name of the model.
        version: the model's version, unless `log` says another.
        directory: where rows wait until the service has confirmed them; several processes may share it. Personal data
            may be in it: it is made for its owner alone.
        max_bytes: what the directory may hold of one model. When it is full, new rows are not taken, and counted.
        max_memory: bytes of rows that may wait for the disk.
        timeout: seconds to wait for an answer of the service.
        on_problem: called with one line of text when rows are not taken, refused, or cannot be sent; at most once a
            minute, in a thread of the client. Default: a warning of the logger `keepwatch`.

    Raises:
        ValueError: an argument is not right. Nothing that is called later raises.
    """

    def __init__(
        self,
        url: str,
        key: str,
        model: str,
        version: str | None = None,
        *,
        directory: str | os.PathLike[str] = "keepwatch-queue",
        max_bytes: int = 1 << 30,
        max_memory: int = 32 << 20,
        timeout: float = 10.0,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        checked_url(url)
        if not model or not model[0].isalnum() or len(model) > 128 or not _NAME.issuperset(model):
            raise ValueError("model: letters, digits, dot, dash and underscore, at most 128")
        if not key.isascii() or not key.isprintable() or not key:
            raise ValueError("key: an API key, kw_…; `keepwatch keys create` makes one")
        if max_bytes < 1 << 20:
            raise ValueError("max_bytes: at least 1 MB")
        self._url, self._key, self._model, self._version = url, key, model, version
        self._directory = os.path.abspath(os.fspath(directory))
        self._max_bytes, self._max_memory, self._timeout = max_bytes, max_memory, timeout
        self._on_problem = on_problem
        self._clock = clock.DeviceClock()
        as_json({})  # the first row need not wait for what it imports
        self._assemble()
        _clients.add(self)

    def _assemble(self) -> None:
        self._starting = threading.Lock()
        self._started = False
        self._spool = Spool(self._directory, self._model, self._max_bytes)
        self._queue = Queue(self._spool, self._max_memory)
        transport = Transport(self._url, self._key, self._timeout)
        self._sender = Sender(self._queue, self._spool, transport, self._model, self._on_problem)

    # -------------------------------------------------------------- logging

    def log(
        self,
        features: Mapping[str, Any] | None = None,
        prediction: Any = None,
        *,
        score: float | None = None,
        scores: Mapping[str, float] | None = None,
        id: str | None = None,  # noqa: A002 - the name of the field
        version: str | None = None,
        timestamp: Any = None,
        latency_ms: float | None = None,
        error: str | bool | None = None,
        tags: Mapping[str, Any] | None = None,
        role: str | None = None,
        environment: str | None = None,
        served_from: str | None = None,
        computed_at: Any = None,
    ) -> Logged:
        """Log a prediction. Never blocks, never raises.

        Args:
            id: yours; without one a UUIDv7 is made.
            timestamp: when it happened, a datetime or RFC 3339; default: now, by the device's clock.

        Returns:
            The id, a str: give it to `outcome` when the truth is known. It also tells what became of the row.
        """
        at, made = self._clock.stamp()
        given = made if id is None else str(id)
        row: dict[str, Any] = {
            "id": given,
            "timestamp": clock.render(at) if timestamp is None else timestamp,
            "known_at": clock.render(at),
            "version": self._version if version is None else version,
            "features": features,
            "prediction": prediction,
            "score": score,
            "scores": scores,
            "latency_ms": latency_ms,
            "error": error,
            "tags": tags,
            "role": role,
            "environment": environment,
            "served_from": served_from,
            "computed_at": computed_at,
        }
        return self._take(b"p", given, row, ("timestamp", "computed_at"))

    def outcome(self, id: str, actual: Any, *, observed_at: Any = None) -> Logged:  # noqa: A002
        """Log what really happened, before or after its prediction, or again with a correction.

        Args:
            id: the id of the prediction.
            observed_at: when it happened, a datetime or RFC 3339; of several outcomes the latest holds.
        """
        at, _ = self._clock.stamp()
        row = {"id": str(id), "actual": actual, "observed_at": observed_at, "known_at": clock.render(at)}
        return self._take(b"o", str(id), row, ("observed_at",))

    def _take(self, kind: bytes, row_id: str, row: dict[str, Any], times: tuple[str, ...]) -> Logged:
        logged = Logged(row_id)
        try:
            for name in times:
                if row[name] is not None:
                    row[name] = moment(row[name])
            for name in ("features", "scores", "tags"):
                if row.get(name) is not None and type(row[name]) is not dict:
                    row[name] = dict(row[name])
            content = kind + as_json(row)
        except Unfit as error:
            self._queue.refuse(logged, str(error))
            return logged
        except Exception as error:  # whatever the caller's objects do: the request must not break
            self._queue.refuse(logged, f"the row could not be read: {type(error).__name__}")
            return logged
        self._queue.put(logged, content)
        self._ensure_started()
        return logged

    def log_later(self, ids: list[str | None], size: int, make: Callable[[], list[dict[str, Any]]]) -> list[Logged]:
        """Log many predictions at once, whose rows are made in the client's thread: for large batches.

        Args:
            ids: the id of each row, None for one that is made here.
            size: about how many bytes they have.
            make: returns the arguments of `log` for each row; what it reads must not change meanwhile.
        """
        stamps = [self._clock.stamp() for _ in ids]
        logged = [Logged(made if given is None else given) for given, (_, made) in zip(ids, stamps, strict=True)]

        def contents() -> list[bytes]:
            found = []
            for row, row_id, (at, _) in zip(make(), logged, stamps, strict=True):
                named = {"id": str(row_id), "timestamp": clock.render(at), "known_at": clock.render(at)}
                found.append(b"p" + as_json(named | {"version": self._version} | row))
            return found

        self._queue.put_later(logged, size, contents)
        self._ensure_started()
        return logged

    def _ensure_started(self) -> None:
        if not self._started:
            with suppress(RuntimeError):  # no thread can be started: the interpreter ends
                self.start()

    # -------------------------------------------------------------- wrappers

    def fastapi(self, endpoint: Any = None, **options: Any) -> Any:
        """Decorate a FastAPI endpoint, below its route: every call is logged. See `monitor.client.wrap.endpoint`."""
        from monitor.client import wrap

        return wrap.decorator(self, wrap.from_arguments, endpoint, **options)

    def flask(self, endpoint: Any = None, **options: Any) -> Any:
        """Decorate a Flask view, below its route: every call is logged. See `monitor.client.wrap.endpoint`."""
        from monitor.client import wrap

        return wrap.decorator(self, wrap.from_flask, endpoint, **options)

    def sklearn(self, model: Any, **options: Any) -> Any:
        """The model with `predict` and `predict_proba` that log. See `monitor.client.wrap.Model`."""
        from monitor.client.wrap import Model

        return Model(self, model, **options)

    # -------------------------------------------------------------- state

    def stats(self) -> dict[str, Any]:
        """What became of the rows of this process, and what hinders.

        `logged` = `written` + `in_memory` + `not_taken` + those sent from memory; `not_taken_ever` counts by reason,
        of all processes that shared the directory. `problem` is why nothing arrives at the moment, or None.
        """
        counts = self._queue.counts() | self._sender.counts()
        return counts | {"not_taken_ever": not_taken(self._spool.folder), "directory": self._spool.folder}

    def start(self) -> Client:
        """Start the threads, to send what earlier processes left; `log` does it by itself."""
        with self._starting:
            if not self._started and not self._queue.closed:
                self._started = True
                self._queue.start()
                self._sender.start()
                _at_exit(self)
        return self

    def sync(self, timeout: float = 5.0) -> bool:
        """Wait until what was logged before is on disk.

        False when that took longer, or when some row was not taken since the last `sync`.
        """
        return self._queue.wait_written(timeout) and self._queue.all_taken()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until the service has answered for all that was logged before, here and by processes that ended.

        False when that took longer; the rows stay in the queue and are sent later.
        """
        if self._queue.closed:
            return False
        self.start()
        return self._sender.wait_sent(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Flush, then stop; what could not be sent waits on disk for the next process. Called at exit as well."""
        if self._queue.closed:
            return True
        deadline = clock.monotonic() + timeout
        sent = self.flush(timeout) if self._started else True
        self._queue.close(max(0.5, deadline - clock.monotonic()))
        self._sender.close(max(0.1, deadline - clock.monotonic()))
        return sent

    def __enter__(self) -> Client:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _after_fork(self) -> None:
        """In a child: threads, locks and lanes are the parent's, and so are the rows that wait in them."""
        self._spool.forget()
        self._queue.changed = threading.Condition()  # ids of the parent's rows may be asked in the child
        self._clock.reset()
        self._assemble()


_clients: weakref.WeakSet[Client] = weakref.WeakSet()
EXIT_TIMEOUT = 2.0  # seconds that a process may wait for the service when it ends


def _renew() -> None:
    for client in list(_clients):
        client._after_fork()


os.register_at_fork(after_in_child=_renew)


def _at_exit(client: Client) -> None:
    """Close the client when the process ends; multiprocessing's children end without atexit, by a way of their own."""
    import sys

    reference = weakref.ref(client)

    def end() -> None:
        found = reference()
        if found is not None:
            found.close(EXIT_TIMEOUT)

    atexit.register(end)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, end, exitpriority=10)
