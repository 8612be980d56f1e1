"""Halves of logged calls that wait for their other half. Whoever changes them holds the model's log (`lock_log`)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.blocks import IN_LIMIT, key_in
from monitor.store.tables import event_half, model

Place = tuple[bytes, str]  # key and side


@dataclass(frozen=True)
class Waiting:
    """A half as it is stored; `body` is the JSON that it came with."""

    key: bytes
    side: str
    event_id: str
    body: str

    @property
    def place(self) -> Place:
        return self.key, self.side


_COLUMNS = (event_half.c.key, event_half.c.side, event_half.c.event_id, event_half.c.body)


def find(connection: Connection, model_id: int, keys: Sequence[bytes]) -> dict[Place, Waiting]:
    """The halves that wait under these keys."""
    found: dict[Place, Waiting] = {}
    for at in range(0, len(keys), IN_LIMIT):
        query = sa.select(*_COLUMNS).where(
            event_half.c.model_id == model_id, key_in(connection, event_half.c.key, keys[at : at + IN_LIMIT])
        )
        for key, side, event_id, body in connection.execute(query):
            found[bytes(key), side] = Waiting(bytes(key), side, event_id, body)
    return found


def add(connection: Connection, project_id: int, model_id: int, halves: Iterable[Waiting], arrived_at: int) -> None:
    """Keep halves until their other half comes."""
    values = [
        {
            "model_id": model_id,
            "key": one.key,
            "side": one.side,
            "project_id": project_id,
            "event_id": one.event_id,
            "arrived_at": arrived_at,
            "body": one.body,
        }
        for one in halves
    ]
    if values:
        connection.execute(sa.insert(event_half), values)


def remove(connection: Connection, model_id: int, places: Iterable[Place]) -> None:
    """Forget halves that have become rows."""
    bound = [{"at_key": key, "at_side": side} for key, side in places]
    if bound:
        statement = sa.delete(event_half).where(
            event_half.c.model_id == model_id,
            event_half.c.key == sa.bindparam("at_key"),
            event_half.c.side == sa.bindparam("at_side"),
        )
        connection.execute(statement, bound)


def overdue(connection: Connection, model_id: int, before: int, limit: int) -> list[Waiting]:
    """Halves that came before `before`, oldest first."""
    query = (
        sa.select(*_COLUMNS)
        .where(event_half.c.model_id == model_id, event_half.c.arrived_at < before)
        .order_by(event_half.c.arrived_at, event_half.c.key)
        .limit(limit)
    )
    return [Waiting(bytes(key), side, event_id, body) for key, side, event_id, body in connection.execute(query)]


def waiting_by_model(connection: Connection, project_id: int, limit: int) -> list[tuple[str, int]]:
    """(model, how many halves wait) of the project's models that have any."""
    query = (
        sa.select(model.c.name, sa.func.count())
        .join(event_half, event_half.c.model_id == model.c.id)
        .where(model.c.project_id == project_id)
        .group_by(model.c.id, model.c.name)
        .order_by(model.c.id)
        .limit(limit)
    )
    return [(name, count) for name, count in connection.execute(query)]
