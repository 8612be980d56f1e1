"""Background work that somebody asked for: queued as a row, done by whoever claims it, kept with what came of it.

A claim is a lease (`leases`): when its holder does not finish in time another takes the task, at most MAX_ATTEMPTS
times. The lease's token fences the end: a holder that was overtaken can write neither progress nor result.
"""

import json
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.errors import NotFound, QuotaExceeded
from monitor.store import leases
from monitor.store.identity import new_ids
from monitor.store.tables import lease, task

KEPT = 50  # finished tasks of a kind and model; older ones go when a new one is asked for
WAITING = 5  # tasks of a kind and model that are not finished
MAX_ATTEMPTS = 3
WORDS = {
    "report": "report",
    "backtest": "back-test",
    "slices": "search for slices",
    "monthly": "monthly report",
}  # kind -> as people are told


@dataclass(frozen=True)
class Task:
    """A piece of work without its document. `request` and `result` are JSON, `stage` says what is being done,
    `progress` goes from 0 to 1; `state` is pending, running, done or failed. Times in microseconds."""

    id: str
    project_id: int
    model_id: int
    kind: str
    request: str
    state: str
    stage: str
    progress: float
    result: str | None
    error: str | None
    attempts: int
    created_at: int
    finished_at: int | None

    @property
    def asked(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.request)
        return found

    @property
    def answer(self) -> dict[str, Any]:
        """The result; empty before there is one."""
        found: dict[str, Any] = {} if self.result is None else json.loads(self.result)
        return found


class Claim(NamedTuple):
    """A task to do, and what its every sign of life must show."""

    task: Task
    owner: str
    token: int


_COLUMNS = [task.c[name] for name in Task.__dataclass_fields__]


def ask(connection: Connection, project_id: int, model_id: int, kind: str, request: str, now: int) -> Task:
    """Ask for a piece of work.

    Raises:
        QuotaExceeded: WAITING of that kind and model are not finished yet.
    """
    if count_waiting(connection, model_id, kind) >= WAITING:
        raise QuotaExceeded(f"{WAITING} tasks ({WORDS[kind]}) of this model are not finished yet", retry_after=30)
    return add(connection, project_id, model_id, kind, request, now)


def add(
    connection: Connection, project_id: int, model_id: int, kind: str, request: str, now: int, result: str | None = None
) -> Task:
    """Put a task in, with its result when there is one already; the oldest finished ones make room."""
    done = result is not None
    made = Task(
        id=new_ids(1)[0],
        project_id=project_id,
        model_id=model_id,
        kind=kind,
        request=request,
        state="done" if done else "pending",
        stage="done" if done else "waiting",
        progress=float(done),
        result=result,
        error=None,
        attempts=0,
        created_at=now,
        finished_at=now if done else None,
    )
    connection.execute(sa.insert(task).values(**made.__dict__))
    old = (
        sa.select(task.c.id)
        .where(task.c.model_id == model_id, task.c.kind == kind, task.c.finished_at.is_not(None))
        .order_by(task.c.created_at.desc(), task.c.id.desc())
        .offset(KEPT)
    )
    for one in list(connection.scalars(old)):
        connection.execute(sa.delete(task).where(task.c.id == one))
    return made


def get(connection: Connection, model_id: int, kind: str, task_id: str) -> Task:
    """A task of that model and kind.

    Raises:
        NotFound: there is none of that id.
    """
    mine = (task.c.model_id == model_id, task.c.kind == kind, task.c.id == task_id)
    row = connection.execute(sa.select(*_COLUMNS).where(*mine)).one_or_none()
    if row is None:
        raise NotFound(f"there is no {WORDS[kind]} of that id: it may have been replaced by newer ones")
    return Task(*row)


def listed(connection: Connection, model_id: int, kind: str, limit: int, cursor: str | None = None) -> list[Task]:
    """At most `limit` tasks, newest first, those before `cursor` (an id: ids ascend with time)."""
    query = sa.select(*_COLUMNS).where(task.c.model_id == model_id, task.c.kind == kind)
    if cursor is not None:
        query = query.where(task.c.id < cursor)
    return [Task(*row) for row in connection.execute(query.order_by(task.c.id.desc()).limit(limit))]


def document(connection: Connection, model_id: int, task_id: str) -> bytes | None:
    """The document of a task that is done, else None."""
    packed = connection.scalar(sa.select(task.c.document).where(task.c.model_id == model_id, task.c.id == task_id))
    return None if packed is None else zlib.decompress(packed)


def count_waiting(connection: Connection, model_id: int, kind: str) -> int:
    """How many tasks of a kind and model are not finished."""
    mine = (task.c.model_id == model_id, task.c.kind == kind, task.c.finished_at.is_(None))
    return int(connection.scalar(sa.select(sa.func.count()).where(*mine)) or 0)


def is_anything_asked(connection: Connection) -> bool:
    """Whether a task of any kind and model waits or is being done: what can wait gives way to it."""
    return bool(connection.scalar(sa.select(sa.exists().where(task.c.finished_at.is_(None)))))


# ---------------------------------------------------------------- the worker's side


def claim(connection: Connection, kind: str, owner: str, now: int, life: int) -> Claim | None:
    """Take the oldest task of a kind that nobody is at, for `life` microseconds; None when there is none.

    One whose holders ended MAX_ATTEMPTS times without a result becomes failed.
    """
    held = sa.exists().where(
        lease.c.job == kind,
        lease.c.subject == task.c.id,
        lease.c.lease_until > leases.database_now(connection),
    )
    query = (
        sa.select(*_COLUMNS)
        .where(task.c.kind == kind, task.c.finished_at.is_(None), ~held)
        .order_by(task.c.created_at, task.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    found = Task(*row)
    token = leases.claim(connection, kind, found.id, found.project_id, owner, life)
    if token is None:
        return None
    taken = Claim(found, owner, token)
    if found.attempts >= MAX_ATTEMPTS:
        error = f"computing it was broken off {MAX_ATTEMPTS} times: choose a shorter stretch"
        finish(connection, taken, now, error=error)
        return None
    change = sa.update(task).where(task.c.id == found.id)
    connection.execute(change.values(state="running", stage="begun", attempts=found.attempts + 1))
    return taken


def tell(connection: Connection, taken: Claim, life: int, stage: str, progress: float) -> bool:
    """Say how far it is and keep the lease; False when the lease was lost, or the model with it."""
    found = taken.task
    if not leases.renew(connection, found.kind, found.id, taken.owner, taken.token, life):
        return False
    changed = sa.update(task).where(task.c.id == found.id, task.c.finished_at.is_(None))
    return connection.execute(changed.values(stage=stage, progress=progress)).rowcount == 1


def hand_back(connection: Connection, taken: Claim) -> bool:
    """Leave a task to the next worker at once, as if it had not been begun; False when the lease was lost before."""
    found = taken.task
    if not leases.release(connection, found.kind, found.id, taken.owner, taken.token):
        return False
    change = sa.update(task).where(task.c.id == found.id, task.c.finished_at.is_(None))
    connection.execute(change.values(state="pending", stage="waiting", attempts=found.attempts))
    return True


def finish(
    connection: Connection,
    taken: Claim,
    now: int,
    *,
    result: str | None = None,
    document: bytes | None = None,
    error: str | None = None,
) -> bool:
    """Keep what came of it, or why nothing did; False when the lease was lost before."""
    found = taken.task
    if not leases.release(connection, found.kind, found.id, taken.owner, taken.token):
        return False
    connection.execute(sa.delete(lease).where(lease.c.job == found.kind, lease.c.subject == found.id))
    word = "done" if error is None else "failed"
    change = sa.update(task).where(task.c.id == found.id, task.c.finished_at.is_(None))
    values: dict[str, Any] = {"state": word, "stage": word, "progress": 1.0, "result": result, "error": error}
    packed = None if document is None else zlib.compress(document, 6)
    return connection.execute(change.values(**values, document=packed, finished_at=now)).rowcount == 1
