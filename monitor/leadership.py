"""May this process do the background work? On SQLite one process leads, on PostgreSQL many share.

SQLite: an exclusive lock on a file beside the database, which the system frees when the process ends, however it ends.
PostgreSQL: a lease for each job and model, renewed while the work goes on.
"""

import fcntl
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from monitor import clock, log
from monitor.settings import Settings
from monitor.store import leases
from monitor.store.session import database_file, writing

LIFE = 60 * clock.SECOND
RENEW_SECONDS = 15.0

_log = log.get(__name__)


class Leadership(Protocol):
    """`holding` gives whether the work may be done now, by this process, and keeps it so until the block ends."""

    def holding(self, job: str, subject: str, project_id: int) -> AbstractContextManager[bool, bool | None]: ...

    def close(self) -> None: ...


def make(settings: Settings, engine: Engine) -> Leadership:
    """The leadership that fits the database."""
    if settings.embedded:
        return FileLeadership(database_file(settings.url))
    return LeaseLeadership(engine)


def is_led(database: Path) -> bool:
    """Whether a process holds the lock beside an embedded database."""
    try:
        file = os.open(_lock_of(database), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for a blink: a worker that starts now asks again
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _lock_of(database: Path) -> Path:
    return database.with_name(database.name + ".worker.lock")


class FileLeadership:
    """One process leads: the one that holds the lock on `<database>.worker.lock`."""

    def __init__(self, database: Path) -> None:
        self._path = _lock_of(database)
        self._file: int | None = None
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, job: str, subject: str, project_id: int) -> Iterator[bool]:
        """Whether this process leads; it leads from then on until it closes or ends."""
        yield self.leads()

    def leads(self) -> bool:
        with self._lock:
            if self._file is not None:
                return True
            file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            self._file = file
            return True

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


class LeaseLeadership:
    """Every process takes the jobs that no other has; a thread renews what is held."""

    def __init__(self, engine: Engine, life: int = LIFE, renew_seconds: float = RENEW_SECONDS) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._engine = engine
        self._life = life
        self._renew_seconds = renew_seconds
        self._held: dict[tuple[str, str], int] = {}
        self._changed = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)
        self._thread.start()

    @contextmanager
    def holding(self, job: str, subject: str, project_id: int) -> Iterator[bool]:
        """Whether the lease was free; it is given back when the block ends."""
        with writing(self._engine) as connection:
            token = leases.claim(connection, job, subject, project_id, self.owner, self._life)
        if token is None:
            yield False
            return
        with self._changed:
            self._held[job, subject] = token
        try:
            yield True
        finally:
            with self._changed:
                self._held.pop((job, subject), None)
            with suppress(SQLAlchemyError), writing(self._engine) as connection:
                leases.release(connection, job, subject, self.owner, token)

    def _renew(self) -> None:
        while not self._over.wait(self._renew_seconds):
            with self._changed:
                held = list(self._held.items())
            if not held:
                continue
            try:
                with writing(self._engine) as connection:
                    for (job, subject), token in held:
                        leases.renew(connection, job, subject, self.owner, token, self._life)
            except SQLAlchemyError as error:
                _log.warning("leases_not_renewed", reason=type(error).__name__)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
