"""The background jobs and the process that runs them."""

import threading
from contextlib import contextmanager

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from monitor import clock, jobs, worker
from monitor.alerts import deliver
from monitor.evaluate.run import Progress
from monitor.settings import Settings
from monitor.store import catalog, leases, outbox
from monitor.store.session import reading, writing
from tests.alerts.receivers import make_channel


class Always:
    """Every job is ours."""

    @contextmanager
    def holding(self, job: str, subject: str, project_id: int):  # type: ignore[no-untyped-def]
        yield True

    def close(self) -> None:
        pass


class Never(Always):
    @contextmanager
    def holding(self, job: str, subject: str, project_id: int):  # type: ignore[no-untyped-def]
        yield False


def add_models(engine: Engine, *names: str) -> None:
    with writing(engine) as connection:
        for name in names:
            catalog.put_model(connection, 1, name, {"task": "binary"}, 1, "test")


def test_a_model_that_fails_does_not_stop_the_others(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_models(sqlite_engine, "a", "b", "c")
    seen: list[int] = []

    def evaluate(engine: Engine, model_id: int, now: int, on_verdicts: object, until: object) -> Progress:
        seen.append(model_id)
        if model_id == 2:
            raise ZeroDivisionError("a bug")
        return Progress()

    monkeypatch.setattr(jobs.run, "evaluate_model", evaluate)
    work = jobs.Jobs(sqlite_engine, sqlite_settings, Always())
    work.evaluate()
    assert seen == [1, 2, 3]
    work.evaluate()
    assert seen == [1, 2, 3, 1, 3], "a failing model is left alone for a while"
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + jobs.FIRST_PAUSE + 1)
    work.evaluate()
    assert seen[5:] == [1, 2, 3]


def test_a_model_of_another_worker_is_left_alone(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_models(sqlite_engine, "a")
    monkeypatch.setattr(jobs.run, "evaluate_model", lambda *_: pytest.fail("not ours"))
    work = jobs.Jobs(sqlite_engine, sqlite_settings, Never())
    work.evaluate()
    work.sweep()
    work.deliver()


def test_a_worker_whose_clock_is_ahead_does_not_take_what_another_is_sending(
    postgres_engine: Engine, postgres_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases run by the database's time; by its own clock this worker's lease of the other would have run out."""
    with writing(postgres_engine) as connection:
        channel = make_channel(connection, "http://127.0.0.1:1/")
        outbox.add(connection, channel, "channel.test", None, "{}", clock.now() - clock.SECOND)
        now = leases.database_now(connection)
        claimed = outbox.claim(connection, now, deliver.LEASE, None, per_channel=4, in_all=64)
        assert len(claimed) == 1
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + clock.HOUR)
    jobs.Jobs(postgres_engine, postgres_settings, Always()).deliver()
    with reading(postgres_engine) as connection:
        (delivery,) = outbox.list_deliveries(connection, channel, limit=9)[0]
        assert delivery.lease_owner == claimed[0][1].lease_owner
        assert outbox.attempts_of(connection, [delivery.id]) == {delivery.id: []}


def test_a_backlog_is_worked_off_step_by_step(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter([Progress(rows=10, complete=False), Progress(outcomes=3, complete=False), Progress(evaluated=2)])
    monkeypatch.setattr(jobs.run, "evaluate_model", lambda *_: next(steps))
    done = jobs.evaluate_fully(sqlite_engine, sqlite_settings, 1, 0)
    assert (done.rows, done.outcomes, done.evaluated, done.complete) == (10, 3, 2, True)


def test_an_evaluator_that_is_always_overtaken_gives_up(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.run, "evaluate_model", lambda *_: Progress(complete=False))
    assert jobs.evaluate_fully(sqlite_engine, sqlite_settings, 1, 0).complete is False


@pytest.mark.parametrize("name", ["deliver", "work", "sweep"])
def test_a_job_that_fails_is_tried_again_at_the_next_tick(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(jobs.deliver, "deliver_due", fail)
    monkeypatch.setattr(jobs.tasks, "run_pending", fail)
    monkeypatch.setattr(jobs, "sweep", fail)
    work = jobs.Jobs(sqlite_engine, sqlite_settings, Always())
    given = ["report"] if name == "work" else []
    getattr(work, name)(*given)
    getattr(work, name)(*given)


@pytest.mark.parametrize("name", ["evaluate", "nightly", "compact", "merge", "sweep", "deliver"])
def test_a_database_that_is_gone_is_a_line_of_the_log_and_not_a_trace(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def gone(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("the server closed the connection"))

    monkeypatch.setattr(sqlite_engine, "connect", gone)
    work = jobs.Jobs(sqlite_engine, sqlite_settings, Always())
    with capture_logs() as lines:
        getattr(work, name)()
    assert [(one["event"], one["job"], one["reason"]) for one in lines] == [("job_failed", name, "OperationalError")]
    assert "exc_info" not in lines[0]


def test_a_worker_evaluates_until_it_is_stopped(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_models(sqlite_engine, "a")
    stop, seen = threading.Event(), threading.Event()

    def evaluate(*_: object) -> Progress:
        seen.set()
        return Progress()

    monkeypatch.setattr(jobs.run, "evaluate_model", evaluate)
    thread = threading.Thread(target=worker.run_worker, args=(sqlite_settings, None, stop))
    thread.start()
    assert seen.wait(20)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def test_logins_that_are_over_are_swept(sqlite_engine: Engine, sqlite_settings: Settings) -> None:
    from monitor.store import sessions

    with writing(sqlite_engine) as connection:
        sessions.exchange_login(connection, sessions.issue_login(connection, 1, "a", "read", 0), 1)
    jobs.sweep(sqlite_engine, sqlite_settings, 8 * clock.DAY)
    with reading(sqlite_engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM login_session").scalar() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM login_token").scalar() == 0
