"""Group commit: one thread writes, one transaction and one sync for every request that waits, answers after the commit.

Requests wait in a bounded queue. While one group commits, the next gathers, so the rate adapts by itself: a lone
request commits at once, a thousand share a sync.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from monitor import clock
from monitor.errors import KeepwatchError, NotFound, Overloaded
from monitor.ingest.fairness import FairQueue
from monitor.ingest.pairs import Halves, write_halves
from monitor.ingest.validate import OutcomeBatch, PredictionBatch, Times
from monitor.ingest.write import Answer, write_outcomes, write_predictions
from monitor.remembered import Remembered
from monitor.settings import Settings
from monitor.store.blocks import log_end
from monitor.store.catalog import Model, get_model, version_names
from monitor.store.session import reading, writing

log = structlog.get_logger()

MAX_WAITING_ROWS = 200_000
MAX_GROUP_ROWS = 20_000
CACHE_SECONDS = 1.0

Batch = PredictionBatch | OutcomeBatch | Halves


@dataclass
class _Request:
    model: Model
    batch: Batch
    rows: int
    owner: str
    future: "Future[Answer]" = field(default_factory=Future)


_Answers = list[tuple[_Request, Answer | KeepwatchError]]


@dataclass
class _Looked:
    """A model as it was looked at."""

    model: Model
    versions: dict[str, int]
    known_at: int | None


class NotAtHand(Exception):
    """The database would have to be asked."""


class Writer:
    """The one writer of a process. `start` before the first `submit`; `stop` drains what waits."""

    def __init__(self, engine: Engine, settings: Settings, now: Callable[[], int] = clock.now) -> None:
        self._engine = engine
        self._retention = settings.retention_us
        self._now = now
        self._queue: FairQueue[_Request] = FairQueue(MAX_WAITING_ROWS)
        self._models: Remembered[tuple[int, str], _Looked] = Remembered(self._look, CACHE_SECONDS)
        self._known_at: dict[int, int] = {}  # by the model's number, of what was committed here: a look may be older
        self._thread: threading.Thread | None = None
        self.stopping = False

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Commit everything that waits, then end."""
        if self._thread is None:
            return
        self.stopping = True
        self._queue.close()
        self._thread.join()
        self._thread = None
        self._models.settle()

    def model(self, project_id: int, name: str) -> tuple[Model, Times]:
        """A model, at most a second old, and what time it is for it.

        Raises:
            NotFound: there is none.
        """
        try:
            looked = self._models.get((project_id, name))
        except (DBAPIError, PoolTimeout) as error:
            raise _unavailable(error) from error
        now, config = self._now(), looked.model.config
        events = config.clock == "events"
        known = self._clock_of(looked) if events else now
        return looked.model, Times(now, known, events, self._retention + config.label_delay_us)

    def knows(self, project_id: int, name: str) -> bool:
        """Whether `model` need not wait for the database."""
        return self._models.has((project_id, name))

    def model_at_hand(self, project_id: int, name: str) -> tuple[Model, Times]:
        """The same without waiting for the database, as an event loop needs it.

        Raises:
            NotAtHand: call `model`, in a thread.
        """
        if not self.knows(project_id, name):
            raise NotAtHand
        return self.model(project_id, name)

    def _look(self, which: tuple[int, str]) -> _Looked:
        with reading(self._engine) as connection:
            model = get_model(connection, *which)
            versions = {version: number for number, version in version_names(connection, model.id).items()}
            return _Looked(model, versions, log_end(connection, model.id).known_at)

    def _clock_of(self, looked: _Looked) -> int | None:
        """The latest known_at of a model's log, with what was committed since the look; None while it is empty."""
        here = self._known_at.get(looked.model.id)
        return looked.known_at if here is None else max(looked.known_at or here, here)

    def forget(self, project_id: int, name: str) -> None:
        """Look for the model of that name anew: it was deleted."""
        self._models.forget((project_id, name))

    def check_room(self, owner: str) -> None:
        """Raise what `submit` would: before the trouble of reading a body."""
        self._queue.check(owner)

    def submit(self, model: Model, batch: Batch, owner: str = "") -> "Future[Answer]":
        """Queue a batch; the future has its answer once it is committed.

        Args:
            owner: who sends it; what waits is taken from each owner in turn.

        Raises:
            Overloaded: too many rows wait, or the process is stopping.
            QuotaExceeded: too many of this owner wait.
        """
        rows = max(1, len(batch.rows) if isinstance(batch, OutcomeBatch) else batch.rows)
        request = _Request(model, batch, rows, owner)
        request.future.set_running_or_notify_cancel()  # what is queued is written, even if nobody waits for it any more
        self._queue.put(owner, rows, request)
        return request.future

    def _run(self) -> None:
        ended = False
        while not ended:
            group, ended = self._next_group()
            if group:
                self._commit(group)
                for request in group:
                    self._queue.done(request.owner, request.rows)

    def _next_group(self) -> tuple[list[_Request], bool]:
        first = self._queue.get()
        if first is None:
            return [], True
        group, rows = [first], first.rows
        while rows < MAX_GROUP_ROWS:
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                break
            if request is None:
                return group, True
            group.append(request)
            rows += request.rows
        return group, False

    def _commit(self, group: list[_Request]) -> None:
        try:
            answers = self._written(group, self._now())
        except KeepwatchError as error:  # of the only model there was
            answers = [(request, error) for request in group]
        except Exception as error:  # the group is rolled back: nobody was told that it was stored
            log.warning("ingest.commit_failed", error=type(error).__name__, requests=len(group))
            failure = _unavailable(error)
            answers = [(request, failure) for request in group]
        for request, answer in answers:
            if isinstance(answer, Answer):
                self._move_clock(request.model, answer)
                request.future.set_result(answer)
            else:
                if isinstance(answer, NotFound):  # another process deleted it, and perhaps there is a new one by now
                    self.forget(request.model.project_id, request.model.name)
                    answer = Overloaded("the model was deleted or made anew just now: send it again", retry_after=1)
                request.future.set_exception(answer)

    def _written(self, group: list[_Request], arrival: int, *, again: bool = True) -> _Answers:
        """The group in one transaction, committed.

        Where the connection is gone before the commit was asked for, as after a restart of the database, nothing can
        have been stored: another one is tried.
        """
        answers: _Answers = []
        try:
            with writing(self._engine) as connection:
                # Ascending model numbers: two processes never wait for each other's log in a circle.
                model_ids = sorted({request.model.id for request in group})
                for model_id in model_ids:
                    requests = [request for request in group if request.model.id == model_id]
                    write = self._write_one if len(model_ids) == 1 else self._write_one_of_several
                    answers.extend(write(connection, requests, arrival))
        except DBAPIError as error:
            if answers or not again or not error.connection_invalidated:
                raise
            return self._written(group, arrival, again=False)
        return answers

    def _write_one_of_several(self, connection: Connection, requests: list[_Request], arrival: int) -> _Answers:
        """One model's requests; a failure of theirs leaves other models' rows alone."""
        nested = connection.begin_nested()
        try:
            answers = self._write_one(connection, requests, arrival)
        except KeepwatchError as error:
            nested.rollback()
            return [(request, error) for request in requests]
        nested.commit()
        return answers

    def _write_one(self, connection: Connection, requests: list[_Request], arrival: int) -> _Answers:
        """One model's requests, predictions before outcomes."""
        model = requests[0].model
        looked = self._models.last((model.project_id, model.name))
        versions = looked.versions if looked is not None and looked.model.id == model.id else {}
        predictions = [request for request in requests if isinstance(request.batch, PredictionBatch)]
        events = [request for request in requests if isinstance(request.batch, Halves)]
        others = [request for request in requests if isinstance(request.batch, OutcomeBatch)]
        answers: list[Answer] = []
        if predictions:
            answers += write_predictions(connection, predictions[0].model, _batches(predictions), arrival, versions)
        if events:
            answers += write_halves(connection, events[0].model, _batches(events), arrival)
        if others:
            answers += write_outcomes(connection, others[0].model, _batches(others), arrival)
        return list(zip(predictions + events + others, answers, strict=True))

    def _move_clock(self, model: Model, answer: Answer) -> None:
        """What was committed may have moved its model's clock: the next request need not wait for a look."""
        if answer.known_at:
            self._known_at[model.id] = max(self._known_at.get(model.id, answer.known_at), answer.known_at)


def _batches(requests: list[_Request]) -> list[Any]:
    return [request.batch for request in requests]


def _unavailable(error: Exception) -> Overloaded:
    if "full" in str(error).lower() and "disk" in str(error).lower():
        return Overloaded("the disk is full: nothing of this request was stored", retry_after=30)
    return Overloaded("the database did not confirm this: send it again, rows with ids are not doubled", retry_after=2)
