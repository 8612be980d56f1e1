"""The log of predictions: numbered rows in blocks (`codec`), and the index that finds any id.

A transaction that adds rows calls `lock_log` first. It holds the model's `log_position` row until the commit, so
positions become visible in ascending order, whatever number of processes write.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.errors import NotFound
from monitor.store.codec import decode, decode_runs, encode
from monitor.store.session import is_sqlite
from monitor.store.tables import block, log_position

IN_LIMIT = 2000
_AHEAD = 8  # blocks
_FEW = 16  # rows that are looked up one by one


@dataclass(frozen=True)
class LogEnd:
    """The next free positions of a model's log, and the latest known_at it received.

    `expired_before`: older rows may have been removed with their identity, so none is taken in any more.
    `erased`: how many ids were erased, whose rows are not taken in again.
    """

    next_row: int
    next_outcome: int
    known_at: int | None
    expired_before: int | None = None
    erased: int | None = None


_END = [log_position.c[one.name] for one in fields(LogEnd)]
# Built once: a commit takes a dozen statements, and to put one together costs more than to run it.
_MINE = log_position.c.model_id == sa.bindparam("mine")
_LOCK = sa.update(log_position).where(_MINE).values(next_row=log_position.c.next_row).returning(*_END)
_MOVE = sa.update(log_position).where(_MINE)
_ADD = sa.insert(block)


def lock_log(connection: Connection, model_id: int) -> LogEnd:
    """Take the model's log for writing until the transaction ends.

    Raises:
        NotFound: the model was deleted meanwhile.
    """
    row = connection.execute(_LOCK, {"mine": model_id}).one_or_none()
    if row is None:
        raise NotFound("the model does not exist any more: PUT /v1/models/{model} makes it")
    return LogEnd(*row)


def move_log(connection: Connection, model_id: int, end: LogEnd) -> None:
    """Set the log's end; only after `lock_log` in the same transaction."""
    values = {"next_row": end.next_row, "next_outcome": end.next_outcome, "known_at": end.known_at}
    connection.execute(_MOVE, {"mine": model_id} | values)


def expire_before(connection: Connection, model_id: int, before: int) -> None:
    """Take in no row older than that from now on; it waits for whoever writes to the log."""
    earlier = log_position.c.expired_before
    connection.execute(
        sa.update(log_position)
        .where(log_position.c.model_id == model_id, sa.or_(earlier.is_(None), earlier < before))
        .values(expired_before=before)
    )


def log_end(connection: Connection, model_id: int) -> LogEnd:
    row = connection.execute(sa.select(*_END).where(log_position.c.model_id == model_id)).one_or_none()
    return LogEnd(0, 0, None) if row is None else LogEnd(*row)


def add_block(
    connection: Connection, project_id: int, model_id: int, first_row: int, batch: pa.RecordBatch, arrived_at: int
) -> None:
    """Store a batch as the rows first_row, first_row + 1, …"""
    connection.execute(_ADD, block_of(project_id, model_id, first_row, batch, arrived_at))


def add_made(connection: Connection, made: Mapping[str, Any]) -> None:
    """Store a block that `block_of` has made."""
    connection.execute(_ADD, made)


def block_of(
    project_id: int, model_id: int, first_row: int, batch: pa.RecordBatch, arrived_at: int
) -> Mapping[str, Any]:
    """A batch as the block of the rows first_row, first_row + 1, …: encoded, which takes longest, not yet stored."""
    stamps = batch.column("timestamp").to_numpy()
    return {
        "model_id": model_id,
        "first_row": first_row,
        "project_id": project_id,
        "rows": batch.num_rows,
        "arrived_at": arrived_at,
        "min_timestamp": int(stamps.min()),
        "max_timestamp": int(stamps.max()),
        "payload": encode(batch),
    }


def key_in(connection: Connection, column: sa.ColumnElement[bytes], keys: Sequence[bytes]) -> sa.ColumnElement[bool]:
    """`column IN keys`, as each database likes it best."""
    if is_sqlite(connection):
        return column.in_(list(keys))
    return column == sa.func.any(sa.cast(sa.literal(list(keys), sa.ARRAY(sa.LargeBinary)), sa.ARRAY(sa.LargeBinary)))


def remove_rows(connection: Connection, model_id: int, rows: Sequence[int]) -> list[pa.RecordBatch]:
    """Cut single rows out of their blocks; the others keep their numbers. Returns the rows that were there.

    A block becomes the pieces between its removed rows: numbers that nobody has any more are as those of expired rows.
    """
    removed: list[pa.RecordBatch] = []
    wanted = sorted(set(rows))
    while wanted:
        stored = connection.execute(
            sa.select(block)
            .where(block.c.model_id == model_id, block.c.first_row <= wanted[0])
            .order_by(block.c.first_row.desc())
            .limit(1)
        ).one_or_none()
        if stored is None or stored.first_row + stored.rows <= wanted[0]:
            wanted.pop(0)
            continue
        here = [row - stored.first_row for row in wanted if row < stored.first_row + stored.rows]
        wanted = wanted[len(here) :]
        batch = decode(stored.payload)
        connection.execute(sa.delete(block).where(block.c.model_id == model_id, block.c.first_row == stored.first_row))
        start = 0
        for at in [*here, batch.num_rows]:
            if at > start:
                piece = batch.slice(start, at - start)
                number = stored.first_row + start
                add_block(connection, stored.project_id, model_id, number, piece, stored.arrived_at)
            start = at + 1
        removed += [batch.slice(at, 1) for at in here]
    return removed


def read_blocks(
    connection: Connection, model_id: int, first_row: int, next_row: int, columns: Sequence[str] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number of its first row, batch) of the rows first_row … next_row - 1, in order."""
    if next_row <= first_row:
        return
    for number, batch in _decoded(connection, _blocks_of(connection, model_id, first_row, next_row), columns):
        low, high = max(first_row - number, 0), min(next_row - number, batch.num_rows)
        if low < high:
            yield number + low, batch.slice(low, high - low)


def read_together(
    connection: Connection, model_id: int, first_row: int, next_row: int, columns: Sequence[str]
) -> tuple[list[pa.RecordBatch], np.ndarray]:
    """The rows first_row … next_row - 1 in order, in few batches, texts that repeat as codes: the quick way to many;
    and their numbers."""
    none = np.zeros(0, np.int64)
    if next_row <= first_row:
        return [], none
    query = _blocks_of(connection, model_id, first_row, next_row)
    found = connection.execute(query.execution_options(yield_per=None)).all()
    if found and found[0].first_row + found[0].rows <= first_row:  # what lay at first_row is not kept any more
        found = found[1:]
    if not found:
        return [], none
    batches = list(decode_runs((one.payload for one in found), columns))
    before = max(first_row - found[0].first_row, 0)
    batches[0] = batches[0].slice(before)
    behind = max(found[-1].first_row + found[-1].rows - next_row, 0)
    batches[-1] = batches[-1].slice(0, batches[-1].num_rows - behind)
    numbers = np.concatenate([np.arange(one.first_row, one.first_row + one.rows) for one in found])
    return batches, numbers[before : len(numbers) - behind]


def _blocks_of(connection: Connection, model_id: int, first_row: int, next_row: int) -> sa.Select[Any]:
    """The blocks that may hold rows first_row … next_row - 1, the first of which may start before them."""
    start = connection.execute(
        sa.select(sa.func.max(block.c.first_row)).where(block.c.model_id == model_id, block.c.first_row <= first_row)
    ).scalar()
    return (
        sa.select(block.c.first_row, block.c.payload, block.c.rows)
        .where(block.c.model_id == model_id, block.c.first_row >= (start or 0), block.c.first_row < next_row)
        .order_by(block.c.first_row)
        .execution_options(yield_per=16)
    )


def _decoded(
    connection: Connection, query: sa.Select[Any], columns: Sequence[str] | None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The blocks of a query, decompressed on other cores a few ahead of the one that is looked at."""
    ahead: deque[tuple[int, Future[pa.RecordBatch]]] = deque()
    try:
        with connection.execute(query) as found:  # whoever stops reading early closes the cursor
            for number, payload, *_ in found:
                ahead.append((number, _pool().submit(decode, payload, columns)))
                if len(ahead) > _AHEAD:
                    first, future = ahead.popleft()
                    yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()
    finally:
        for _, future in ahead:
            future.cancel()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="decode")


def read_blocks_between(
    connection: Connection,
    model_id: int,
    from_at: int,
    to_at: int,
    columns: Sequence[str] | None = None,
    below_row: int | None = None,
    *,
    from_row: int = 0,
    only: Sequence[int] | None = None,
    last_first: bool = False,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The blocks that may hold rows with from_at <= timestamp < to_at, by their numbers; the caller picks the rows.

    `below_row` leaves out rows from that number on, for a view that agrees with a watermark, or the page before;
    `from_row` the blocks that end before that number; `only` those whose first row has none of these numbers;
    `last_first` begins with the block that came last.
    """
    query = sa.select(block.c.first_row, block.c.payload).where(
        block.c.model_id == model_id, block.c.min_timestamp < to_at, block.c.max_timestamp >= from_at
    )
    if below_row is not None:
        query = query.where(block.c.first_row < below_row)
    if from_row:
        query = query.where(block.c.first_row + block.c.rows > from_row)
    if only is not None:
        query = query.where(block.c.first_row.in_(list(only)))
    order = block.c.first_row.desc() if last_first else block.c.first_row
    query = query.order_by(order).execution_options(yield_per=16)
    for number, batch in _decoded(connection, query, columns):
        if below_row is not None and number + batch.num_rows > below_row:
            batch = batch.slice(0, below_row - number)
        yield number, batch


def sizes_between(connection: Connection, model_id: int, from_at: int, to_at: int) -> list[tuple[int, int]]:
    """(number of its first row, rows) of each block that may hold rows with from_at <= timestamp < to_at, in order."""
    query = (
        sa.select(block.c.first_row, block.c.rows)
        .where(block.c.model_id == model_id, block.c.min_timestamp < to_at, block.c.max_timestamp >= from_at)
        .order_by(block.c.first_row)
    )
    return [(first, rows) for first, rows in connection.execute(query)]


def spans_between(connection: Connection, model_id: int, from_at: int, to_at: int) -> Iterator[tuple[int, int]]:
    """(earliest, latest timestamp) of each block that may hold rows with from_at <= timestamp < to_at."""
    query = sa.select(block.c.min_timestamp, block.c.max_timestamp).where(
        block.c.model_id == model_id, block.c.min_timestamp < to_at, block.c.max_timestamp >= from_at
    )
    for low, high in connection.execute(query):
        yield int(low), int(high)


def kept(connection: Connection, model_id: int, rows: np.ndarray) -> np.ndarray:
    """Which of these rows are in a block: bool[n].

    Blocks may be merged between two statements: what one of them finds says nothing about what another one does.
    """
    mine = block.c.model_id == model_id
    extent = sa.select(block.c.first_row, (block.c.first_row + block.c.rows).label("end")).where(mine)
    if len(rows) <= _FEW:
        here = []
        for row in set(rows.tolist()):
            before = extent.where(block.c.first_row <= row).order_by(block.c.first_row.desc()).limit(1)
            found = connection.execute(before).one_or_none()
            if found is not None and row < found.end:
                here.append(row)
        return np.isin(rows, here)
    low, high = int(rows.min()), int(rows.max())
    first = sa.select(sa.func.max(block.c.first_row)).where(mine, block.c.first_row <= low).scalar_subquery()
    query = extent.where(block.c.first_row >= sa.func.coalesce(first, low), block.c.first_row <= high)
    extents = connection.execute(query.order_by(block.c.first_row)).all()
    if not extents:
        return np.zeros(len(rows), bool)
    starts, ends = np.array([tuple(one) for one in extents], np.int64).T
    at = np.searchsorted(starts, rows, "right") - 1
    return np.asarray((at >= 0) & (rows < ends[np.maximum(at, 0)]))


def read_rows(connection: Connection, model_id: int, rows: Sequence[int]) -> dict[int, pa.RecordBatch]:
    """Single rows by number, as batches of one row; numbers that are not kept any more are absent."""
    found: dict[int, pa.RecordBatch] = {}
    current: tuple[int, pa.RecordBatch] | None = None
    for row in sorted(set(rows)):
        if current is None or row >= current[0] + current[1].num_rows:
            stored = connection.execute(
                sa.select(block.c.first_row, block.c.payload)
                .where(block.c.model_id == model_id, block.c.first_row <= row)
                .order_by(block.c.first_row.desc())
                .limit(1)
            ).one_or_none()
            if stored is None:
                continue
            current = (stored[0], decode(stored[1]))
        if current[0] <= row < current[0] + current[1].num_rows:
            found[row] = current[1].slice(row - current[0], 1)
    return found


def read_places(connection: Connection, model_id: int, rows: np.ndarray) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """Rows by number, in any order, block by block: (their places in `rows`, the rows); those not kept are left out."""
    order = np.argsort(rows, kind="stable")
    listed = rows[order]
    at = 0
    while at < len(listed):
        stored = connection.execute(
            sa.select(block.c.first_row, block.c.rows, block.c.payload)
            .where(block.c.model_id == model_id, block.c.first_row <= int(listed[at]))
            .order_by(block.c.first_row.desc())
            .limit(1)
        ).one_or_none()
        if stored is None or stored.first_row + stored.rows <= listed[at]:
            at += 1
            continue
        end = int(np.searchsorted(listed, stored.first_row + stored.rows))
        yield order[at:end], decode(stored.payload).take(pa.array(listed[at:end] - stored.first_row))
        at = end
