"""How a transaction of SQLite gets the write lock, and what it says when it does not."""

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
