"""Small reads for pages: counts and latest times, each from an index, none from a payload."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store import tables as t
from monitor.store.model_config import ModelConfig


@dataclass(frozen=True)
class WindowRows:
    """The latest revision of a window: its start in microseconds, its rows, and how many have an outcome."""

    start: int
    rows: int
    labelled: int


def open_alert_counts(connection: Connection, project_id: int) -> dict[int, int]:
    """Alerts that are not resolved, by model number; models without one are left out."""
    table = t.alert
    query = (
        sa.select(table.c.model_id, sa.func.count())
        .where(table.c.project_id == project_id, table.c.state != "resolved")
        .group_by(table.c.model_id)
    )
    return {int(model): int(number) for model, number in connection.execute(query)}


def last_row_at(connection: Connection, model_id: int) -> int | None:
    """When the newest prediction of the block that came last happened; None before any came."""
    table = t.block
    query = sa.select(table.c.max_timestamp).where(table.c.model_id == model_id)
    found = connection.scalar(query.order_by(table.c.first_row.desc()).limit(1))
    return None if found is None else int(found)


def window_rows(connection: Connection, model_id: int, from_us: int, to_us: int) -> list[WindowRows]:
    """The measured windows that start in [from, to), oldest first."""
    table = t.measurement
    query = (
        sa.select(table.c.start, table.c.rows, table.c.labelled)
        .where(table.c.model_id == model_id, table.c.start >= from_us, table.c.start < to_us)
        .order_by(table.c.start, table.c.revision)
    )
    latest = {row.start: WindowRows(row.start, row.rows, row.labelled) for row in connection.execute(query)}
    return list(latest.values())


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
    """By channel id; channels without an attempt are left out."""
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
    due = (
        sa.select(delivery.channel_id, sa.func.min(delivery.next_attempt_at).label("next"))
        .where(delivery.project_id == project_id, delivery.state == "pending")
        .group_by(delivery.channel_id)
        .subquery()
    )
    query = (
        sa.select(ranked.c.channel_id, ranked.c.at, ranked.c.error, due.c.next)
        .outerjoin(due, due.c.channel_id == ranked.c.channel_id)
        .where(ranked.c.place == 1)
    )
    return {row.channel_id: LastAttempt(row.at, row.error, row.next) for row in connection.execute(query)}


@dataclass(frozen=True)
class RecentDelivery:
    """A delivery without its body."""

    id: str
    channel_id: str
    alert_id: str | None
    type: str
    state: str
    attempts: int
    created_at: int
    delivered_at: int | None


def recent_deliveries(
    connection: Connection, project_id: int, limit: int, state: str | None = None
) -> list[RecentDelivery]:
    """The project's newest deliveries over all channels; with `state`, those in it."""
    columns = t.delivery.c
    query = sa.select(
        columns.id,
        columns.channel_id,
        columns.alert_id,
        columns.type,
        columns.state,
        columns.attempts,
        columns.created_at,
        columns.delivered_at,
    ).where(columns.project_id == project_id)
    if state is not None:
        query = query.where(columns.state == state)
    found = connection.execute(query.order_by(columns.created_at.desc(), columns.id.desc()).limit(limit))
    return [RecentDelivery(*row) for row in found]
