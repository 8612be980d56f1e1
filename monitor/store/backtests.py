"""Back-tests: asked for by a row, computed by whoever claims it, kept with their result."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.errors import NotFound
from monitor.store import leases
from monitor.store.identity import new_ids
from monitor.store.tables import backtest, lease

KEPT = 50  # finished ones of a model; older ones go when a new one is asked for
MAX_ATTEMPTS = 3
JOB = "backtest"


@dataclass(frozen=True)
class Backtest:
    """A back-test; `request` and `result` are JSON, `progress` goes from 0 to 1, times are microseconds."""

    id: str
    project_id: int
    model_id: int
    request: str
    state: str
    progress: float
    result: str | None
    error: str | None
    attempts: int
    created_at: int
    finished_at: int | None


_COLUMNS = [backtest.c[name] for name in Backtest.__dataclass_fields__]


def create(connection: Connection, project_id: int, model_id: int, request: str, now: int) -> Backtest:
    """Ask for a back-test."""
    made = Backtest(new_ids(1)[0], project_id, model_id, request, "pending", 0.0, None, None, 0, now, None)
    connection.execute(sa.insert(backtest).values(**made.__dict__))
    old = (
        sa.select(backtest.c.id)
        .where(backtest.c.model_id == model_id, backtest.c.finished_at.is_not(None))
        .order_by(backtest.c.created_at.desc(), backtest.c.id.desc())
        .offset(KEPT)
    )
    for one in list(connection.scalars(old)):
        connection.execute(sa.delete(backtest).where(backtest.c.id == one))
    return made


def get(connection: Connection, model_id: int, backtest_id: str) -> Backtest:
    """A back-test of that model.

    Raises:
        NotFound: there is none of that id.
    """
    row = connection.execute(
        sa.select(*_COLUMNS).where(backtest.c.model_id == model_id, backtest.c.id == backtest_id)
    ).one_or_none()
    if row is None:
        raise NotFound("there is no back-test of that id: it may have been replaced by newer ones")
    return Backtest(*row)


def count_waiting(connection: Connection, model_id: int) -> int:
    """How many back-tests of the model are not finished."""
    query = sa.select(sa.func.count()).where(backtest.c.model_id == model_id, backtest.c.finished_at.is_(None))
    return int(connection.scalar(query) or 0)


def claim(connection: Connection, owner: str, now: int, life: int) -> tuple[Backtest, int] | None:
    """Take the oldest back-test that nobody is at, for `life` microseconds: (it, its lease's token).

    One whose holders ended MAX_ATTEMPTS times without a result becomes failed.
    """
    held = sa.exists().where(
        lease.c.job == JOB,
        lease.c.subject == backtest.c.id,
        lease.c.lease_until > leases.database_now(connection),
    )
    query = (
        sa.select(*_COLUMNS)
        .where(backtest.c.finished_at.is_(None), ~held)
        .order_by(backtest.c.created_at, backtest.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    found = Backtest(*row)
    token = leases.claim(connection, JOB, found.id, found.project_id, owner, life)
    if token is None:
        return None
    if found.attempts >= MAX_ATTEMPTS:
        error = f"computing it was broken off {MAX_ATTEMPTS} times: choose a shorter stretch"
        finish(connection, found, owner, token, now, error=error)
        return None
    change = sa.update(backtest).where(backtest.c.id == found.id)
    connection.execute(change.values(state="running", attempts=found.attempts + 1))
    return found, token


def say_progress(connection: Connection, found: Backtest, owner: str, token: int, progress: float, life: int) -> bool:
    """Say how far it is and keep its lease; False when the lease was lost, or the model with it."""
    if not leases.renew(connection, JOB, found.id, owner, token, life):
        return False
    changed = sa.update(backtest).where(backtest.c.id == found.id, backtest.c.finished_at.is_(None))
    return connection.execute(changed.values(progress=progress)).rowcount == 1


def finish(
    connection: Connection,
    found: Backtest,
    owner: str,
    token: int,
    now: int,
    *,
    result: str | None = None,
    error: str | None = None,
) -> bool:
    """Keep the result, or why there is none; False when the lease was lost before."""
    if not leases.release(connection, JOB, found.id, owner, token):
        return False
    connection.execute(sa.delete(lease).where(lease.c.job == JOB, lease.c.subject == found.id))
    keep(connection, found.id, now, result=result, error=error)
    return True


def keep(connection: Connection, backtest_id: str, now: int, *, result: str | None, error: str | None = None) -> None:
    """Keep what came out of a back-test."""
    connection.execute(
        sa.update(backtest)
        .where(backtest.c.id == backtest_id, backtest.c.finished_at.is_(None))
        .values(
            state="failed" if result is None else "done",
            progress=1.0,
            result=result,
            error=error,
            finished_at=now,
        )
    )
