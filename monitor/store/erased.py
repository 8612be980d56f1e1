"""Erased ids: their rows are gone, and only a hash of each says that they may not come in again."""

import re
from collections.abc import Collection, Sequence
from hashlib import sha256

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store import tables as t
from monitor.store.blocks import IN_LIMIT, key_in
from monitor.store.upsert import insert_new

ERASED = ("erased", "the rows of this id were erased on request: they are not taken in again")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


def hash_of(model_id: int, row_id: str) -> bytes:
    """The 32 bytes that stay of an id."""
    return sha256(f"{model_id}:{row_id}".encode()).digest()


def note_erased(connection: Connection, project_id: int, model_id: int, ids: Sequence[str], now: int) -> int:
    """Remember that these ids were erased; how many of them were not remembered before."""
    before = _count(connection, model_id)
    rows = [
        {"model_id": model_id, "hash": hash_of(model_id, one), "project_id": project_id, "erased_at": now}
        for one in ids
    ]
    if rows:
        connection.execute(insert_new(connection, t.erased), rows)
    after = _count(connection, model_id)
    connection.execute(sa.update(t.log_position).where(t.log_position.c.model_id == model_id).values(erased=after))
    return after - before


def _count(connection: Connection, model_id: int) -> int:
    query = sa.select(sa.func.count()).select_from(t.erased).where(t.erased.c.model_id == model_id)
    return int(connection.scalar(query) or 0)


def erased_among(connection: Connection, model_id: int, ids: Sequence[str]) -> set[str]:
    """Those of the ids that were erased."""
    hashes = {hash_of(model_id, one): one for one in ids}
    listed = list(hashes)
    found: set[str] = set()
    for at in range(0, len(listed), IN_LIMIT):
        query = sa.select(t.erased.c.hash).where(
            t.erased.c.model_id == model_id, key_in(connection, t.erased.c.hash, listed[at : at + IN_LIMIT])
        )
        found.update(hashes[bytes(one)] for one in connection.scalars(query))
    return found


def erase_outcomes(connection: Connection, model_id: int, keys: Sequence[bytes]) -> int:
    """Remove every outcome of these keys; how many."""
    removed = 0
    for at in range(0, len(keys), IN_LIMIT):
        named = key_in(connection, t.outcome.c.key, keys[at : at + IN_LIMIT])
        removed += connection.execute(sa.delete(t.outcome).where(t.outcome.c.model_id == model_id, named)).rowcount
    return removed


def erase_quarantined(connection: Connection, model_id: int, ids: Collection[str]) -> int:
    """Remove rejected rows that have one of these ids, or hold it anywhere in their text; they stay counted."""
    kept, counts = t.quarantine, t.quarantine_count
    encoded = {orjson.dumps(one).decode()[1:-1] for one in ids}
    query = sa.select(kept.c.id, kept.c.row_id, kept.c.code, kept.c.row).where(kept.c.model_id == model_id)
    gone = [
        row
        for row in connection.execute(query)
        if row.row_id in ids or any(text in encoded for text in _TEXT.findall(row.row))
    ]
    for row in gone:
        connection.execute(sa.delete(kept).where(kept.c.id == row.id))
        connection.execute(
            sa.update(counts)
            .where(counts.c.model_id == model_id, counts.c.code == row.code)
            .values(kept_rows=counts.c.kept_rows - 1, kept_bytes=counts.c.kept_bytes - len(row.row))
        )
    return len(gone)


def erase_reports(connection: Connection, model_id: int, stamps: Sequence[int]) -> int:
    """Remove the reports whose stretch holds one of these times, but those that nobody has begun; how many."""
    found = t.task
    query = sa.select(found.c.id, found.c.request).where(
        found.c.model_id == model_id, found.c.kind == "report", found.c.state != "pending"
    )
    asked = [(row.id, orjson.loads(row.request)) for row in connection.execute(query)]
    gone = [task_id for task_id, one in asked if any(one["from"] <= at < one["to"] for at in stamps)]
    for task_id in gone:
        connection.execute(sa.delete(found).where(found.c.id == task_id))
    return len(gone)
