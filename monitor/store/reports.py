"""Reports on demand: asked for by a row, computed by whoever claims it, kept with their HTML.

A claim is a lease: when its holder does not finish in time, another may take the report, at most MAX_ATTEMPTS times.
The lease's token fences the end: a holder that was overtaken cannot write its result.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.errors import NotFound
from monitor.store.identity import new_ids
from monitor.store.tables import lease, report

KEPT = 50  # finished reports a model; older ones go when a new one is asked for
MAX_ATTEMPTS = 3
JOB = "report"


@dataclass(frozen=True)
class Report:
    """A report without its HTML. Times in microseconds; `state` is pending, running, done or failed."""

    id: str
    project_id: int
    model_id: int
    from_at: int
    to_at: int
    state: str
    progress: str
    error: str | None
    rows: int | None
    created_at: int
    finished_at: int | None


@dataclass(frozen=True)
class Claim:
    """A report to compute, and the token that its end must show."""

    report: Report
    token: int


_LIGHT = [report.c[name] for name in Report.__dataclass_fields__]


def create_report(connection: Connection, project_id: int, model_id: int, from_at: int, to_at: int, now: int) -> Report:
    """Ask for a report of from_at <= timestamp < to_at."""
    made = Report(new_ids(1)[0], project_id, model_id, from_at, to_at, "pending", "waiting", None, None, now, None)
    connection.execute(sa.insert(report).values(**{name: getattr(made, name) for name in Report.__dataclass_fields__}))
    old = (
        sa.select(report.c.id)
        .where(report.c.model_id == model_id, report.c.finished_at.is_not(None))
        .order_by(report.c.created_at.desc(), report.c.id.desc())
        .offset(KEPT)
    )
    for report_id in list(connection.scalars(old)):
        connection.execute(sa.delete(report).where(report.c.id == report_id))
    return made


def get_report(connection: Connection, model_id: int, report_id: str) -> Report:
    """A report of that model.

    Raises:
        NotFound: there is none of that id.
    """
    row = connection.execute(
        sa.select(*_LIGHT).where(report.c.model_id == model_id, report.c.id == report_id)
    ).one_or_none()
    if row is None:
        raise NotFound("there is no report of that id: it may have been replaced by newer ones")
    return Report(*row)


def list_reports(connection: Connection, model_id: int, limit: int, cursor: str | None = None) -> list[Report]:
    """At most `limit` reports, newest first, those before `cursor` (an id: ids ascend with time)."""
    query = sa.select(*_LIGHT).where(report.c.model_id == model_id)
    if cursor is not None:
        query = query.where(report.c.id < cursor)
    return [Report(*row) for row in connection.execute(query.order_by(report.c.id.desc()).limit(limit))]


def count_waiting(connection: Connection, model_id: int) -> int:
    """How many reports of the model are not finished."""
    query = sa.select(sa.func.count()).where(report.c.model_id == model_id, report.c.finished_at.is_(None))
    return int(connection.scalar(query) or 0)


def read_html(connection: Connection, model_id: int, report_id: str) -> bytes | None:
    """The page of a report that is done, else None."""
    packed = connection.scalar(sa.select(report.c.html).where(report.c.model_id == model_id, report.c.id == report_id))
    return None if packed is None else zlib.decompress(packed)


def claim_report(connection: Connection, owner: str, now: int, lease_us: int) -> Claim | None:
    """Take the oldest report that nobody works on, until now + lease_us; None when there is none.

    A report whose holders ended MAX_ATTEMPTS times without a result becomes failed.
    """
    held = sa.exists().where(lease.c.job == JOB, lease.c.subject == report.c.id, lease.c.lease_until > now)
    query = (
        sa.select(*_LIGHT)
        .where(report.c.state.in_(("pending", "running")), ~held)
        .order_by(report.c.created_at, report.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    found = Report(*row)
    token = _take_lease(connection, found, owner, now + lease_us)
    if token > MAX_ATTEMPTS:
        reason = f"computing it was broken off {MAX_ATTEMPTS} times: choose a shorter stretch"
        fail_report(connection, Claim(found, token), reason, now)
        return None
    set_progress(connection, Claim(found, token), "reading rows")
    return Claim(found, token)


def _take_lease(connection: Connection, found: Report, owner: str, until: int) -> int:
    mine = sa.and_(lease.c.job == JOB, lease.c.subject == found.id)
    token = connection.scalar(sa.select(lease.c.token).where(mine))
    values: dict[str, Any] = {"owner": owner, "token": (token or 0) + 1, "lease_until": until}
    if token is None:
        ids = {"job": JOB, "subject": found.id, "project_id": found.project_id}
        connection.execute(sa.insert(lease).values(**ids, **values))
    else:
        connection.execute(sa.update(lease).where(mine).values(**values))
    return int(values["token"])


def set_progress(connection: Connection, claim: Claim, progress: str) -> bool:
    """Say how far it is; False when the claim is not ours any more."""
    return _change(connection, claim, state="running", progress=progress)


def finish_report(connection: Connection, claim: Claim, page: bytes, rows: int, now: int) -> bool:
    """Keep the page; False when the claim is not ours any more."""
    packed = zlib.compress(page, 6)
    done = _change(
        connection, claim, state="done", progress="done", error=None, rows=rows, html=packed, finished_at=now
    )
    return done and _drop_lease(connection, claim)


def fail_report(connection: Connection, claim: Claim, error: str, now: int) -> bool:
    """Keep why there is no page; False when the claim is not ours any more."""
    done = _change(connection, claim, state="failed", progress="failed", error=error, finished_at=now)
    return done and _drop_lease(connection, claim)


def _change(connection: Connection, claim: Claim, **values: Any) -> bool:
    ours = sa.exists().where(lease.c.job == JOB, lease.c.subject == claim.report.id, lease.c.token == claim.token)
    changed = connection.execute(
        sa.update(report).where(report.c.id == claim.report.id, report.c.finished_at.is_(None), ours).values(**values)
    )
    return changed.rowcount == 1


def _drop_lease(connection: Connection, claim: Claim) -> bool:
    connection.execute(sa.delete(lease).where(lease.c.job == JOB, lease.c.subject == claim.report.id))
    return True
