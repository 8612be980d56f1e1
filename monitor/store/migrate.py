"""Bringing a database to the schema of this version, with Alembic configured in code.

The migrations lie in the package in an installed wheel, and beside it in a checkout.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine

from monitor.errors import SetupError
from monitor.store.session import is_sqlite, writing

_PACKAGE = Path(__file__).parents[1]
_ADVISORY_LOCK = 5_317_004_119  # any number that is ours: several processes may start together


def folder() -> Path:
    """Where the migrations are.

    Raises:
        SetupError: they were not installed.
    """
    for candidate in (_PACKAGE / "_migrations", _PACKAGE.parent / "migrations"):
        if (candidate / "env.py").exists():
            return candidate
    raise SetupError("the migrations are missing from this installation: install keepwatch again")


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; `env.py` takes the connection from it."""
    made = Config()
    made.set_main_option("script_location", str(folder()).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def upgrade(engine: Engine) -> bool:
    """Migrate to the newest schema in one transaction; returns whether there was anything to do.

    Raises:
        SetupError: the database was made by a newer version.
    """
    with writing(engine) as connection:
        if not is_sqlite(connection):
            connection.execute(sa.text("SET LOCAL lock_timeout = '10s'"))
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        before = _revision(connection)
        if before == _head():
            return False
        _check_known(before)
        command.upgrade(config(connection), "head")
    return True


def is_current(engine: Engine) -> bool:
    """Whether the database has the schema of this version."""
    with engine.connect() as connection:
        return _revision(connection) == _head()


def check_current(engine: Engine) -> None:
    """Refuse to work on another schema.

    Raises:
        SetupError: names the command that mends it.
    """
    with engine.connect() as connection:
        revision = _revision(connection)
    if revision != _head():
        _check_known(revision)
        raise SetupError("the database has an older schema: run `keepwatch migrate`")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _head() -> str | None:
    return ScriptDirectory.from_config(config()).get_current_head()


def _check_known(revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise SetupError("the database was made by a newer Keepwatch: install that version, or a newer one")
