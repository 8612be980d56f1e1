"""What the numbers of windows were when these gave their evidence, and what they are now.

A window's evidence is never restated, its numbers are. Nothing has become known of most windows since, and the numbers
of then are those of now, but for a new binning. Of others the measurement that held then is stored where the window
was judged in time; where evaluation lagged (a replay, a backfill), only its rows can still tell, and they are counted
again when somebody asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy.engine import Connection

from monitor.evaluate import payload, windows
from monitor.evaluate.cuts import Shelf, Want
from monitor.evaluate.due import due_at
from monitor.evaluate.loaded import binning_numbered
from monitor.evaluate.panel import Of, Wanted, places_of, stored_value
from monitor.stats.measure import METRICS, measure
from monitor.stats.values import Value
from monitor.store import blocks, evaluations, profiles
from monitor.store.catalog import Model
from monitor.store.evaluations import INPUTS, PERFORMANCE, Evaluated, Measurement

MOST_ROWS = 200_000  # that are counted again at once


@dataclass(frozen=True)
class Figures:
    """A metric of a window as known at one time, with its rows and those of them with an outcome."""

    value: Value
    rows: int
    labelled: int


@dataclass(frozen=True)
class Known:
    """A window that gave its evidence at `at`. `then` is None where its numbers of then are not stored; `late`:
    something of it became known after it was due; `countable`: its rows are kept, and can be counted again for what is
    not stored."""

    start: int
    end: int
    at: int
    then: Figures | None
    now: Figures | None
    late: bool
    countable: bool = False

    @property
    def changed(self) -> bool:
        return self.then is not None and self.then != self.now


def known(
    connection: Connection,
    model: Model,
    wanted: Wanted,
    from_at: int,
    until: int,
    most: int,
    *,
    count_again: bool = False,
) -> list[Known]:
    """The last windows, at most `most`, that end after from_at and gave their evidence by `until`, ascending.

    Args:
        wanted: a metric and its feature or signal; what the metric needs says which evidence of a window is meant.
        count_again: read the rows of windows whose numbers of then are not stored, MOST_ROWS of them at most.
    """
    kind = PERFORMANCE if METRICS[wanted[0]].labels else INPUTS
    unit = model.config.window_us
    given = [
        one
        for one in evaluations.evaluations(connection, model.id, from_at - unit + 1, until)
        if one.kind == kind and one.end > from_at and one.at <= until
    ][-most:]
    if not given:
        return []
    reader = _Reader(connection, model, wanted, kind, given)
    found = [reader.window(one) for one in given]
    return reader.counted_again(found) if count_again else found


class _Reader:
    """What is stored of some windows, read at once."""

    def __init__(
        self, connection: Connection, model: Model, wanted: Wanted, kind: str, given: Sequence[Evaluated]
    ) -> None:
        self._connection, self._model, self._wanted, self._kind = connection, model, wanted, kind
        low, high = given[0].start, given[-1].end
        self._revisions: dict[int, list[Measurement]] = {}
        for one in evaluations.revisions_between(connection, model.id, low, high):
            self._revisions.setdefault(one.start, []).append(one)
        span, outcomes = windows.profile_span(model.config.window_us), kind == PERFORMANCE
        self._latest = profiles.latest_known(connection, model.id, span, low, high, outcomes=outcomes)
        self._places: dict[int, dict[Of, int]] = {}

    def window(self, one: Evaluated) -> Known:
        listed = self._revisions.get(one.start, [])
        late = self._late(one)
        then = self._then(listed, one, late)
        return Known(
            one.start,
            one.end,
            one.at,
            None if then is None else self._figures(then),
            self._figures(listed[-1]) if listed else None,
            late,
            then is None and one.start >= self._expired,
        )

    @cached_property
    def _expired(self) -> int:
        """Rows before this are not kept any more."""
        return blocks.log_end(self._connection, self._model.id).expired_before or 0

    def _late(self, one: Evaluated) -> bool:
        due = due_at(self._model, self._kind, one.end)
        return any(known_at > due for start, (_, known_at) in self._latest.items() if one.start <= start < one.end)

    def _then(self, listed: Sequence[Measurement], one: Evaluated, late: bool) -> Measurement | None:
        """The revision that held when the window gave its evidence, None where none is stored."""
        if not listed:
            return None
        if not late:  # then nothing but a new binning makes a revision
            first = payload.binning_of(listed[0].payload)
            return next(row for row in reversed(listed) if payload.binning_of(row.payload) == first)
        in_time = [row for row in listed if row.measured_at <= one.at]
        if in_time:
            return in_time[-1]
        # Outcomes are written over a window's first numbers, later rows never are; but with the clock of events, a
        # window may have been judged long after it was due, and its first numbers hold what its evidence left out.
        return listed[0] if self._kind == INPUTS and self._model.config.clock == "wall" else None

    def _figures(self, row: Measurement) -> Figures:
        numbers = payload.load(row.payload)
        if numbers is None:
            return Figures(Value(), row.rows, row.labelled)
        if numbers.binning not in self._places:
            binning = binning_numbered(self._connection, self._model.id, numbers.binning)
            self._places[numbers.binning] = places_of([bins.name for bins in binning.features])
        value = stored_value(self._wanted, numbers, self._places[numbers.binning])
        return Figures(value, row.rows, row.labelled)

    def counted_again(self, found: Sequence[Known]) -> list[Known]:
        """The windows, those without numbers of then counted from their rows as known when they were due."""
        left, made = MOST_ROWS, []
        for one in found:
            rows = one.now.rows if one.now is not None else 0
            if one.countable and rows <= left:
                left -= rows
                made.append(replace(one, then=self._counted(one), countable=False))
            else:
                made.append(one)
        return made

    def _counted(self, one: Known) -> Figures:
        shelf = Shelf(self._connection, self._model, Want(as_of=due_at(self._model, self._kind, one.end)))
        shelf.with_windows = False
        profile = shelf.profile(one.start, one.end)
        if profile is None:
            return Figures(Value(), 0, 0)
        reference = shelf.reference(profile.binning.number)
        metric, of = self._wanted
        measures = measure(profile, None if reference is None else reference.profile, (metric,))
        if of is None:
            return Figures(measures.values.get(metric, Value()), profile.rows, profile.labelled)
        place, column = places_of(measures.names).get(of), measures.columns.get(metric)
        value = Value() if place is None or column is None or place >= len(column.value) else column.at(place)
        return Figures(value, profile.rows, profile.labelled)
