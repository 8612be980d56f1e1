"""Connections and transactions: the only place that commits.

`reading` gives a snapshot, `writing` a transaction that commits when its block ends well. On SQLite a write transaction
takes the write lock at its start (BEGIN IMMEDIATE), so it never fails half-way for want of it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from monitor import clock
from monitor.errors import SetupError
from monitor.settings import Settings

BUSY_MS = 15_000
PING_AFTER = 1.0  # seconds without use
POLL_SECONDS = 0.001
WAY_SECONDS = 3 * POLL_SECONDS  # that a process which gives way leaves the write lock to others: they ask in between
SQLITE_FLOOR = (3, 51, 3)  # below it two writers can corrupt a WAL


class _Way:
    """When this process last had SQLite's write lock."""

    def __init__(self) -> None:
        self._had_it = -WAY_SECONDS

    def give(self) -> None:
        """Wait until others have had the time to take it."""
        time.sleep(max(0.0, self._had_it + WAY_SECONDS - clock.monotonic()))

    def left(self) -> None:
        self._had_it = clock.monotonic()


def make_engine(settings: Settings, *, create: bool = False, pool_size: int = 10, gives_way: bool = False) -> Engine:
    """An engine with the durability that the promise needs.

    Args:
        gives_way: after each of its transactions leave SQLite's write lock to other processes for a moment, as one does
            that writes many in a row and that nobody waits for.

    Raises:
        SetupError: the SQLite file does not exist and `create` is false, or the SQLite library is too old.
    """
    if settings.embedded:
        engine = _sqlite_engine(settings.url, create)
        return engine.execution_options(way=_Way()) if gives_way else engine
    engine = sa.create_engine(
        settings.url,
        pool_size=pool_size,
        max_overflow=10,
        pool_timeout=10,
        pool_use_lifo=True,  # few sessions, each with its statements prepared, in place of all in turn
        connect_args={"connect_timeout": 5, "options": "-c synchronous_commit=on -c timezone=UTC"},
    )
    _ping_idle(engine)
    return engine


def _ping_idle(engine: Engine) -> None:
    """Ask a connection whether it is still there before it is used, as `pool_pre_ping` does, but only after idling.

    One that answered a moment ago is not asked: under load the question takes as long as a statement.
    """

    @sa.event.listens_for(engine, "checkin")
    def note(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = clock.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def ping(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or clock.monotonic() - used_at < PING_AFTER:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:  # so all the others are gone too: the pool makes new ones
            raise sa.exc.InvalidatePoolError from None


def database_file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _sqlite_engine(url: str, create: bool) -> Engine:
    from pysqlite3 import dbapi2 as sqlite3

    if sqlite3.sqlite_version_info < SQLITE_FLOOR:
        raise SetupError(f"SQLite {sqlite3.sqlite_version} is too old: install pysqlite3 0.6.1 or newer")
    path = database_file(url)
    if not path.exists():
        if not create:
            raise SetupError(f"the database {path} does not exist: `keepwatch serve` or `keepwatch migrate` makes it")
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    engine = sa.create_engine(
        url,
        module=sqlite3,
        pool_size=10,
        max_overflow=20,
        connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000, "isolation_level": None},
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in (
        f"busy_timeout={BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-65536",
        "journal_size_limit=67108864",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def is_sqlite(connection: Connection | Engine) -> bool:
    return connection.dialect.name == "sqlite"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection whose reads all see one state of the database."""
    with engine.connect() as connection:
        if is_sqlite(connection):
            connection.exec_driver_sql("BEGIN")
        else:
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        try:
            yield connection
        finally:
            connection.rollback()
            if is_sqlite(connection):
                _end_sqlite(connection)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A write transaction: committed and synced when the block ends, rolled back when it raises."""
    with engine.connect() as connection:
        if is_sqlite(connection):
            _take_write_lock(connection)
        try:
            yield connection
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            if is_sqlite(connection):
                _end_sqlite(connection)
                if (way := _way(connection)) is not None:
                    way.left()


def _way(connection: Connection) -> _Way | None:
    found: _Way | None = connection.get_execution_options().get("way")
    return found


def _take_write_lock(connection: Connection) -> None:
    """BEGIN IMMEDIATE, asked for again every millisecond while another process writes.

    SQLite's own waiting sleeps longer each time, up to a tenth of a second. Beside a process that writes one short
    transaction after the other it sleeps through the moments in which the lock is free.
    """
    raw = connection.connection.dbapi_connection
    assert raw is not None
    assert connection.dialect.dbapi is not None
    way = _way(connection)
    raw.execute("PRAGMA busy_timeout=0")
    try:
        end = clock.monotonic() + BUSY_MS / 1000
        while clock.monotonic() < end:
            if way is not None:
                way.give()
            try:
                raw.execute("BEGIN IMMEDIATE")
                connection.begin()
                return
            except connection.dialect.dbapi.Error as error:
                if "locked" not in str(error):
                    break
            time.sleep(POLL_SECONDS)
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # raises what is the matter, as SQLAlchemy tells it
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_MS}")


def _end_sqlite(connection: Connection) -> None:
    raw = connection.connection.dbapi_connection
    if raw is not None and raw.in_transaction:
        raw.execute("ROLLBACK")


def check_durability(engine: Engine) -> None:
    """Refuse a PostgreSQL that would acknowledge before it has synced.

    Raises:
        SetupError: names the setting.
    """
    if is_sqlite(engine):
        return
    with engine.connect() as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            value = connection.exec_driver_sql(f"SHOW {name}").scalar()
            if value not in ("on", "remote_apply", "remote_write"):
                raise SetupError(f"PostgreSQL runs with {name}={value}: acknowledged rows could be lost; set it to on")
