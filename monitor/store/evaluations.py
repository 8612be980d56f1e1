"""Measurements of windows with their revisions, the mark that a window gave its evidence, and the detectors' states."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.tables import detector, evaluation, measurement
from monitor.store.upsert import insert_new, upsert

INPUTS = "inputs"
PERFORMANCE = "performance"

PROVISIONAL = "provisional"
FINAL = "final"
NO_DATA = "no_data"
ERROR = "error"


class Measurement(NamedTuple):
    """The numbers of one window, live rows of all versions. States: provisional, final, no_data, error; `performance`:
    the first metric of the task, beside the payload that holds all of them."""

    start: int
    revision: int
    end: int
    measured_at: int
    inputs_state: str
    performance_state: str
    rows: int
    labelled: int
    error: str | None
    payload: bytes
    performance: float | None = None


class Evaluated(NamedTuple):
    """That a window gave its evidence; `at` is the model's clock."""

    kind: str
    start: int
    end: int
    at: int
    rows: int


_COLUMNS = [measurement.c[name] for name in Measurement._fields]
_LATEST = sa.select(
    measurement.c.model_id, measurement.c.start, sa.func.max(measurement.c.revision).label("revision")
).group_by(measurement.c.model_id, measurement.c.start)


def save_measurements(connection: Connection, project_id: int, model_id: int, rows: Sequence[Measurement]) -> None:
    """Insert these revisions, or replace those that exist (revision 0 while a window is provisional)."""
    if rows:
        values = [{"model_id": model_id, "project_id": project_id, **row._asdict()} for row in rows]
        connection.execute(upsert(connection, measurement), values)


def latest_measurements(connection: Connection, model_id: int, from_at: int, to_at: int) -> list[Measurement]:
    """The latest revision of every window that starts in [from_at, to_at), by start."""
    latest = _LATEST.where(
        measurement.c.model_id == model_id, measurement.c.start >= from_at, measurement.c.start < to_at
    ).subquery()
    query = (
        sa.select(*_COLUMNS)
        .join(
            latest,
            sa.and_(measurement.c.start == latest.c.start, measurement.c.revision == latest.c.revision),
        )
        .where(measurement.c.model_id == model_id)
        .order_by(measurement.c.start)
    )
    return [Measurement(*row) for row in connection.execute(query).all()]


def measured_starts(connection: Connection, model_id: int, from_at: int, to_at: int) -> set[int]:
    """Which windows that start in [from_at, to_at) have a measurement."""
    query = sa.select(measurement.c.start).where(
        measurement.c.model_id == model_id, measurement.c.start >= from_at, measurement.c.start < to_at
    )
    return set(connection.scalars(query))


def latest_measurement(connection: Connection, model_id: int, start: int) -> Measurement | None:
    found = latest_measurements(connection, model_id, start, start + 1)
    return found[0] if found else None


def last_with_state(connection: Connection, model_id: int, kind: str, state: str) -> Measurement | None:
    """The newest window in that state of its inputs or its performance, in its latest revision."""
    column = measurement.c[f"{kind}_state"]
    query = (
        sa.select(*_COLUMNS)
        .where(measurement.c.model_id == model_id, column == state)
        .order_by(measurement.c.start.desc(), measurement.c.revision.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Measurement(*row)


def revisions_between(connection: Connection, model_id: int, from_at: int, to_at: int) -> list[Measurement]:
    """Every revision of the windows that start in [from_at, to_at), by start, the oldest first."""
    query = (
        sa.select(*_COLUMNS)
        .where(measurement.c.model_id == model_id, measurement.c.start >= from_at, measurement.c.start < to_at)
        .order_by(measurement.c.start, measurement.c.revision)
    )
    return [Measurement(*row) for row in connection.execute(query)]


def revisions(connection: Connection, model_id: int, start: int) -> list[Measurement]:
    """Every revision of a window's numbers, oldest first."""
    query = (
        sa.select(*_COLUMNS)
        .where(measurement.c.model_id == model_id, measurement.c.start == start)
        .order_by(measurement.c.revision)
    )
    return [Measurement(*row) for row in connection.execute(query)]


def add_evaluation(connection: Connection, project_id: int, model_id: int, row: Evaluated) -> bool:
    """Record that a window gave its evidence. Returns False when it already has: then nothing of it may be written."""
    made = connection.execute(
        insert_new(connection, evaluation).returning(evaluation.c.start),  # psycopg gives no row count for it
        {
            "model_id": model_id,
            "project_id": project_id,
            "kind": row.kind,
            "start": row.start,
            "end": row.end,
            "evaluated_at": row.at,
            "rows": row.rows,
        },
    ).one_or_none()
    return made is not None


def last_evaluated(connection: Connection, model_id: int, kind: str) -> Evaluated | None:
    """The latest window that gave its evidence of this kind."""
    row = connection.execute(
        sa.select(evaluation)
        .where(evaluation.c.model_id == model_id, evaluation.c.kind == kind)
        .order_by(evaluation.c.start.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Evaluated(row.kind, row.start, row.end, row.evaluated_at, row.rows)


def evaluations(connection: Connection, model_id: int, from_at: int, to_at: int) -> list[Evaluated]:
    """The evaluations of windows that start in [from_at, to_at), by start."""
    query = (
        sa.select(evaluation)
        .where(evaluation.c.model_id == model_id, evaluation.c.start >= from_at, evaluation.c.start < to_at)
        .order_by(evaluation.c.start, evaluation.c.kind)
    )
    return [Evaluated(row.kind, row.start, row.end, row.evaluated_at, row.rows) for row in connection.execute(query)]


def evaluated_starts(connection: Connection, model_id: int, kind: str, starts: Sequence[int]) -> set[int]:
    """Those of some windows that have given their evidence of this kind."""
    found: set[int] = set()
    for at in range(0, len(starts), 500):
        query = sa.select(evaluation.c.start).where(
            evaluation.c.model_id == model_id,
            evaluation.c.kind == kind,
            evaluation.c.start.in_(starts[at : at + 500]),
        )
        found.update(connection.scalars(query))
    return found


def count_judged(connection: Connection, model_id: int, from_at: int, to_at: int) -> int:
    """How many windows that overlap [from_at, to_at) have given evidence of one kind or the other."""
    query = sa.select(sa.func.count(sa.distinct(evaluation.c.start))).where(
        evaluation.c.model_id == model_id, evaluation.c.start < to_at, evaluation.c.end > from_at
    )
    return int(connection.scalar(query) or 0)


def detector_states(connection: Connection, model_id: int) -> dict[str, tuple[int, bytes]]:
    """Each family's (id of the reference it was made for, state)."""
    query = sa.select(detector.c.family, detector.c.reference_id, detector.c.state).where(
        detector.c.model_id == model_id
    )
    return {row.family: (row.reference_id, row.state) for row in connection.execute(query)}


def save_detectors(
    connection: Connection,
    project_id: int,
    model_id: int,
    reference_id: int,
    last_window: int,
    states: Mapping[str, bytes],
) -> None:
    """Replace the states of these families; `last_window` is the start of the window that they have seen last."""
    if not states:
        return
    values = [
        {
            "model_id": model_id,
            "family": family,
            "project_id": project_id,
            "reference_id": reference_id,
            "last_window": last_window,
            "state": state,
        }
        for family, state in states.items()
    ]
    connection.execute(upsert(connection, detector), values)


def forget_detectors(connection: Connection, model_id: int, families: Iterable[str]) -> None:
    connection.execute(
        sa.delete(detector).where(detector.c.model_id == model_id, detector.c.family.in_(list(families)))
    )
