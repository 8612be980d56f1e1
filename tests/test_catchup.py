"""The nightly test after a long import gives way to what people wait for, and says the same as without."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor import clock, jobs, leadership, reports, server, worker
from monitor.catchup import CatchUp
from monitor.clock import DAY
from monitor.evaluate import due, nightly
from monitor.settings import Settings
from monitor.store import catalog, profiles, tasks, two_sample
from monitor.store.session import reading, writing
from monitor.work import Done, Work
from tests.evaluate.small import START, Log
from tests.evaluate.test_nightly import made, rows
from tests.test_jobs import Always

NIGHTS = 8


def late(engine: Engine) -> Log:
    """A model with many days that are over and not judged."""
    log = made(engine, "1d")
    log.predictions([row for day in range(NIGHTS + 1) for row in rows(day, day >= 3)])
    log.build()
    return log


def judged_to(log: Log) -> int:
    """How many days were judged."""
    with reading(log.engine) as connection:
        memory = two_sample.read(connection, log.model_id)
    return 0 if memory is None else (memory.judged_to - START) // DAY


def ask(log: Log) -> str:
    with writing(log.engine) as connection:
        model = catalog.get_model_by_id(connection, log.model_id)
        return reports.ask(connection, model, START, START + DAY, clock.now()).id


def state_of(log: Log, report: str) -> str:
    with reading(log.engine) as connection:
        return reports.get(connection, log.model_id, report).state


def at_night(monkeypatch: pytest.MonkeyPatch, number: int, do: Callable[[], object]) -> None:
    """Do something while the night of that number is judged."""
    real, seen = nightly._next, []

    def _next(*given: Any) -> Any:
        seen.append(given)
        if len(seen) == number:
            do()
        return real(*given)

    monkeypatch.setattr(nightly, "_next", _next)


def test_a_report_that_is_asked_for_in_a_catch_up_begins_after_the_night_under_way(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, asked, begun_at = late(engine), [], []

    def make(work: Work) -> Done:
        begun_at.append(judged_to(log))
        for _ in range(3):
            worked.nightly()  # looks that come while it is being made
        begun_at.append(judged_to(log))
        return Done("{}")

    monkeypatch.setitem(jobs.tasks.KINDS, "report", jobs.tasks.Kind(make))
    at_night(monkeypatch, 3, lambda: asked.append(ask(log)))
    leader = leadership.make(settings, engine)
    try:
        worked = jobs.Jobs(engine, settings, leader)
        worked.nightly()
        assert judged_to(log) == 3, "the night under way is finished, no other is begun"
        worked.nightly()
        assert judged_to(log) == 4, "while it waits a look judges one night: never none, never more"
        worked.work("report")
        assert begun_at == [4, 7] and state_of(log, asked[0]) == "done"
        worked.nightly()
        assert judged_to(log) == NIGHTS, "nobody waits any more"
    finally:
        leader.close()


def test_of_two_workers_the_one_that_catches_up_gives_way_to_what_the_other_is_at(
    postgres_engine: Engine, postgres_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, seen = late(postgres_engine), []
    leaders = [leadership.make(postgres_settings, postgres_engine) for _ in range(2)]
    one, other = (jobs.Jobs(postgres_engine, postgres_settings, leader) for leader in leaders)

    def make(work: Work) -> Done:
        one.nightly()
        seen.append(judged_to(log))
        return Done("{}")

    monkeypatch.setitem(jobs.tasks.KINDS, "report", jobs.tasks.Kind(make))
    try:
        report = ask(log)
        other.work("report")
        assert seen == [1] and state_of(log, report) == "done"
        with leaders[1].holding("nightly", str(log.model_id), 1):
            one.nightly()
        assert judged_to(log) == 1, "a model that the other worker is at is left alone"
        one.nightly()
        assert judged_to(log) == NIGHTS
    finally:
        for leader in leaders:
            leader.close()


def test_giving_way_changes_nothing_of_what_the_nights_say(sqlite_engine: Engine) -> None:
    def evidence(log: Log, enough: Callable[[], Callable[[], bool]]) -> list[tuple[int, str, float]]:
        said: list[tuple[int, str, float]] = []
        while nightly.judge_days(
            log.engine,
            log.model_id,
            START,
            lambda _connection, _model, given, _now: said.extend(
                (one.window_start, one.action, one.evidence) for one in given
            ),
            enough(),
        ):
            pass
        return said

    log = late(sqlite_engine)
    straight = evidence(log, lambda: lambda: False)
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql("DELETE FROM two_sample")
    one_by_one = CatchUp(lambda *_: 0, lambda: True, lambda: False)
    assert evidence(log, one_by_one._turn) == straight
    assert [at for at, _, _ in straight] == [START + day * DAY for day in range(NIGHTS)]
    assert "open" in [action for _, action, _ in straight]


def test_models_take_turns_when_each_look_has_one_night() -> None:
    judged: list[int] = []

    def judge(model_id: int, _project: int, enough: Callable[[], bool]) -> int:
        while not enough():
            judged.append(model_id)
        return 1

    nights = CatchUp(judge, lambda: True, lambda: False)
    for _ in range(6):
        nights.look([(1, 1), (2, 1), (3, 1)])
    assert judged == [1, 2, 3, 1, 2, 3]


def test_a_backlog_of_live_windows_goes_before_nights(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, done = late(sqlite_engine), []
    worked = jobs.Jobs(sqlite_engine, sqlite_settings, Always())
    now = clock.monotonic()

    def evaluate(*_: object) -> jobs.run.Progress:
        worked.nightly()
        done.append(judged_to(log))
        now_is = now + jobs.BACKLOG_SECONDS + 0.5
        monkeypatch.setattr(clock, "monotonic", lambda: now_is)
        return jobs.run.Progress(rows=1, complete=len(done) == 2)

    monkeypatch.setattr(clock, "monotonic", lambda: now)
    monkeypatch.setattr(jobs.run, "evaluate_model", evaluate)
    at_night(monkeypatch, 2, lambda: monkeypatch.setattr(clock, "monotonic", lambda: now + jobs.BACKLOG_SECONDS + 0.1))
    worked.evaluate()
    assert done == [2, 3], "a tick that takes long is a backlog: one night a look, until it is worked off"
    worked.nightly()
    assert judged_to(log) == NIGHTS


def test_rows_of_days_that_are_not_judged_yet_outlive_the_retention(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the model's clock a long import is old at once: a sweep in between must not take days from the test."""
    log = late(sqlite_engine)
    log.evaluate()
    worked = jobs.Jobs(sqlite_engine, sqlite_settings, Always())
    at_night(monkeypatch, 2, lambda: ask(log))
    worked.nightly()
    assert judged_to(log) == 2
    log.predictions([{**row, "timestamp": row["timestamp"] + 300 * DAY} for row in rows(0, False, "later")])
    log.evaluate()
    jobs.sweep(sqlite_engine, sqlite_settings, START)
    with reading(sqlite_engine) as connection:
        kept = connection.exec_driver_sql("SELECT sum(rows) FROM block").scalar()
        (oldest,) = connection.exec_driver_sql("SELECT min(min_timestamp) FROM block").one()
        assert profiles.current_number(connection, log.model_id)
    assert oldest <= START + 2 * DAY and kept >= (NIGHTS - 1) * 120
    with writing(sqlite_engine) as connection:
        tasks.finish(connection, _claimed(connection), START)
    worked.nightly()
    jobs.sweep(sqlite_engine, sqlite_settings, START)
    with reading(sqlite_engine) as connection:
        assert connection.exec_driver_sql("SELECT sum(rows) FROM block").scalar() == 120, "then they go"


def test_rows_of_a_model_without_live_traffic_are_not_kept_for_the_test(
    sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    """It judges live rows alone: what a shadow goes on to log after them has its time like any other."""
    log = late(sqlite_engine)
    worked = jobs.Jobs(sqlite_engine, sqlite_settings, Always())
    for day in (20, 300):
        shadow = [{**row, "role": "shadow"} for row in rows(0, False, f"shadow{day}-")]
        log.predictions([{**row, "timestamp": row["timestamp"] + day * DAY} for row in shadow])
    jobs.evaluate_fully(sqlite_engine, sqlite_settings, log.model_id, START)
    worked.nightly()
    assert judged_to(log) == NIGHTS + 1
    jobs.sweep(sqlite_engine, sqlite_settings, START)
    with reading(sqlite_engine) as connection:
        assert connection.exec_driver_sql("SELECT sum(rows) FROM block").scalar() == 120, "those of day 300"


def test_rows_of_days_before_the_first_night_outlive_the_retention(
    sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    """The models of an import have their first nights one after the other, and a sweep may come before that."""
    log = late(sqlite_engine)
    worked = jobs.Jobs(sqlite_engine, sqlite_settings, Always())
    log.predictions([{**row, "timestamp": row["timestamp"] + 300 * DAY} for row in rows(0, False, "later")])
    jobs.evaluate_fully(sqlite_engine, sqlite_settings, log.model_id, START)
    left = []
    for judge in (lambda: None, worked.nightly):
        judge()
        jobs.sweep(sqlite_engine, sqlite_settings, START)
        with reading(sqlite_engine) as connection:
            left.append(connection.exec_driver_sql("SELECT sum(rows) FROM block").scalar())
    assert left == [(NIGHTS + 2) * 120, 120] and judged_to(log) == NIGHTS + 1


def test_rows_are_not_kept_for_nights_that_cannot_be(sqlite_engine: Engine, sqlite_settings: Settings) -> None:
    """The rows of the reference are gone before the first night."""
    log = late(sqlite_engine)
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql("DELETE FROM reference_rows")
    log.predictions([{**row, "timestamp": row["timestamp"] + 300 * DAY} for row in rows(0, False, "later")])
    jobs.evaluate_fully(sqlite_engine, sqlite_settings, log.model_id, START)
    jobs.sweep(sqlite_engine, sqlite_settings, START)
    with reading(sqlite_engine) as connection:
        assert connection.exec_driver_sql("SELECT sum(rows) FROM block").scalar() == 120


@pytest.mark.parametrize(
    "kinds", [{}, dict.fromkeys("xyzw", "ignored"), {**dict.fromkeys("xyz", "ignored"), "w": "text"}]
)
def test_a_model_without_a_feature_to_compare_has_nights_and_its_rows_their_time(
    sqlite_engine: Engine, sqlite_settings: Settings, kinds: dict[str, str]
) -> None:
    def bare(day: int) -> list[dict[str, Any]]:
        return [row if kinds else {**row, "features": {}} for row in rows(day, False, f"of{day}-")]

    log = Log.make(sqlite_engine, features=kinds, window="1d", segments=[])
    log.reference([row for day in range(-16, 0) for row in bare(day)])
    log.predictions([row for day in range(3) for row in bare(day)])
    log.predictions([{**row, "timestamp": row["timestamp"] + 200 * DAY} for row in bare(100)])
    jobs.evaluate_fully(sqlite_engine, sqlite_settings, log.model_id, START)
    jobs.Jobs(sqlite_engine, sqlite_settings, Always()).nightly()
    assert judged_to(log) == 3
    jobs.sweep(sqlite_engine, sqlite_settings, START)
    with reading(sqlite_engine) as connection:
        assert connection.exec_driver_sql("SELECT sum(rows) FROM block").scalar() == 120


@pytest.mark.parametrize("look", [(catalog, "model_now"), (due, "undecided_from"), (nightly, "undecided_from")])
def test_rows_that_are_profiled_while_a_sweep_goes_on_keep_their_windows(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch, look: tuple[object, str]
) -> None:
    log = made(sqlite_engine, "1d")
    for day in (0, 300):
        log.predictions([{**row, "timestamp": row["timestamp"] + day * DAY} for row in rows(0, False, f"of{day}-")])
    real = getattr(*look)

    def looked(*given: Any) -> Any:
        found = real(*given)
        log.build()
        return found

    monkeypatch.setattr(*look, looked)
    jobs.sweep(sqlite_engine, sqlite_settings, START)
    with reading(sqlite_engine) as connection:
        assert connection.exec_driver_sql("SELECT sum(rows) FROM block").scalar() == 240
    assert log.evaluate()[0].evaluated


def _claimed(connection: Any) -> tasks.Claim:
    taken = tasks.claim(connection, "report", "test", clock.now(), DAY)
    assert taken is not None
    return taken


def test_a_worker_of_serve_has_one_thread_for_matrices_unless_somebody_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Started(Exception):
        pass

    def environment() -> dict[str, str]:
        given: dict[str, Any] = {}

        def popen(*_: object, **more: Any) -> None:
            given.update(more)
            raise Started

        monkeypatch.setattr(server.subprocess, "Popen", popen)
        with pytest.raises(Started):
            server.WorkerProcess()._supervise()
        found: dict[str, str] = given["env"]
        return found

    monkeypatch.setenv("KEEPWATCH_TICK", "7s")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert environment()["OPENBLAS_NUM_THREADS"] == "1" and environment()["KEEPWATCH_TICK"] == "7s"
    assert environment()["MALLOC_ARENA_MAX"] == "2" and environment()["ARROW_DEFAULT_MEMORY_POOL"] == "system"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    assert environment()["OPENBLAS_NUM_THREADS"] == "4"


def test_no_job_of_a_worker_waits_for_another(sqlite_settings: Settings) -> None:
    """As many long jobs at once as there are: each begins."""

    class Together:
        def __getattr__(self, name: str) -> Callable[..., object]:
            return lambda *_: meeting.wait(20)

    scheduler = worker.schedule(Together(), sqlite_settings)  # type: ignore[arg-type]
    found = scheduler.get_jobs()
    met = threading.Event()
    meeting = threading.Barrier(len(found), action=met.set)
    for job in found:
        job.modify(next_run_time=clock.to_datetime(clock.now()))
    scheduler.start()
    try:
        assert met.wait(20), f"{meeting.n_waiting} of {len(found)} jobs had begun"
    finally:
        meeting.abort()
        scheduler.shutdown(wait=True)
