"""When background jobs ran last, and what went wrong: what a person needs who asks why nothing happens."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.tables import job_run
from monitor.store.upsert import upsert


class Tick(NamedTuple):
    """The last run of a job; `subject` is a model's number or empty, `error` why it failed, None when it did not."""

    job: str
    subject: str
    at: int
    owner: str
    error: str | None


def note(connection: Connection, project_id: int, tick: Tick) -> None:
    """Keep that a job has run."""
    connection.execute(upsert(connection, job_run), [{"project_id": project_id, **tick._asdict()}])


def ticks(connection: Connection) -> list[Tick]:
    """The last run of every job."""
    columns = [job_run.c[name] for name in Tick._fields]
    return [Tick(*row) for row in connection.execute(sa.select(*columns).order_by(job_run.c.job, job_run.c.subject))]
