"""The profile of any stretch of a model's log, in any cut: from stored days and hours, and from rows where it must.

Whole days come from day profiles, whole hours from hour profiles, and what is left at the edges from rows. A view of
the past (`as_of`) takes the stored profiles that held nothing later, and counts the other hours again from the rows
and outcomes that were known by then; so every answer is exact, to the row.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection

from monitor.clock import DAY, HOUR, SECOND
from monitor.evaluate import rows as rows_of
from monitor.evaluate import windows
from monitor.evaluate.deltas import columns_for, held_for, profile_together
from monitor.evaluate.loaded import Reference, binning_numbered, reference_for, with_schema
from monitor.stats.binning import Binning
from monitor.stats.profile import Profile, merge
from monitor.store import blocks, profiles
from monitor.store.catalog import Model
from monitor.store.outcomes import Held
from monitor.store.profiles import DAY_SPAN, HOUR_SPAN, LIVE, StoredProfile

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Want:
    """A cut: of one version or of all, of a role (None: any), with or without segments, as known at an instant."""

    version_id: int | None = None
    role: str | None = LIVE
    segments: bool = False
    as_of: int | None = None


Part = tuple[int, int]  # a whole day or hour: span in seconds, start


class Plan(NamedTuple):
    """What a stretch is made of: the binning that most of it was counted in (None: nothing was), whole days and hours
    and the edges that are less than an hour."""

    number: int | None
    parts: list[Part]
    edges: list[tuple[int, int]]


class Shelf:
    """The stored profiles of a model in one cut, fetched as they are asked for.

    One shelf reads one state of the database: use it inside of one `reading`.
    """

    with_windows = True  # of references
    with_content = True  # of profiles

    def __init__(self, connection: Connection, model: Model, want: Want | None = None) -> None:
        self._connection = connection
        self.model = with_schema(connection, model)
        self.want = want or Want()
        self._mark = profiles.read_watermark(connection, model.id)
        self._stored: dict[int, dict[int, list[StoredProfile]]] = {HOUR_SPAN: {}, DAY_SPAN: {}}
        self._fetched: dict[int, list[tuple[int, int]]] = {HOUR_SPAN: [], DAY_SPAN: []}
        self._timezone = model.config.timezone
        self._binnings: dict[int, Binning] = {}
        self._references: dict[int, Reference | None] = {}
        self._newest: int | None = None
        self._known_extent: tuple[int, int] | None = None

    def binning(self, number: int) -> Binning:
        """The model's binning of that number."""
        if number not in self._binnings:
            self._binnings[number] = binning_numbered(self._connection, self.model.id, number)
        return self._binnings[number]

    def reference(self, number: int) -> Reference | None:
        """The reference that this cut is compared with, in the binning of that number."""
        if number not in self._references:
            self._references[number] = reference_for(
                self._connection, self.model.id, number, self.want.version_id, windows=self.with_windows
            )
        return self._references[number]

    def fetch(self, span: int, from_at: int, to_at: int) -> None:
        """Read the profiles that start in [from_at, to_at) at once, for many questions after; once is enough."""
        if to_at <= from_at or any(low <= from_at and to_at <= high for low, high in self._fetched[span]):
            return
        found = profiles.profiles_between(
            self._connection,
            self.model.id,
            span,
            from_at,
            to_at,
            version_id=self.want.version_id,
            role=self.want.role,
            segments=self.want.segments,
            content=self.with_content,
        )
        self._stored[span] |= {start: list(group) for start, group in groupby(found, key=lambda one: one.start)}
        self._fetched[span].append((from_at, to_at))

    def stored(self, span: int, start: int) -> list[StoredProfile]:
        found = self._stored[span].get(start)
        if found is None:
            self.fetch(span, start, start + 1)
            found = self._stored[span].get(start, [])
        return found

    def profile(self, from_at: int, to_at: int, *, met: list[StoredProfile] | None = None) -> Profile | None:
        """The profile of [from_at, to_at), None where nothing was profiled.

        Args:
            met: takes up every stored profile that was looked at.
        """
        plan = self._plan(from_at, to_at)
        if met is not None and plan is not None:
            met.extend(one for span, start in plan.parts for one in self.stored(span, start))
        return None if plan is None or plan.number is None else self._merged(plan, plan.number)

    def _plan(self, from_at: int, to_at: int) -> Plan | None:
        """What makes up [from_at, to_at), None where nothing was profiled."""
        first, last = self._extent()
        from_at, to_at = max(from_at, first), min(to_at, last)  # centuries without a row cost nothing
        if from_at >= to_at:
            return None
        parts, edges = self._parts(from_at, to_at)
        return Plan(self._number(parts), parts, edges)

    def _merged(self, plan: Plan, number: int) -> Profile | None:
        binning = self.binning(number)
        ready, again = self._ready(plan.parts, number)
        found = self._loaded(ready, binning)
        for low, high in joined([*again, *plan.edges]):
            found.extend(self._recount(binning, low, high))
        return merge(binning, found) if found else None

    def _extent(self) -> tuple[int, int]:
        """A stretch outside of which nothing is profiled; generous, as profiles are stored by their start."""
        if self._known_extent is None:
            found = profiles.extent(self._connection, self.model.id)
            self._known_extent = (0, 0) if found is None else (found[0] - 2 * DAY, found[1] + 2 * DAY)
        return self._known_extent

    def _parts(self, from_at: int, to_at: int) -> tuple[list[Part], list[tuple[int, int]]]:
        """The whole days and hours of a stretch, fetched, and the edges that are less than an hour."""
        days, hours, edges = _cut(from_at, to_at, self._timezone)
        parts = [(DAY_SPAN, low) for low, _ in days]
        if days:
            self.fetch(DAY_SPAN, days[0][0], days[-1][1])
        for run in hours:
            if run:
                self.fetch(HOUR_SPAN, run[0][0], run[-1][1])
            parts += [(HOUR_SPAN, low) for low, _ in run]
        return parts, list(edges)

    def _number(self, parts: list[Part]) -> int | None:
        """The binning that most rows were counted in; of two with as many, the newer."""
        rows: dict[int, int] = {}
        for span, start in parts:
            for one in self.stored(span, start):
                rows[one.binning] = rows.get(one.binning, 0) + one.rows
        if not rows:
            return self.newest()
        return max(rows, key=lambda number: (rows[number], number))

    def newest(self) -> int | None:
        """The newest binning: asked for once, however many steps of a series have no rows."""
        if self._newest is None:
            self._newest = profiles.current_number(self._connection, self.model.id)
        return self._newest or None

    def _ready(self, parts: Iterable[Part], number: int) -> tuple[list[StoredProfile], list[tuple[int, int]]]:
        """Stored profiles that serve as they are, and stretches to count again from rows."""
        ready: list[StoredProfile] = []
        again: list[tuple[int, int]] = []
        for span, start in parts:
            stored = self.stored(span, start)
            if len(stored) == 1 and stored[0].binning == number and self.want.as_of is None:  # nearly always
                ready.extend(stored)
                continue
            stored = [one for one in stored if not self._later(one.min_known_at)]
            serving = [one for one in stored if one.binning == number]
            complete = sum(one.rows for one in serving) >= _most_rows(stored)
            if complete and not any(self._later(one.max_known_at) for one in serving):
                ready.extend(serving)
                continue
            end = windows.next_start(start, span * SECOND, self._timezone)
            if span == DAY_SPAN and complete:
                hours = windows.between(start, end, HOUR, self._timezone).tolist()
                self.fetch(HOUR_SPAN, start, end)
                more, rest = self._ready([(HOUR_SPAN, hour) for hour in hours], number)
                ready.extend(more)
                again.extend(rest)
            else:
                again.append((start, end))
        return ready, again

    def _later(self, at: int) -> bool:
        return self.want.as_of is not None and at > self.want.as_of

    def _loaded(self, ready: list[StoredProfile], binning: Binning) -> list[Profile]:
        with_segments = self.want.segments
        return [Profile.load_parts(one.payload, one.segments if with_segments else None, binning) for one in ready]

    def _recount(self, binning: Binning, from_at: int, to_at: int) -> Iterator[Profile]:
        for batch, held in self.batches(from_at, to_at, columns_for(self.model, binning, with_id=True)):
            profile = profile_together(self.model, binning, batch, held)
            yield profile if self.want.segments else Profile(binning, profile.vector)

    def batches(
        self, from_at: int, to_at: int, columns: list[str] | None
    ) -> Iterator[tuple[pa.RecordBatch, list[Held | None] | None]]:
        """The profiled rows of a stretch in this cut, features fitted, with the outcome of each row."""
        waiting: list[pa.RecordBatch] = []
        for batch in self.rows_of(from_at, to_at, columns):
            waiting.append(batch)
            if sum(one.num_rows for one in waiting) >= BATCH_ROWS:
                yield self._with_outcomes(waiting)
                waiting = []
        if waiting:
            yield self._with_outcomes(waiting)

    def rows_of(
        self, from_at: int, to_at: int, columns: list[str] | None, only: Sequence[int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The profiled rows of a stretch in this cut, features fitted, block by block, none of them empty; `only` of
        the blocks that begin with these rows."""
        source = blocks.read_blocks_between(
            self._connection, self.model.id, from_at, to_at, columns, below_row=self._mark.next_row, only=only
        )
        for _, batch in source:
            chosen = self._choose(batch, from_at, to_at)
            if chosen.num_rows:
                yield rows_of.fit(chosen, self.model.features or {})

    def _choose(self, batch: pa.RecordBatch, from_at: int, to_at: int) -> pa.RecordBatch:
        stamps = batch.column("timestamp").to_numpy()
        mask = (stamps >= from_at) & (stamps < to_at)
        if self.want.as_of is not None:
            mask &= batch.column("known_at").to_numpy() <= self.want.as_of
        if self.want.version_id is not None:
            mask &= batch.column("version").to_numpy() == self.want.version_id
        if self.want.role is not None:
            mask &= pc.equal(batch.column("role"), self.want.role).to_numpy(zero_copy_only=False)
        return batch if mask.all() else batch.filter(pa.array(np.asarray(mask, dtype=np.bool_)))

    def _with_outcomes(self, waiting: list[pa.RecordBatch]) -> tuple[pa.RecordBatch, list[Held | None] | None]:
        batch = rows_of.join(waiting, self.model.features or {})
        held = held_for(self._connection, self.model, batch, self._mark.next_outcome, known_by=self.want.as_of)
        return batch, held


Stretches = tuple[tuple[int, int], ...]


@lru_cache(maxsize=4096)
def _cut(from_at: int, to_at: int, timezone: str) -> tuple[Stretches, tuple[Stretches, Stretches], Stretches]:
    """A stretch as whole days, the whole hours before and behind them, and edges that are less than an hour."""
    all_days = windows.spans(from_at, to_at, DAY, timezone)
    days = tuple((low, high) for low, high in all_days if low >= from_at and high <= to_at)
    before, behind = (days[0][0], days[-1][1]) if days else (to_at, to_at)
    runs, edges = [], []
    for first, last in ((from_at, before), (behind, to_at)):
        hours = windows.spans(first, last, HOUR, timezone)
        runs.append(tuple((low, high) for low, high in hours if low >= first and high <= last))
        edges += [(max(low, first), min(high, last)) for low, high in hours if low < first or high > last]
    return days, (runs[0], runs[1]), tuple(edges)


def _most_rows(stored: list[StoredProfile]) -> int:
    """The rows of the part in the binning that counted most of them."""
    rows: dict[int, int] = {}
    for one in stored:
        rows[one.binning] = rows.get(one.binning, 0) + one.rows
    return max(rows.values(), default=0)


def joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending stretches with those that touch made one."""
    made: list[tuple[int, int]] = []
    for low, high in sorted(stretches):
        if made and low <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], high))
        else:
            made.append((low, high))
    return made
