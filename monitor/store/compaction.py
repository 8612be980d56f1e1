"""Small blocks are merged into large ones.

Rows that come one by one are committed a few at a time. Such a block is mostly schema: forty columns take more bytes to
describe than five rows to hold. Once enough of them lie side by side they become one block with the same rows under the
same numbers; the index names rows, not blocks, and so need not change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from monitor import columns
from monitor.clock import DAY
from monitor.store import blocks, profiles
from monitor.store.codec import decode
from monitor.store.session import reading, writing
from monitor.store.tables import block, log_position

SMALL = 500  # rows: larger blocks stay as they are
FULL = 2048  # rows of small ones that are enough for a block
LOOKED_AT = 4096  # blocks at a time
MOST_BYTES = 8 * 1024 * 1024  # of payloads that become one block


class _Found(Protocol):
    first_row: int
    rows: int
    min_timestamp: int
    max_timestamp: int
    size: int


@dataclass
class _Run:
    """Blocks that lie side by side, of one day, so that none outlives its time for a neighbour's sake."""

    day: int
    end: int  # the row after its last one
    firsts: list[int] = field(default_factory=list)
    size: int = 0
    largest: int = 0  # rows of its largest block

    @property
    def rows(self) -> int:
        return self.end - self.firsts[0]

    def takes(self, one: _Found) -> bool:
        near = one.first_row == self.end and one.min_timestamp // DAY == one.max_timestamp // DAY == self.day
        room = self.rows < FULL and self.size + one.size <= MOST_BYTES
        return near and room and one.rows < SMALL and self.largest < SMALL


def compact(engine: Engine, model_id: int) -> int:
    """Merge small blocks that lie side by side; returns how many blocks fewer there are.

    At most `LOOKED_AT` blocks are looked at: call it again until it returns 0. The newest blocks are left alone until
    they are enough rows for a full one, or a new day has begun.
    """
    query = (
        sa.select(
            block.c.first_row,
            block.c.rows,
            block.c.min_timestamp,
            block.c.max_timestamp,
            sa.func.length(block.c.payload).label("size"),
        )
        .join(log_position, log_position.c.model_id == block.c.model_id)
        .where(block.c.model_id == model_id, block.c.first_row >= log_position.c.compacted_row)
        .order_by(block.c.first_row)
        .limit(LOOKED_AT)
    )
    with reading(engine) as connection:
        runs = _runs(connection.execute(query).all())
    if runs and runs[-1].rows < FULL and runs[-1].largest < SMALL:
        runs.pop()  # it may still grow
    fewer = 0
    for run in runs:
        if len(run.firsts) > 1:
            with reading(engine) as connection:
                merged = _merged(connection, model_id, run)  # takes longest, and here nobody waits for it
            with writing(engine) as connection:
                fewer += _replace(connection, model_id, run, merged)
    if runs:
        with writing(engine) as connection:
            connection.execute(
                sa.update(log_position).where(log_position.c.model_id == model_id).values(compacted_row=runs[-1].end)
            )
    return fewer


def _runs(blocks: Iterable[_Found]) -> list[_Run]:
    runs: list[_Run] = []
    for one in blocks:
        if not runs or not runs[-1].takes(one):
            runs.append(_Run(one.min_timestamp // DAY, one.first_row))
        run = runs[-1]
        run.firsts.append(one.first_row)
        run.end = one.first_row + one.rows
        run.size += one.size
        run.largest = max(run.largest, one.rows)
    return runs


@dataclass(frozen=True)
class _Merged:
    """The payloads of a run's blocks as they were read, and the blocks that take the place of some of them."""

    payloads: dict[int, bytes]
    made: list[tuple[list[int], Mapping[str, Any]]]


def _merged(connection: Connection, model_id: int, run: _Run) -> _Merged:
    """Put the blocks of a run together, as far as their columns have the same types."""
    query = sa.select(block.c.first_row, block.c.project_id, block.c.arrived_at, block.c.payload)
    found = connection.execute(query.where(_of(model_id, run.firsts)).order_by(block.c.first_row)).all()
    batches = {one.first_row: decode(one.payload) for one in found}
    made = []
    for firsts in _alike(batches):
        if len(firsts) > 1:
            whole = columns.concatenate([batches[first] for first in firsts])
            last = found[-1]
            made.append((firsts, blocks.block_of(last.project_id, model_id, firsts[0], whole, last.arrived_at)))
    return _Merged({one.first_row: one.payload for one in found}, made)


def _replace(connection: Connection, model_id: int, run: _Run, merged: _Merged) -> int:
    """Set the merged blocks in the place of those that they were made of; how many blocks fewer.

    The watermark is held, as by everybody who rewrites or removes blocks. The log is not: who adds rows does not wait,
    and finds rows by their number in one block or the other.
    """
    if profiles.lock_watermark(connection, model_id) is None:
        return 0
    now = connection.execute(sa.select(block.c.first_row, block.c.payload).where(_of(model_id, run.firsts)))
    if {one.first_row: one.payload for one in now} != merged.payloads:  # rows were erased since, or are over
        merged = _merged(connection, model_id, run)
    fewer = 0
    for firsts, made in merged.made:
        connection.execute(sa.delete(block).where(_of(model_id, firsts)))
        blocks.add_made(connection, made)
        fewer += len(firsts) - 1
    return fewer


def _of(model_id: int, firsts: Sequence[int]) -> sa.ColumnElement[bool]:
    return sa.and_(block.c.model_id == model_id, block.c.first_row.in_(firsts))


def _alike(batches: dict[int, pa.RecordBatch]) -> list[list[int]]:
    """Neighbours in which no column has two types: only these are the same rows when they are one batch."""
    groups: list[list[int]] = []
    types: dict[str, pa.DataType] = {}
    end = -1
    for first, batch in batches.items():
        own = dict(zip(batch.schema.names, batch.schema.types, strict=True))
        if first != end or any(types.get(name, kind) != kind for name, kind in own.items()):
            groups.append([])
            types = {}
        groups[-1].append(first)
        types |= own
        end = first + batch.num_rows
    return groups
