"""How a transaction of SQLite gets the write lock, and what it says when it does not."""

import threading
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError, OperationalError

from monitor import clock
from monitor.settings import Settings
from monitor.store import session
from monitor.store.session import database_file, make_engine, reading, writing


def test_who_waits_for_the_write_lock_is_told_after_the_time_that_is_said(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BUSY_MS", 1000)
    with writing(sqlite_engine):
        began = clock.monotonic()
        with pytest.raises(OperationalError, match="locked"), writing(sqlite_engine):
            pass
        assert 1 <= clock.monotonic() - began < 1.9
    with reading(sqlite_engine) as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 1000


def test_who_gives_way_leaves_the_write_lock_to_others_between_two_transactions(
    sqlite_settings: Settings, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a process that writes many short transactions in a row, others would seldom find the lock free."""
    monkeypatch.setattr(session, "WAY_SECONDS", 0.5)
    polite, order = make_engine(sqlite_settings, gives_way=True), []

    def write_once() -> None:
        with writing(sqlite_engine):
            order.append("other")

    try:
        with writing(polite):
            order.append("first")
            other = threading.Thread(target=write_once)
            other.start()
        with writing(polite):
            order.append("second")
        other.join()
        assert order == ["first", "other", "second"]
        monkeypatch.setattr(session._Way, "give", lambda _: pytest.fail("nobody else waits"))
        with writing(sqlite_engine):
            pass
    finally:
        polite.dispose()


def test_a_damaged_file_is_an_error_of_the_database_to_writers_as_to_readers(
    sqlite_settings: Settings, sqlite_engine: Engine
) -> None:
    """Whoever calls knows SQLAlchemy's errors alone."""
    with writing(sqlite_engine):
        pass
    other = make_engine(sqlite_settings)
    with writing(other) as connection:
        connection.exec_driver_sql("UPDATE project SET name = 'other'")
    with other.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    other.dispose()
    file: Path = database_file(sqlite_settings.url)
    with file.open("r+b") as opened:
        opened.write(b"damaged!" * 1024)
    for transaction in (writing, reading):
        with pytest.raises(DatabaseError), transaction(sqlite_engine) as connection:
            connection.exec_driver_sql("SELECT * FROM project").all()


def end_pooled(engine: Engine, other: Engine) -> None:
    """End the sessions of three connections that lie in the pool, as a server does that is started anew."""
    opened = [engine.connect() for _ in range(3)]
    numbers = [connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for connection in opened]
    for connection in opened:
        connection.close()
    with other.connect() as connection:
        ended = f"SELECT pg_terminate_backend(one, 10000) FROM unnest(ARRAY{numbers}) AS one"
        assert connection.exec_driver_sql(ended).scalars().all() == [True] * 3


def test_a_connection_that_idled_is_asked_whether_it_is_there(
    postgres_settings: Settings, postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was used within the last second is not: when its session has ended, one statement fails, and the others
    get new connections."""
    engine = make_engine(postgres_settings)
    try:
        monkeypatch.setattr(session, "PING_AFTER", 0.0)
        end_pooled(engine, postgres_engine)
        for transaction in (reading, writing, reading):
            with transaction(engine) as connection:
                assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        monkeypatch.setattr(session, "PING_AFTER", 60.0)
        end_pooled(engine, postgres_engine)
        with pytest.raises(OperationalError), writing(engine) as connection:
            connection.exec_driver_sql("SELECT 1")
        for transaction in (reading, writing, reading):
            with transaction(engine) as connection:
                assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    finally:
        engine.dispose()
