"""What an installation needs before it serves: the schema, the secret key, a first API key."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.api.auth import issue_login, login_url
from monitor.errors import SetupError
from monitor.settings import Settings
from monitor.store import keys, migrate
from monitor.store.session import check_durability, database_file, make_engine, writing

DEFAULT_PROJECT = 1
_SHORTEST_SECRET = 32


@dataclass(frozen=True)
class Welcome:
    """What is printed once, on the first start: a key, and the address of a log-in."""

    key: str
    url: str


def with_secret_key(settings: Settings) -> Settings:
    """The settings with a secret key: the one that is set, or on SQLite one that is made once beside the database.

    Raises:
        SetupError: none is set for PostgreSQL, or it could be guessed, or others may read its file.
    """
    if settings.secret_key is not None:
        text = settings.secret_key.get_secret_value()
        if len(text) < _SHORTEST_SECRET or len(set(text)) < 10:
            raise SetupError(
                f"KEEPWATCH_SECRET_KEY must have at least {_SHORTEST_SECRET} random characters: openssl rand -hex 32"
            )
        return settings
    if not settings.embedded:
        raise SetupError("KEEPWATCH_SECRET_KEY must be set for PostgreSQL: openssl rand -hex 32")
    return settings.model_copy(update={"secret_key": SecretStr(_secret_file(database_file(settings.url)))})


def _secret_file(database: Path) -> str:
    if not database.exists():
        raise SetupError(f"the database {database} does not exist: `keepwatch serve` or `keepwatch migrate` makes it")
    path = database.with_name(database.name + ".secret")
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise SetupError(f"{path}: others may read the secret key: chmod 600 {path}") from None
        try:
            text = path.read_text().strip()
        except OSError as error:
            raise SetupError(f"{path}: the secret key cannot be read: {error.strerror}") from None
        if len(text) < _SHORTEST_SECRET:
            raise SetupError(f"{path}: the secret key is not complete: remove the file and start again") from None
        return text
    with os.fdopen(file, "w") as out:
        text = secrets.token_hex(32)
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    return text


def note_address(settings: Settings, base: str) -> None:
    """Keep beside an embedded database where it is served, for `keepwatch login` and for links in messages."""
    if settings.embedded:
        path = _address_file(settings)
        path.touch(mode=0o600)
        path.write_text(base)


def with_address(settings: Settings) -> Settings:
    """The settings with a public URL: the one that is set, else where the embedded database was last served."""
    if settings.public_url or not settings.embedded or not _address_file(settings).is_file():
        return settings
    return settings.model_copy(update={"public_url": _address_file(settings).read_text().strip()})


def _address_file(settings: Settings) -> Path:
    database = database_file(settings.url)
    return database.with_name(database.name + ".address")


def open_engine(settings: Settings, *, may_create: bool) -> Engine:
    """The engine of a migrated database. With `may_create`, SQLite is made and migrated; PostgreSQL never is.

    Raises:
        SetupError: the database is missing, has another schema, or would lose rows that it acknowledged.
    """
    create = may_create and settings.embedded
    engine = make_engine(settings, create=create)
    try:
        if create:
            _refuse_open_file(settings)
            migrate.upgrade(engine)
        migrate.check_current(engine)
        check_durability(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def opened(settings: Settings, *, may_create: bool) -> Iterator[Engine]:
    """`open_engine`, closed when the block ends."""
    engine = open_engine(settings, may_create=may_create)
    try:
        yield engine
    finally:
        engine.dispose()


def _refuse_open_file(settings: Settings) -> None:
    path = database_file(settings.url)
    if path.stat().st_mode & 0o007:
        raise SetupError(f"{path}: everybody on this machine may read the database: chmod 600 {path}")


def check_bind(engine: Engine, settings: Settings, host: str) -> None:
    """Refuse to be reached from other machines while nobody has a key.

    Raises:
        SetupError: the address is not a loopback one, and there is no key.
    """
    if settings.admin_key is None and not is_loopback(host) and not has_key(engine):
        raise SetupError(
            f"no key exists, so {host} is refused: make one first with `keepwatch migrate` and "
            "`keepwatch keys create --name admin --scope admin`, or set KEEPWATCH_ADMIN_KEY"
        )


def is_loopback(host: str) -> bool:
    """Whether an address to bind to is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def has_key(engine: Engine) -> bool:
    with engine.connect() as connection:
        return keys.any_key(connection)


def first_key(engine: Engine, settings: Settings, base: str) -> Welcome | None:
    """Store the key of KEEPWATCH_ADMIN_KEY, or make the first key of an embedded installation; None: nothing new.

    Raises:
        SetupError: KEEPWATCH_ADMIN_KEY is weak, or was revoked.
    """
    now = clock.now()
    with writing(engine) as connection:
        if settings.admin_key is not None:
            keys.ensure_given_key(connection, DEFAULT_PROJECT, settings.admin_key.get_secret_value(), now)
            return None
        if not settings.embedded or keys.list_keys(connection):
            return None
        key = keys.create_key(connection, DEFAULT_PROJECT, "admin", "admin", now)
        token = issue_login(connection, DEFAULT_PROJECT, "admin", "admin", now)
    return Welcome(key, login_url(base, token))
