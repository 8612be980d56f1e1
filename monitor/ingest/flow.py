"""A body that is decoded, checked and committed group by group, while the next group is on its way."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool

from monitor.errors import Overloaded, QuotaExceeded
from monitor.ingest.arrivals import awaited
from monitor.ingest.fairness import Turns
from monitor.ingest.prepare import Batch
from monitor.ingest.totals import Totals
from monitor.ingest.validate import Times
from monitor.ingest.write import Answer
from monitor.ingest.writer import Writer
from monitor.store.catalog import Model

UNDERWAY = 2  # groups of one request that wait for their commit
PATIENCE = 10.0  # seconds in which a stream waits for room; its sender is held up meanwhile, by TCP
_PAUSE = 0.05

Prepare = Callable[[Model, Times], Sequence[Batch]]


class Flow:
    """One request's groups on their way; `totals` is the answer so far."""

    def __init__(self, writer: Writer, turns: Turns, project_id: int, name: str, owner: str) -> None:
        self._writer = writer
        self._turns = turns
        self._of = (project_id, name)
        self._owner = owner
        self._underway: deque[tuple[asyncio.Future[Answer], int]] = deque()
        self.totals = Totals()

    async def add(self, prepare: Prepare) -> bool:
        """Prepare a group in a thread and let it be written; False when there was none.

        Raises:
            Problem: the group cannot be read, or there is no room for it. What was added before is not undone.
        """

        def group() -> tuple[Model, Sequence[Batch]]:
            model, times = self._writer.model(*self._of)
            return model, prepare(model, times)

        async with self._turns.take(self._owner):
            model, batches = await run_in_threadpool(group)
        for batch in batches:
            self._underway.append((await self._submit(model, batch), batch.total))
            while len(self._underway) > UNDERWAY:
                await self._collect()
        return bool(batches)

    async def _submit(self, model: Model, batch: Batch) -> "asyncio.Future[Answer]":
        waited = 0.0
        while True:
            try:
                return awaited(self._writer.submit(model, batch, self._owner))
            except (Overloaded, QuotaExceeded):
                if waited >= PATIENCE or self._writer.stopping:
                    raise
            waited += _PAUSE
            await asyncio.sleep(_PAUSE)

    async def finish(self) -> None:
        """Wait until everything is committed."""
        while self._underway:
            await self._collect()

    async def settle(self) -> None:
        """The same for a request that ends with an error: what was committed is counted all the same."""
        results: list[Any] = await asyncio.gather(*(one for one, _ in self._underway), return_exceptions=True)
        for result, (_, rows) in zip(results, self._underway, strict=True):
            if isinstance(result, Answer):
                self.totals.add(result, rows)
        self._underway.clear()

    async def _collect(self) -> None:
        future, rows = self._underway.popleft()
        self.totals.add(await future, rows)
