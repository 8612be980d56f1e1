"""A model's health in a word, and why."""

from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.clock import DAY, HOUR, MINUTE, SECOND
from monitor.store import blocks, references
from monitor.store.catalog import Model
from monitor.store.tables import alert, block, measurement

SILENT_WINDOWS = 3
_NEWEST_BLOCKS = 50


@dataclass(frozen=True)
class Health:
    """`state`: healthy, warning, critical, no_data or learning; `reasons`: sentences, the weightiest first."""

    state: str
    reasons: list[str] = field(default_factory=list)


def health(connection: Connection, model: Model, now: int) -> Health:
    """The state of a model at `now`, its own clock.

    An open critical alert makes it critical, any other open alert a warning. Without rows for three windows it has no
    data. Before it has a reference that somebody chose, it is learning.
    """
    alerts = _open_alerts(connection, model)
    newest = _newest_row(connection, model)
    reasons = [text for _, text in alerts]
    silent = _silence(model, newest, now)
    if silent is not None:
        reasons.append(silent)
    learning = _learning(connection, model, newest)
    if learning is not None:
        reasons.append(learning)
    failed = _failed(connection, model)
    if failed is not None:
        reasons.append(failed)
    if model.paused_at is not None:
        reasons.append(f"Paused since {_second(model.paused_at)}: windows are measured but not judged.")
    return Health(_state(alerts, silent, learning, failed), reasons)


def _state(alerts: list[tuple[str, str]], silent: str | None, learning: str | None, failed: str | None) -> str:
    if any(severity == "critical" for severity, _ in alerts):
        return "critical"
    if any(severity == "warning" for severity, _ in alerts):
        return "warning"
    if silent is not None:
        return "no_data"
    if failed is not None:
        return "warning"
    return "learning" if learning is not None else "healthy"


def _open_alerts(connection: Connection, model: Model) -> list[tuple[str, str]]:
    """(severity, text) of alerts that are not resolved, critical ones first, then the newest."""
    query = (
        sa.select(alert.c.severity, alert.c.text)
        .where(alert.c.model_id == model.id, alert.c.state != "resolved")
        .order_by(alert.c.opened_at.desc())
    )
    found = [(row.severity, row.text) for row in connection.execute(query)]
    return sorted(found, key=lambda one: ("critical", "warning", "info").index(one[0]))


def _newest_row(connection: Connection, model: Model) -> int | None:
    """The latest timestamp among the newest blocks; rows arrive roughly in the order of their times."""
    newest = (
        sa.select(block.c.max_timestamp)
        .where(block.c.model_id == model.id)
        .order_by(block.c.first_row.desc())
        .limit(_NEWEST_BLOCKS)
        .subquery()
    )
    found = connection.scalar(sa.select(sa.func.max(newest.c.max_timestamp)))
    return None if found is None else int(found)


def _silence(model: Model, newest: int | None, now: int) -> str | None:
    if newest is None:
        return "No predictions have arrived yet."
    quiet = now - newest
    if quiet <= SILENT_WINDOWS * model.config.window_us + model.config.grace_us:
        return None
    return f"No predictions for {_span(quiet)}: the last was made at {_second(newest)}."


def _learning(connection: Connection, model: Model, newest: int | None) -> str | None:
    if newest is None:
        return None
    known = references.list_references(connection, model.id)
    if any(not one.provisional for one in known):
        return None
    rows = blocks.log_end(connection, model.id).next_row
    behind = f"the first {known[-1].rows:,} rows serve" if known else f"{rows:,} rows have arrived"
    return f"No reference yet ({behind}): `PUT /v1/models/{model.name}/reference` sets one."


def _failed(connection: Connection, model: Model) -> str | None:
    """Why the newest window could not be measured, if it could not."""
    query = (
        sa.select(measurement.c.start, measurement.c.error)
        .where(measurement.c.model_id == model.id)
        .order_by(measurement.c.start.desc(), measurement.c.revision.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None or row.error is None:
        return None
    return f"The window of {_second(row.start)} could not be measured: {row.error.rstrip('.')}."


def _second(at: int) -> str:
    """A time for people: nobody asks when to the microsecond."""
    return clock.render(at // SECOND * SECOND)


def _span(length: int) -> str:
    for unit, name in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if length >= 2 * unit:
            return f"{length // unit} {name}"
    return "a minute"
