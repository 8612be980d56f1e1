"""The background jobs, all of them: what a worker does at each tick.

Every job asks the database what is due, does it, and may be run again at any time by any number of workers.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from monitor import clock, log, monthly, tasks, telemetry
from monitor.alerts import deliver, refresh, release, transition
from monitor.catchup import CatchUp
from monitor.curves import curves
from monitor.errors import NotFound
from monitor.evaluate import nightly, run
from monitor.leadership import Leadership
from monitor.settings import Settings
from monitor.stats.verdict import Verdict
from monitor.store import catalog, compaction, counted, id_merge, leases, ticks
from monitor.store import tasks as queue
from monitor.store.catalog import Model
from monitor.store.session import reading, writing
from monitor.store.ticks import Tick
from monitor.sweep import sweep

_log = log.get(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # seconds, after a model's evaluation failed
TURN = 10.0  # seconds that a model with a backlog is worked at before the others have their turn
ASK_SECONDS = 60.0  # between two looks at the database's clock
BACKLOG_SECONDS = 1.0  # of one tick's evaluation, from which on it is catching up and the nightly test gives way
NOTE_SECONDS = 15.0  # between two notes that this worker lives
MOST_IDLE = 20  # steps without any progress: another evaluator is at the same model


def evaluate_model(
    engine: Engine, settings: Settings, model_id: int, wall_now: int, until: int | None = None
) -> run.Progress:
    """Evaluate what is due of one model; alerts and their messages are written in the same transaction."""

    def on_verdicts(connection: Connection, model: Model, verdicts: Sequence[Verdict], now: int) -> None:
        transition.apply(
            connection, model.project_id, model.id, model.name, verdicts, now, settings.public_url, wall=clock.now()
        )

    return run.evaluate_model(engine, model_id, wall_now, on_verdicts, until)


def evaluate_fully(
    engine: Engine,
    settings: Settings,
    model_id: int,
    wall_now: int,
    enough: Callable[[], bool] = lambda: False,
    until: int | None = None,
) -> run.Progress:
    """Evaluate a model until nothing that was due is left, another evaluator stays ahead, or it is enough.

    `until` is the instant to evaluate up to instead of the model's now.
    """
    total, idle = run.Progress(), 0
    while True:
        step = evaluate_model(engine, settings, model_id, wall_now, until)
        total = run.Progress(
            rows=total.rows + step.rows,
            outcomes=total.outcomes + step.outcomes,
            measured=total.measured + step.measured,
            evaluated=total.evaluated + step.evaluated,
            complete=step.complete,
        )
        idle = 0 if step.rows or step.outcomes or step.measured or step.evaluated else idle + 1
        if step.complete or idle >= MOST_IDLE or enough():
            return total


def judge_days(
    engine: Engine,
    settings: Settings,
    model_id: int,
    wall: int,
    enough: Callable[[], bool] = lambda: False,
    until: int | None = None,
) -> int:
    """Judge the days of a model that are over on their raw rows; returns how many."""

    def on_verdicts(connection: Connection, model: Model, verdicts: Sequence[Verdict], now: int) -> None:
        transition.apply(
            connection, model.project_id, model.id, model.name, verdicts, now, settings.public_url, wall=clock.now()
        )

    return nightly.judge_days(engine, model_id, wall, on_verdicts, enough, until)


class Jobs:
    """The jobs of one worker process."""

    def __init__(self, engine: Engine, settings: Settings, leadership: Leadership) -> None:
        self._engine = engine
        self._settings = settings
        self._leadership = leadership
        self._pauses: dict[int, tuple[float, float]] = {}  # model -> (seconds, until)
        self._noted_until = 0.0
        self._asked, self._database_now = -ASK_SECONDS, 0  # of the monotonic clock, and what the database said then
        self._told: dict[telemetry.Sample, float] = {}
        self._evaluating_since: float | None = None  # of the monotonic clock
        self._nights = CatchUp(self._judge_days, self._somebody_waits, lambda: self.stopping)
        self.stopping = False

    def evaluate(self) -> None:
        """Evaluate every model that no other worker is at; one that fails does not stop the others."""
        self._evaluating_since = clock.monotonic()
        try:
            with _tried("evaluate"):
                self._note_tick()
                self._evaluate_all()
        finally:
            self._evaluating_since = None

    def _evaluate_all(self) -> None:
        for model_id, project_id in self._models():
            if self.stopping:
                return
            if self._pauses.get(model_id, (0.0, 0.0))[1] > clock.monotonic():
                continue
            with self._leadership.holding("evaluate", str(model_id), project_id) as ours:
                if ours:
                    self._evaluate_one(model_id)

    def _note_tick(self) -> None:
        """Say in the database that this worker lives, now and then."""
        if clock.monotonic() < self._noted_until:
            return
        with self._leadership.holding("note", "", 1) as ours:
            if ours:
                self._note("", None)
        self._noted_until = clock.monotonic() + NOTE_SECONDS

    def _note(self, subject: str, error: str | None) -> None:
        tick = Tick("evaluate", subject, clock.now(), f"pid {os.getpid()}", error)
        with suppress(SQLAlchemyError), writing(self._engine) as connection:
            ticks.note(connection, 1, tick)

    def _evaluate_one(self, model_id: int) -> None:
        try:
            until = clock.monotonic() + TURN

            def enough() -> bool:
                return self.stopping or clock.monotonic() > until

            _timed("evaluate", lambda: evaluate_fully(self._engine, self._settings, model_id, clock.now(), enough))
        except NotFound:
            self._pauses.pop(model_id, None)  # deleted meanwhile
        except Exception as error:  # one model's failure is its own
            pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pauses.get(model_id, (0.0, 0.0))[0]))
            self._pauses[model_id] = (pause, clock.monotonic() + pause)
            _log.error("evaluation_failed", model_id=model_id, again_in_seconds=pause, exc_info=error)
            self._note(str(model_id), f"{type(error).__name__}: {log.hide(str(error))}"[:500])
        else:
            if self._pauses.pop(model_id, None) is not None:
                self._note(str(model_id), None)

    def _models(self) -> list[tuple[int, int]]:
        with reading(self._engine) as connection:
            return catalog.model_ids_with_projects(connection)

    def deliver(self) -> None:
        """Send what is due; deliveries are claimed one by one, so any worker may do it at any time."""
        self._alone("deliver", self._deliver, shared=True)

    def _deliver(self) -> None:
        deliver.deliver_due(self._engine, self._settings, self._shared_now(), curve=curves(self._engine))

    def _shared_now(self) -> int:
        """The time that all workers see: one whose clock is ahead must not take what another is sending.

        The database is asked now and then; in between it is counted on from there.
        """
        if clock.monotonic() >= self._asked + ASK_SECONDS:
            with reading(self._engine) as connection:
                self._database_now = leases.database_now(connection)
            self._asked = clock.monotonic()
        return self._database_now + int((clock.monotonic() - self._asked) * clock.SECOND)

    def refresh(self) -> None:
        """Tell every Alertmanager again what is open: it forgets what nobody repeats."""
        self._alone("refresh", lambda: refresh.refresh(self._engine, self._settings, clock.now()))

    def release(self) -> None:
        """Send what was held back and is no longer, digests and reminders."""
        self._alone("release", lambda: release.release_due(self._engine, self._settings.public_url, clock.now()))

    def work(self, kind: str) -> None:
        """Do the tasks of a kind that were asked for."""
        self._alone(kind, lambda: tasks.run_pending(self._engine, kind, lambda: self.stopping), shared=True)

    def nightly(self) -> None:
        """Judge the days that are over, of every model that no other worker is at, while nobody waits."""
        with _tried("nightly"):
            self._nights.look(self._models())

    def _judge_days(self, model_id: int, project_id: int, enough: Callable[[], bool]) -> int:
        """Judge days of a model until it is enough; how many, 0 when another worker is at it."""
        judged = 0

        def judge() -> None:
            nonlocal judged
            judged = judge_days(self._engine, self._settings, model_id, clock.now(), enough)

        with self._leadership.holding("nightly", str(model_id), project_id) as ours:
            if not ours:
                return 0
            try:
                _timed("nightly", judge)
            except NotFound:
                pass  # deleted meanwhile
            except Exception as error:  # one model's failure is its own; the next tick tries again
                _log.error("nightly_failed", model_id=model_id, exc_info=error)
        return judged

    def _somebody_waits(self) -> bool:
        """Whether something that was asked for is not finished, or live windows have a backlog here."""
        since = self._evaluating_since
        if since is not None and clock.monotonic() > since + BACKLOG_SECONDS:
            return True
        with reading(self._engine) as connection:
            return queue.is_anything_asked(connection)

    def sweep(self) -> None:
        """Remove what is older than the retention."""
        self._alone("sweep", lambda: sweep(self._engine, self._settings, clock.now()))

    def monthly(self) -> None:
        """Ask for the reports of the months that are over."""
        self._alone("monthly", lambda: monthly.ask_due(self._engine, clock.now()))

    def compact(self) -> None:
        """Merge the small blocks of rows that came one by one."""
        self._alone("compact", self._compact)

    def _compact(self) -> None:
        for model_id, _ in self._models():
            while not self.stopping and compaction.compact(self._engine, model_id):
                pass

    def merge(self) -> None:
        """Merge large segments of the index of ids."""
        self._alone("merge", self._merge)

    def _merge(self) -> None:
        with reading(self._engine) as connection:
            waiting = id_merge.waiting(connection)
        for model_id in waiting:
            while not self.stopping and id_merge.compact(self._engine, model_id):
                pass

    def count(self) -> None:
        """Tell the database what this worker has counted since the last time: Prometheus reads it from there."""
        now = telemetry.worked()
        grown = {one: value - self._told.get(one, 0.0) for one, value in now.items() if value != self._told.get(one)}
        with suppress(SQLAlchemyError):  # the next tick tells it
            with writing(self._engine) as connection:
                counted.add(connection, 1, grown)
            self._told = now

    def _alone(self, job: str, work: Callable[[], object], *, shared: bool = False) -> None:
        """Run a job that concerns all models: by the leader, or by everybody when its rows are claimed one by one."""
        if self.stopping:
            return
        with _tried(job):
            if shared and not self._settings.embedded:
                _timed(job, work)
                return
            with self._leadership.holding(job, "", 1) as ours:
                if ours:
                    _timed(job, work)


@contextmanager
def _tried(job: str) -> Iterator[None]:
    """What fails is logged; the next tick tries again. A database that is gone is a line, not a trace."""
    try:
        yield
    except SQLAlchemyError as error:
        _log.warning("job_failed", job=job, reason=type(error).__name__)
    except Exception as error:
        _log.error("job_failed", job=job, exc_info=error)


def _timed(job: str, work: Callable[[], object]) -> None:
    began = clock.monotonic()
    result = "failed"
    try:
        work()
        result = "done"
    finally:
        telemetry.JOBS.labels(job, result).inc()
        telemetry.JOB_SECONDS.labels(job).observe(clock.monotonic() - began)
