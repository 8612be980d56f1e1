"""Removing raw rows whose time is over. Profiles, measurements and alerts stay.

Everything is done in short transactions, a block or a few thousand rows each, so that ingest never waits long.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from monitor.errors import NotFound
from monitor.store import blocks, id_index, id_merge, profiles
from monitor.store import tables as t
from monitor.store.blocks import IN_LIMIT, key_in
from monitor.store.codec import decode
from monitor.store.identity import keys_of
from monitor.store.session import reading, writing

BLOCKS = 200  # looked up at a time
OUTCOMES = 20_000
QUARANTINED = 2_000


class Expired(NamedTuple):
    """A block whose time is over."""

    first_row: int
    rows: int
    max_timestamp: int


def expired_blocks(engine: Engine, model_id: int, before: int, below_row: int | None = None) -> list[Expired]:
    """At most `BLOCKS` profiled blocks whose rows are all older than `before`, in the order of the log.

    With `below_row` those that end before that number.
    """
    block, watermark = t.block, t.watermark
    query = (
        sa.select(block.c.first_row, block.c.rows, block.c.max_timestamp)
        .join(watermark, watermark.c.model_id == block.c.model_id)
        .where(
            block.c.model_id == model_id,
            block.c.min_timestamp < before,
            block.c.max_timestamp < before,
            block.c.first_row + block.c.rows <= watermark.c.next_row,
            sa.true() if below_row is None else block.c.first_row + block.c.rows <= below_row,
        )
        .order_by(block.c.first_row)
        .limit(BLOCKS)
    )
    with reading(engine) as connection:
        return [Expired(*row) for row in connection.execute(query)]


def expire_blocks(engine: Engine, model_id: int, before: int, below_row: int | None = None) -> int:
    """Remove such blocks (`expired_blocks`) with their keys and outcomes; returns the rows.

    At most `BLOCKS` blocks: call it again until it returns 0.
    """
    expired = expired_blocks(engine, model_id, before, below_row)
    if not expired:
        return 0
    with writing(engine) as connection:
        # First: with a row its identity goes, and a retry of it, already validated, would be counted once more.
        blocks.expire_before(connection, model_id, max(row.max_timestamp for row in expired) + 1)
    removed = 0
    for row in expired:
        with writing(engine) as connection:
            removed += _remove_block(connection, model_id, row.first_row, before)
    with suppress(NotFound), writing(engine) as connection:  # deleted meanwhile, and the index with it
        blocks.lock_log(connection, model_id)  # no block comes between the look at the lowest and the leaving
        id_merge.drop_gone(connection, model_id)
    return removed


class _Changed(Exception):
    """The log is not as it was when it was archived."""


def remove_archived(
    engine: Engine, model_id: int, first_rows: list[int], rows: int, next_outcome: int, before: int
) -> int:
    """Remove blocks that were archived, all in one transaction, if they are as they were; returns the rows, else 0.

    Args:
        first_rows: which blocks.
        rows: how many rows of them were archived.
        next_outcome: where the outcomes ended when they were read.
        before: they are all older than that.
    """
    block = t.block
    place = (block.c.model_id == model_id, block.c.first_row.in_(first_rows))
    try:
        with writing(engine) as connection:
            blocks.lock_log(connection, model_id)  # no outcome comes between the look and the removal
            latest = connection.scalar(sa.select(sa.func.max(block.c.max_timestamp)).where(*place))
            if latest is None or latest >= before:
                raise _Changed
            blocks.expire_before(connection, model_id, latest + 1)
            removed = sum(_remove_block(connection, model_id, one, before, next_outcome) for one in first_rows)
            if removed != rows:
                raise _Changed
            id_merge.drop_gone(connection, model_id)
            return removed
    except _Changed:
        return 0


def _remove_block(
    connection: Connection, model_id: int, first_row: int, before: int, next_outcome: int | None = None
) -> int:
    """Remove a block whose rows are older than `before`, and outcomes that have no other row.

    With `next_outcome` only while its rows have no outcome from that position on.

    Raises:
        _Changed: they have.
    """
    block = t.block
    mark = profiles.lock_watermark(connection, model_id)
    # A younger one stands there when small blocks have just been merged.
    place = (block.c.model_id == model_id, block.c.first_row == first_row, block.c.max_timestamp < before)
    row = connection.execute(sa.select(block.c.rows, block.c.payload).where(*place)).one_or_none()
    if mark is None or row is None or first_row + row.rows > mark.next_row:
        return 0  # removed by another, or to be counted again: a new binning has just set the watermark back
    keys = keys_of([one for one in decode(row.payload, ["id"]).column("id").to_pylist() if one is not None])
    connection.execute(sa.delete(block).where(*place))  # and so its entries of the index say nothing any more
    for at in range(0, len(keys), IN_LIMIT):
        part = keys[at : at + IN_LIMIT]
        if next_outcome is not None and _later_outcomes(connection, model_id, part, next_outcome):
            raise _Changed
        _remove_outcomes(connection, model_id, _alone(connection, model_id, part))
    return int(row.rows)


def _alone(connection: Connection, model_id: int, keys: list[bytes]) -> list[bytes]:
    """Those of the keys under which no row is kept any more, of another version that is."""
    versions = sa.select(sa.func.count()).select_from(t.model_version).where(t.model_version.c.model_id == model_id)
    if (connection.scalar(versions) or 0) < 2:
        return keys
    named = (t.outcome.c.model_id == model_id, key_in(connection, t.outcome.c.key, keys))
    judged = [bytes(key) for key in connection.scalars(sa.select(t.outcome.c.key).where(*named).distinct())]
    kept = id_index.present(connection, model_id, judged)
    return [key for key in judged if key not in kept]


def _later_outcomes(connection: Connection, model_id: int, keys: list[bytes], next_outcome: int) -> bool:
    outcome = t.outcome
    later = sa.select(outcome.c.position).where(
        outcome.c.model_id == model_id, key_in(connection, outcome.c.key, keys), outcome.c.position >= next_outcome
    )
    return connection.scalar(later.limit(1)) is not None


def _remove_outcomes(connection: Connection, model_id: int, keys: list[bytes]) -> None:
    if keys:
        outcome = t.outcome
        connection.execute(
            sa.delete(outcome).where(
                outcome.c.model_id == model_id,
                key_in(connection, outcome.c.key, keys),
                outcome.c.position < _profiled_outcomes(model_id),
            )
        )


def _profiled_outcomes(model_id: int) -> sa.ScalarSelect[int]:
    return sa.select(t.watermark.c.next_outcome).where(t.watermark.c.model_id == model_id).scalar_subquery()


class Late(NamedTuple):
    """An outcome whose time is over and whose prediction is not in the log: it never came, or has left it."""

    position: int
    key: bytes
    id: str


def late_outcomes(engine: Engine, model_id: int, before: int) -> list[Late]:
    """At most `OUTCOMES` outcomes older than `before` that no prediction in the log belongs to, in order of arrival."""
    outcome = t.outcome
    query = (
        sa.select(outcome.c.position, outcome.c.key, outcome.c.id)
        .where(
            outcome.c.model_id == model_id,
            outcome.c.known_at < before,
            outcome.c.observed_at < before,
            outcome.c.position < _profiled_outcomes(model_id),
        )
        .order_by(outcome.c.position)
        .limit(OUTCOMES)
    )
    last = -1
    while True:
        with reading(engine) as connection:
            old = [
                Late(position, bytes(key), id_)
                for position, key, id_ in connection.execute(query.where(outcome.c.position > last))
            ]
            joined = id_index.present(connection, model_id, list({one.key for one in old}))
        late = [one for one in old if one.key not in joined]
        if late or not old:
            return late
        last = old[-1].position


def remove_outcomes(engine: Engine, model_id: int, late: Sequence[Late]) -> int:
    """Remove these outcomes, but those whose prediction has come meanwhile; returns how many."""
    outcome, removed = t.outcome, 0
    for at in range(0, len(late), IN_LIMIT):
        part = late[at : at + IN_LIMIT]
        with writing(engine) as connection:
            blocks.lock_log(connection, model_id)  # no prediction comes between the look and the removal
            joined = id_index.present(connection, model_id, list({one.key for one in part}))
            positions = [one.position for one in part if one.key not in joined]
            named = (outcome.c.model_id == model_id, outcome.c.position.in_(positions))
            removed += connection.execute(sa.delete(outcome).where(*named)).rowcount
    return removed


def expire_quarantine(engine: Engine, model_id: int, before: int) -> int:
    """Remove rejected rows that arrived before `before`, at most `QUARANTINED`; what was counted stays counted."""
    kept, counts = t.quarantine, t.quarantine_count
    query = (
        sa.select(kept.c.id, kept.c.code, kept.c.row)
        .where(kept.c.model_id == model_id, kept.c.arrived_at < before)
        .order_by(kept.c.id)
        .limit(QUARANTINED)
    )
    with writing(engine) as connection:
        rows = connection.execute(query).all()
        freed: dict[str, tuple[int, int]] = {}
        for row in rows:
            number, size = freed.get(row.code, (0, 0))
            freed[row.code] = (number + 1, size + len(row.row))
        if rows:
            ids = [row.id for row in rows]
            connection.execute(sa.delete(kept).where(kept.c.id.in_(ids)))
        for code, (number, size) in freed.items():
            connection.execute(
                sa.update(counts)
                .where(counts.c.model_id == model_id, counts.c.code == code)
                .values(kept_rows=counts.c.kept_rows - number, kept_bytes=counts.c.kept_bytes - size)
            )
    return len(rows)
