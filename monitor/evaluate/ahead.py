"""Reading ahead: while one step's rows are counted, another thread reads and joins the next ones.

Blocks never change, so what was read ahead is what the step would read itself, and so is what an earlier step read and
left; a step that asks for other rows than these just reads its own.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import pyarrow as pa
from sqlalchemy.engine import Connection, Engine

from monitor.evaluate import rows as rows_of
from monitor.store import blocks
from monitor.store.catalog import Model
from monitor.store.session import reading


class Wanted(NamedTuple):
    """Rows first … end - 1 of a model, in some columns, fitted to a schema."""

    model_id: int
    first: int
    end: int
    columns: tuple[str, ...]
    features: tuple[tuple[str, str], ...]


def wanted(model: Model, first: int, end: int, columns: list[str]) -> Wanted:
    return Wanted(model.id, first, end, tuple(columns), tuple((model.features or {}).items()))


def read(connection: Connection, asked: Wanted) -> pa.RecordBatch | None:
    """The rows as one batch, with their numbers as its column `row`; None where none is kept."""
    batches, numbers = blocks.read_together(connection, asked.model_id, asked.first, asked.end, asked.columns)
    if not batches:
        return None
    return rows_of.join(batches, dict(asked.features)).append_column("row", pa.array(numbers))


class ReadAhead:
    """Holds at most one batch that was read ahead, and one that a step left. Use: `with ReadAhead(engine) as ahead`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._next: tuple[Wanted, Future[pa.RecordBatch | None]] | None = None
        self._left: tuple[Wanted, pa.RecordBatch] | None = None

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, connection: Connection, asked: Wanted) -> tuple[pa.RecordBatch | None, int]:
        """The rows, and where they end: what a step left of them, else read ahead or now as far as was asked."""
        left, self._left = self._left, None
        if left is not None and left[0].end <= asked.end and left[0] == asked._replace(end=left[0].end):
            return left[1], left[0].end
        ready, self._next = self._next, None
        if ready is not None and ready[0] == asked:
            return ready[1].result(), asked.end
        return read(connection, asked), asked.end

    def leave(self, asked: Wanted, batch: pa.RecordBatch) -> None:
        """Keep rows that were read and are for the next step: all that were asked."""
        self._left = (asked, batch)

    def begin(self, asked: Wanted) -> None:
        """Start to read rows that a later step will want, unless they are being read."""
        if self._next is None or self._next[0] != asked:
            self._next = (asked, self._pool.submit(self._read, asked))

    def _read(self, asked: Wanted) -> pa.RecordBatch | None:
        with reading(self._engine) as connection:
            return read(connection, asked)
