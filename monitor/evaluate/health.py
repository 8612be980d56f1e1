"""A model's health in a word, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.clock import DAY, HOUR, MINUTE, SECOND
from monitor.evaluate import findings
from monitor.store import overview, references, schema_findings
from monitor.store.catalog import Model
from monitor.store.overview import Newest
from monitor.store.schema_findings import SchemaFinding
from monitor.store.tables import alert

SILENT_WINDOWS = 3


@dataclass(frozen=True)
class Health:
    """`state`: healthy, warning, critical, no_data or learning; `reasons`: sentences, the weightiest first."""

    state: str
    reasons: list[str] = field(default_factory=list)


def health(connection: Connection, model: Model, now: int, last: Newest | None = None) -> Health:
    """The state of a model at `now`, its own clock.

    An open critical alert makes it critical, any other open alert a warning. Without rows for three windows it has no
    data. Where the last rows part from its schema it is a warning, new features excepted. Before it has a reference
    that somebody chose, it is learning. `last`: what came last to it, where that was read already.
    """
    if last is None:
        last = overview.newest(connection, model.project_id, model.id).get(model.id, Newest())
    alerts = _open_alerts(connection, model.project_id, model.id)
    learned = references.learned_from(connection, model.project_id, model.id)
    found = schema_findings.read(connection, model.project_id, model.id)
    return _health(model, alerts.get(model.id, []), last, learned.get(model.id), found, now)


def healths(
    connection: Connection,
    project_id: int,
    models: Sequence[Model],
    newest: Mapping[int, Newest],
    now: Mapping[int, int],
) -> dict[int, Health]:
    """The state of each of a project's models at its `now`, in three queries. `newest`: what came last to them."""
    alerts = _open_alerts(connection, project_id)
    learned = references.learned_from(connection, project_id)
    found: dict[int, list[SchemaFinding]] = {}
    for one in schema_findings.read(connection, project_id):
        found.setdefault(one.model_id, []).append(one)
    return {
        model.id: _health(
            model,
            alerts.get(model.id, []),
            newest[model.id],
            learned.get(model.id),
            found.get(model.id, []),
            now[model.id],
        )
        for model in models
    }


def _health(
    model: Model,
    alerts: list[tuple[str, str]],
    last: Newest,
    learned: tuple[bool, int] | None,
    found: list[SchemaFinding],
    now: int,
) -> Health:
    silent = _silence(model, last.row_at, now)
    learning = _learning(model, last, learned)
    failed = _failed(last)
    parted = findings.told(findings.recent(model, found, now))
    reasons = [*(text for _, text in alerts), *(one for one in (silent, learning, failed) if one is not None)]
    reasons += [text for _, text in parted]
    if model.paused_at is not None:
        reasons.append(f"Paused since {_second(model.paused_at)}: windows are measured but not judged.")
    broken = failed is not None or any(kind != schema_findings.NEW for kind, _ in parted)
    return Health(_state(alerts, silent, learning, broken), reasons)


def _state(alerts: list[tuple[str, str]], silent: str | None, learning: str | None, broken: bool) -> str:
    if any(severity == "critical" for severity, _ in alerts):
        return "critical"
    if any(severity == "warning" for severity, _ in alerts):
        return "warning"
    if silent is not None:
        return "no_data"
    if broken:
        return "warning"
    return "learning" if learning is not None else "healthy"


def _open_alerts(
    connection: Connection, project_id: int, model_id: int | None = None
) -> dict[int, list[tuple[str, str]]]:
    """(severity, text) of alerts that are not resolved, by model, critical ones first, then the newest."""
    query = (
        sa.select(alert.c.model_id, alert.c.severity, alert.c.text)
        .where(overview.of_models(alert, project_id, model_id), alert.c.state != "resolved")
        .order_by(alert.c.opened_at.desc())
    )
    found: dict[int, list[tuple[str, str]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.model_id, []).append((row.severity, row.text))
    order = ("critical", "warning", "info").index
    return {model: sorted(alerts, key=lambda one: order(one[0])) for model, alerts in found.items()}


def _silence(model: Model, newest: int | None, now: int) -> str | None:
    if newest is None:
        return "No predictions have arrived yet."
    quiet = now - newest
    if quiet <= SILENT_WINDOWS * model.config.window_us + model.config.grace_us:
        return None
    return f"No predictions for {_span(quiet)}: the last was made at {_second(newest)}."


def _learning(model: Model, last: Newest, learned: tuple[bool, int] | None) -> str | None:
    if last.row_at is None or (learned is not None and learned[0]):
        return None
    behind = f"{last.rows:,} rows have arrived" if learned is None else f"the first {learned[1]:,} rows serve"
    return f"No reference yet ({behind}): `PUT /v1/models/{model.name}/reference` sets one."


def _failed(last: Newest) -> str | None:
    """Why the newest window could not be measured, if it could not."""
    if last.error is None or last.window is None:
        return None
    return f"The window of {_second(last.window)} could not be measured: {last.error.rstrip('.')}."


def _second(at: int) -> str:
    """A time for people: nobody asks when to the microsecond."""
    return clock.render(at // SECOND * SECOND)


def _span(length: int) -> str:
    for unit, name in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if length >= 2 * unit:
            return f"{length // unit} {name}"
    return "a minute"
