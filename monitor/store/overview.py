"""Small reads for pages: counts and latest times, each from an index, none from a payload."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store import tables as t
from monitor.store.model_config import ModelConfig
from monitor.store.outbox import in_turn


@dataclass(frozen=True)
class WindowRows:
    """The latest revision of a window: its start in microseconds, its rows, how many have an outcome, and the first
    metric of performance."""

    start: int
    rows: int
    labelled: int
    performance: float | None


@dataclass(frozen=True)
class Newest:
    """What came last to a model. `row_at`: when its newest prediction happened; `rows` that ever came; `known_at` of
    its log; `window` and `error`: the start of the newest window, and why that one could not be measured."""

    row_at: int | None = None
    rows: int = 0
    known_at: int | None = None
    window: int | None = None
    error: str | None = None


def open_alert_counts(connection: Connection, project_id: int) -> dict[int, int]:
    """Alerts that are not resolved, by model number; models without one are left out."""
    table = t.alert
    query = (
        sa.select(table.c.model_id, sa.func.count())
        .where(table.c.project_id == project_id, table.c.state != "resolved")
        .group_by(table.c.model_id)
    )
    return {int(model): int(number) for model, number in connection.execute(query)}


def newest(connection: Connection, project_id: int, model_id: int | None = None) -> dict[int, Newest]:
    """What came last to a model, or to every model of the project, in one query that looks at the end of indexes.

    Rows arrive roughly in the order of their times: the newest is in the block that came last, or in the one that
    begins last (when a backfill came after it).
    """
    log, block, window = t.log_position.c, t.block.c, t.measurement.c

    def last(column: sa.Column[Any], of: sa.Column[Any], *order: sa.Column[Any]) -> sa.ScalarSelect[Any]:
        query = sa.select(column).where(of == log.model_id).order_by(*(one.desc() for one in order)).limit(1)
        return query.correlate(t.log_position).scalar_subquery()

    query = sa.select(
        log.model_id,
        last(block.max_timestamp, block.model_id, block.first_row),
        last(block.max_timestamp, block.model_id, block.min_timestamp),
        log.next_row,
        log.known_at,
        last(window.start, window.model_id, window.start),
        last(window.error, window.model_id, window.start, window.revision),
    ).where(of_models(t.log_position, project_id, model_id))
    return {
        model: Newest(None if arrived is None else max(arrived, begins), *rest)
        for model, arrived, begins, *rest in connection.execute(query).all()
    }


def of_models(table: sa.FromClause, project_id: int, model_id: int | None) -> sa.ColumnElement[bool]:
    """The rows of one model of a project, or of all."""
    mine = table.c.project_id == project_id
    return mine if model_id is None else sa.and_(mine, table.c.model_id == model_id)


Spans = Sequence[tuple[int, int, int]]  # model, from, to


def window_rows(connection: Connection, spans: Spans) -> dict[int, list[WindowRows]]:
    """The measured windows of models that start in [from, to), oldest first; a model may have several spans."""
    if not spans:
        return {}
    table, wanted = t.measurement.c, _wanted(spans)
    query = (
        sa.select(table.model_id, table.start, table.rows, table.labelled, table.performance)
        .join_from(wanted, t.measurement, _within(wanted))
        .order_by(table.model_id, table.start, table.revision)
    )
    found: dict[int, dict[int, WindowRows]] = {}
    for model, start, *rest in connection.execute(query, execution_options={"compiled_cache": None}).all():
        found.setdefault(model, {})[start] = WindowRows(start, *rest)
    return {model: list(windows.values()) for model, windows in found.items()}


def window_totals(connection: Connection, spans: Spans) -> dict[int, tuple[int, int]]:
    """(rows, labelled rows) of each model over the windows that start in its span; one span a model."""
    if not spans:
        return {}
    found = _totals(connection, spans, sa.true())
    restated = {model for model, (_, _, revision) in found.items() if revision}
    if restated:  # to look for a later revision of each window costs more than the sums: most have none
        later = t.measurement.alias("later")
        mine = [getattr(later.c, name) == t.measurement.c[name] for name in ("model_id", "start")]
        latest = ~sa.exists().where(*mine, later.c.revision > t.measurement.c.revision)
        found |= _totals(connection, [span for span in spans if span[0] in restated], latest)
    return {model: (rows, labelled) for model, (rows, labelled, _) in found.items()}


def _totals(connection: Connection, spans: Spans, which: sa.ColumnElement[bool]) -> dict[int, tuple[int, int, int]]:
    """(rows, labelled rows, highest revision) of each model over these of the measurements in its span."""
    table, wanted = t.measurement.c, _wanted(spans)
    query = (
        sa.select(wanted.c.column1, sa.func.sum(table.rows), sa.func.sum(table.labelled), sa.func.max(table.revision))
        .join_from(wanted, t.measurement, sa.and_(_within(wanted), which), isouter=True)
        .group_by(wanted.c.column1)
    )
    answer = connection.execute(query, execution_options={"compiled_cache": None})
    return {model: (int(rows or 0), int(labelled or 0), int(last or 0)) for model, rows, labelled, last in answer.all()}


def _wanted(spans: Spans) -> sa.CTE:
    """Spans as a table, by model, so that what is grouped by it needs no sorting. They are our own whole numbers,
    written out: a thousand bound parameters cost more than all the rest of the query."""
    text = ", ".join(f"({int(model)}, {int(low)}, {int(high)})" for model, low, high in spans)
    columns = [sa.column(f"column{place}", sa.BigInteger) for place in (1, 2, 3)]  # so both databases name them
    ordered = f"SELECT column1, column2, column3 FROM (VALUES {text}) AS given ORDER BY column1"
    return sa.text(ordered).columns(*columns).cte("wanted")


def _within(wanted: sa.CTE) -> sa.ColumnElement[bool]:
    table = t.measurement.c
    return sa.and_(table.model_id == wanted.c.column1, table.start >= wanted.c.column2, table.start < wanted.c.column3)


@dataclass(frozen=True)
class WindowState:
    """The latest revision of a window without its numbers; `final`: it has given its inputs' evidence."""

    start: int
    end: int
    revision: int
    rows: int
    labelled: int
    final: bool
    error: str | None


def window_states(connection: Connection, model_id: int, limit: int) -> list[WindowState]:
    """The last windows that were measured, at most `limit`, oldest first."""
    table = t.measurement
    newest = sa.select(table.c.start).where(table.c.model_id == model_id).distinct()
    first = sa.select(sa.func.min(newest.order_by(table.c.start.desc()).limit(limit).subquery().c.start))
    names = ("start", "end", "revision", "rows", "labelled", "inputs_state", "error")
    query = (
        sa.select(*(table.c[name] for name in names))
        .where(table.c.model_id == model_id, table.c.start >= first.scalar_subquery())
        .order_by(table.c.start, table.c.revision)
    )
    latest = {
        row.start: WindowState(
            row.start, row.end, row.revision, row.rows, row.labelled, row.inputs_state == "final", row.error
        )
        for row in connection.execute(query)
    }
    return list(latest.values())


def alerts_opened(connection: Connection, model_id: int, since: int) -> dict[str, int]:
    """How many alerts of each family were opened since then."""
    query = (
        sa.select(t.alert.c.family, sa.func.count())
        .where(t.alert.c.model_id == model_id, t.alert.c.opened_at >= since)
        .group_by(t.alert.c.family)
    )
    return {family: int(number) for family, number in connection.execute(query)}


def timezones(connection: Connection, model_ids: Iterable[int]) -> dict[int, str]:
    """The timezone of each model, by its number."""
    wanted = sorted(set(model_ids))
    if not wanted:
        return {}
    query = sa.select(t.model.c.id, t.model.c.config).where(t.model.c.id.in_(wanted))
    return {row.id: ModelConfig.from_json(row.config).timezone for row in connection.execute(query)}


def delivery_counts(connection: Connection, project_id: int) -> dict[tuple[str, str], int]:
    """How many deliveries there are, by (channel id, state)."""
    table = t.delivery
    query = (
        sa.select(table.c.channel_id, table.c.state, sa.func.count())
        .where(table.c.project_id == project_id)
        .group_by(table.c.channel_id, table.c.state)
    )
    return {(str(channel), str(state)): int(number) for channel, state, number in connection.execute(query)}


@dataclass(frozen=True)
class LastAttempt:
    """How the newest attempt on a channel ended (`error` None: delivered), and when the next one is due, if any."""

    at: int
    error: str | None
    next_attempt_at: int | None


def last_attempts(connection: Connection, project_id: int) -> dict[str, LastAttempt]:
    """By channel id; channels without an attempt are left out.

    What fell due before the last attempt waits behind another message, or for its turn: that is no time to come.
    """
    delivery, attempt = t.delivery.c, t.delivery_attempt.c
    newest_first = sa.func.row_number().over(
        partition_by=delivery.channel_id, order_by=(attempt.at.desc(), attempt.delivery_id.desc())
    )
    ranked = (
        sa.select(delivery.channel_id, attempt.at, attempt.error, newest_first.label("place"))
        .join(t.delivery_attempt, attempt.delivery_id == delivery.id)
        .where(delivery.project_id == project_id)
        .subquery()
    )
    last = sa.select(ranked.c.channel_id, ranked.c.at, ranked.c.error).where(ranked.c.place == 1).subquery()
    query = (
        sa.select(last.c.channel_id, last.c.at, last.c.error, sa.func.min(delivery.next_attempt_at).label("next"))
        .join(t.channel, t.channel.c.id == last.c.channel_id)
        .outerjoin(
            t.delivery,
            sa.and_(
                delivery.channel_id == last.c.channel_id,
                delivery.project_id == project_id,
                delivery.state == "pending",
                delivery.next_attempt_at > last.c.at,
                in_turn(),
            ),
        )
        .group_by(last.c.channel_id, last.c.at, last.c.error)
    )
    return {row.channel_id: LastAttempt(row.at, row.error, row.next) for row in connection.execute(query)}


@dataclass(frozen=True)
class RecentDelivery:
    """A delivery without its body; `error` is how its newest attempt failed, None where it did not. `model` and
    `family` are those of its alert, None where it is of none, or that is gone."""

    id: str
    channel_id: str
    alert_id: str | None
    type: str
    state: str
    attempts: int
    created_at: int
    delivered_at: int | None
    error: str | None
    model: str | None
    family: str | None


def recent_deliveries(
    connection: Connection, project_id: int, limit: int, state: str | None = None
) -> list[RecentDelivery]:
    """The project's newest deliveries over all channels; with `state`, those in it."""
    columns, attempt = t.delivery.c, t.delivery_attempt.c
    error = (
        sa.select(attempt.error)
        .where(attempt.delivery_id == columns.id)
        .order_by(attempt.attempt.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = sa.select(
        columns.id,
        columns.channel_id,
        columns.alert_id,
        columns.type,
        columns.state,
        columns.attempts,
        columns.created_at,
        columns.delivered_at,
        error.label("error"),
        t.model.c.name.label("model"),
        t.alert.c.family,
    ).where(columns.project_id == project_id)
    query = query.outerjoin_from(t.delivery, t.alert, t.alert.c.id == columns.alert_id)
    query = query.outerjoin(t.model, t.model.c.id == t.alert.c.model_id)
    if state is not None:
        query = query.where(columns.state == state)
    found = connection.execute(query.order_by(columns.created_at.desc(), columns.id.desc()).limit(limit))
    return [RecentDelivery(*row) for row in found]
