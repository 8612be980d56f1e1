"""What workers have counted, added up: a worker has no port that Prometheus could read, so its counts go through the
database. They only grow, whoever counted, and outlive the worker.
"""

import json
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from monitor.store.session import is_sqlite
from monitor.store.tables import counted
from monitor.telemetry import Sample


def add(connection: Connection, project_id: int, counts: Mapping[Sample, float]) -> None:
    """Add to each sample what was counted since it was told last."""
    if not counts:
        return
    insert = sqlite.insert(counted) if is_sqlite(connection) else postgresql.insert(counted)
    keys = [counted.c.sample, counted.c.labels]
    added = insert.on_conflict_do_update(index_elements=keys, set_={"value": counted.c.value + insert.excluded.value})
    rows = [
        {"sample": one.name, "labels": json.dumps(dict(one.labels)), "project_id": project_id, "value": value}
        for one, value in sorted(counts.items())
    ]
    connection.execute(added, rows)


def totals(connection: Connection) -> dict[Sample, float]:
    """Every sample with all that was ever counted."""
    found = connection.execute(sa.select(counted.c.sample, counted.c.labels, counted.c.value))
    return {Sample(row.sample, tuple(json.loads(row.labels).items())): row.value for row in found}
