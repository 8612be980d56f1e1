"""Outcomes: what really happened, in arrival order, with every correction kept.

Of the outcomes of one id the one with the latest `observed_at` holds; of two at the same time, the larger value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.blocks import IN_LIMIT
from monitor.store.session import is_sqlite
from monitor.store.tables import outcome


@dataclass(frozen=True)
class Held:
    """An outcome: its canonical value and its times."""

    actual: str
    observed_at: int
    observed_given: int  # 1 when the sender gave it
    known_at: int
    arrived_at: int
    position: int


@dataclass(frozen=True)
class NewOutcome:
    key: bytes
    id: str
    actual: str
    observed_at: int
    observed_given: bool
    known_at: int


@dataclass(frozen=True)
class OutcomeColumns:
    """Outcomes as columns, in order of position."""

    position: np.ndarray  # int64[n]
    key: list[bytes]
    actual: list[str]
    observed_at: np.ndarray  # int64[n]
    known_at: np.ndarray  # int64[n]


def rank(held: Held, regression: bool) -> tuple[int, float, str]:
    """What holds among several is the one with the greatest rank."""
    return (held.observed_at, float(held.actual) if regression else 0.0, held.actual)


def history(
    connection: Connection, model_id: int, keys: Sequence[bytes], below_position: int | None = None
) -> dict[bytes, list[Held]]:
    """Every outcome of these keys, in order of position; keys without one are absent."""
    found: dict[bytes, list[Held]] = {}
    for at in range(0, len(keys), IN_LIMIT):
        for key, *rest in _select(connection, model_id, keys[at : at + IN_LIMIT]):
            one = Held(*rest)
            if below_position is None or one.position < below_position:
                found.setdefault(bytes(key), []).append(one)
    for listed in found.values():
        listed.sort(key=lambda one: one.position)
    return found


def _select(connection: Connection, model_id: int, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """The outcomes of these keys as tuples.

    Without statistics SQLite takes a model for ten rows and would read all of its outcomes: so the index is named.
    """
    names = "key, actual, observed_at, observed_given, known_at, arrived_at, position"
    if is_sqlite(connection):
        marks = ",".join("?" * len(keys))
        query = (
            f"SELECT {names} FROM outcome INDEXED BY ix_outcome_model_id_key WHERE model_id = ? AND key IN ({marks})"
        )
        return list(connection.exec_driver_sql(query, (model_id, *keys)))
    query = f"SELECT {names} FROM outcome WHERE model_id = %s AND key = ANY(%s)"
    return list(connection.exec_driver_sql(query, (model_id, list(keys))))


def held_outcomes(
    connection: Connection,
    model_id: int,
    keys: Sequence[bytes],
    *,
    regression: bool,
    below_position: int | None = None,
    known_by: int | None = None,
) -> dict[bytes, Held]:
    """The outcome that holds for each key, of those below a position and known by an instant."""
    result = {}
    for key, all_of_key in history(connection, model_id, keys, below_position).items():
        known = [one for one in all_of_key if known_by is None or one.known_at <= known_by]
        if known:
            result[key] = max(known, key=lambda one: rank(one, regression))
    return result


def outcomes_between(connection: Connection, model_id: int, from_position: int, to_position: int) -> OutcomeColumns:
    """The outcomes from_position … to_position - 1."""
    rows = connection.execute(
        sa.select(outcome.c.position, outcome.c.key, outcome.c.actual, outcome.c.observed_at, outcome.c.known_at)
        .where(outcome.c.model_id == model_id, outcome.c.position >= from_position, outcome.c.position < to_position)
        .order_by(outcome.c.position)
    ).all()
    return OutcomeColumns(
        position=np.array([row[0] for row in rows], np.int64),
        key=[bytes(row[1]) for row in rows],
        actual=[row[2] for row in rows],
        observed_at=np.array([row[3] for row in rows], np.int64),
        known_at=np.array([row[4] for row in rows], np.int64),
    )


def add_outcomes(
    connection: Connection,
    project_id: int,
    model_id: int,
    first_position: int,
    rows: Sequence[NewOutcome],
    arrived_at: int,
) -> None:
    """Append outcomes as positions first_position, first_position + 1, …"""
    values = [
        (
            model_id,
            first_position + i,
            project_id,
            r.key,
            r.id,
            r.actual,
            r.observed_at,
            int(r.observed_given),
            r.known_at,
            arrived_at,
        )
        for i, r in enumerate(rows)
    ]
    names = "model_id, position, project_id, key, id, actual, observed_at, observed_given, known_at, arrived_at"
    cursor = connection.connection.cursor()
    try:
        if is_sqlite(connection):
            cursor.executemany(f"INSERT INTO outcome ({names}) VALUES (?,?,?,?,?,?,?,?,?,?)", values)
        else:
            with cursor.copy(f"COPY outcome ({names}) FROM STDIN") as copy:
                for value in values:
                    copy.write_row(value)
    finally:
        cursor.close()
