"""The background half: APScheduler ticks, the jobs ask the database what is due.

The scheduler keeps nothing: its jobs are made anew at each start, and a tick that was missed is not made up for.
"""

import os
import signal
import threading
from datetime import timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.engine import Engine

from monitor import clock, leadership, log
from monitor.alerts import deliver
from monitor.alerts.refresh import REFRESH
from monitor.jobs import Jobs
from monitor.settings import Settings
from monitor.store import migrate
from monitor.store.session import check_durability, make_engine
from monitor.tasks import KINDS

DELIVER_SECONDS = 0.2
REFRESH_SECONDS = REFRESH / clock.SECOND
RELEASE_SECONDS = 1.0
TASK_SECONDS = 1.0
NIGHTLY_SECONDS = 30.0  # between two looks for days that are over
COMPACT_SECONDS = 60.0
MERGE_SECONDS = 10.0
SWEEP_SECONDS = 600.0
COUNT_SECONDS = 10.0
MONTHLY_SECONDS = 600.0
FIRST_SWEEP = 60 * clock.SECOND
PARENT_SECONDS = 0.5
FAREWELL = 5.0  # and to messages that are under way
PATIENCE = 20.0  # seconds that a stopping worker gives to the job it is at

_log = log.get(__name__)


def run_worker(settings: Settings, parent_pid: int | None = None, stop: threading.Event | None = None) -> None:
    """Work until SIGTERM, SIGINT, `stop`, or the end of the parent process.

    Args:
        settings: as `settings.load()` gives them.
        parent_pid: the process that started this one; when it is gone, so is this.
        stop: set it to end the worker (tests; signals are then left alone).

    Raises:
        SetupError: the database is missing or has another schema.
    """
    engine = make_engine(settings, gives_way=True)
    try:
        migrate.check_current(engine)
        check_durability(engine)
        _work(engine, settings, parent_pid, stop)
    finally:
        engine.dispose()


def _work(engine: Engine, settings: Settings, parent_pid: int | None, stop: threading.Event | None) -> None:
    over = stop or threading.Event()
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: over.set())
    if parent_pid is not None:
        threading.Thread(target=_watch, args=(parent_pid, over), name="parent", daemon=True).start()
    leader = leadership.make(settings, engine)
    jobs = Jobs(engine, settings, leader)
    scheduler = schedule(jobs, settings)
    scheduler.start()
    _log.info("worker_started", pid=os.getpid())
    try:
        over.wait()
    finally:
        jobs.stopping = True
        scheduler.pause()
        _shut_down(scheduler)
        deliver.finish_under_way(FAREWELL)
        jobs.count()
        leader.close()
        _log.info("worker_stopped", pid=os.getpid())


def schedule(jobs: Jobs, settings: Settings) -> BackgroundScheduler:
    """The timetable. A job never overlaps itself, and no job waits for another one: each has a thread."""
    scheduler = BackgroundScheduler(
        timezone="UTC",
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 60},
    )
    soon = clock.to_datetime(clock.now())
    scheduler.add_job(jobs.evaluate, "interval", seconds=settings.tick, id="evaluate", next_run_time=soon)
    scheduler.add_job(jobs.deliver, "interval", seconds=DELIVER_SECONDS, id="deliver", next_run_time=soon)
    scheduler.add_job(jobs.release, "interval", seconds=RELEASE_SECONDS, id="release", next_run_time=soon)
    scheduler.add_job(jobs.refresh, "interval", seconds=REFRESH_SECONDS, id="refresh", next_run_time=soon)
    scheduler.add_job(jobs.compact, "interval", seconds=COMPACT_SECONDS, id="compact", next_run_time=soon)
    scheduler.add_job(jobs.merge, "interval", seconds=MERGE_SECONDS, id="merge", next_run_time=soon)
    scheduler.add_job(jobs.nightly, "interval", seconds=NIGHTLY_SECONDS, id="nightly", next_run_time=soon)
    for kind in KINDS:
        scheduler.add_job(jobs.work, "interval", [kind], seconds=TASK_SECONDS, id=kind, next_run_time=soon)
    scheduler.add_job(jobs.count, "interval", seconds=COUNT_SECONDS, id="count")
    scheduler.add_job(jobs.monthly, "interval", seconds=MONTHLY_SECONDS, id="monthly-due")
    first = soon + timedelta(microseconds=FIRST_SWEEP)
    scheduler.add_job(jobs.sweep, "interval", seconds=SWEEP_SECONDS, id="sweep", next_run_time=first)
    scheduler.add_executor(ThreadPoolExecutor(len(scheduler.get_jobs())))
    return scheduler


def _shut_down(scheduler: BackgroundScheduler) -> None:
    """Wait for the job under way, but not for ever: every transaction is whole or not there."""
    done = threading.Thread(target=scheduler.shutdown, name="shutdown", daemon=True)
    done.start()
    done.join(PATIENCE)
    if done.is_alive():
        _log.warning("worker_left_a_job", pid=os.getpid())
        os._exit(0)


def _watch(parent_pid: int, over: threading.Event) -> None:
    """End with the parent, even when it was killed."""
    while os.getppid() == parent_pid:
        if over.wait(PARENT_SECONDS):
            return
    _log.warning("parent_gone", parent=parent_pid)
    over.set()
