"""A metric over time: from stored measurements where they answer the question, else from profiles, never from rows
(but for the hours of a view of the past that have changed since)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.engine import Connection

from monitor.evaluate import windows
from monitor.evaluate.by_feature import Places
from monitor.evaluate.cuts import Shelf
from monitor.evaluate.kept import KeptShelf, numbers_of
from monitor.evaluate.loaded import with_schema
from monitor.evaluate.query import Asked, Query, check, check_length, segment_of
from monitor.evaluate.summary import Distribution, Summary, distribution, summary
from monitor.stats.measure import Metric, measure_one
from monitor.stats.profile import Profile
from monitor.stats.values import Value
from monitor.store import evaluations
from monitor.store.catalog import Model
from monitor.store.evaluations import FINAL, INPUTS, NO_DATA, PERFORMANCE, PROVISIONAL

__all__ = [
    "Distribution",
    "Point",
    "Query",
    "Summary",
    "distribution",
    "series",
    "summary",
]


@dataclass(frozen=True)
class Point:
    """One step of a series. `low`, `high`: 95 %; `n`: rows behind the value; `coverage`: their share of all rows."""

    start: int
    end: int
    value: float | None
    low: float | None
    high: float | None
    n: int
    coverage: float | None
    state: str
    revision: int


def series(connection: Connection, model: Model, query: Query, now: int) -> list[Point]:
    """The points that overlap the stretch, ascending; steps begin where windows of that length do.

    Args:
        now: the model's clock; the stretch ends there unless it says otherwise.

    Raises:
        Invalid: the query cannot be answered; names the field.
    """
    model = with_schema(connection, model)
    asked = check(connection, model, query, now)
    check_length(asked)
    steps = windows.spans(asked.from_at, asked.to_at, asked.step, model.config.timezone)
    if asked.is_plain and asked.step == model.config.window_us:
        return list(_measured(connection, model, asked, steps))
    return list(_from_profiles(connection, model, asked, steps))


# ---------------------------------------------------------------- stored measurements


def _measured(connection: Connection, model: Model, asked: Asked, steps: list[tuple[int, int]]) -> Iterator[Point]:
    stored = {
        row.start: row for row in evaluations.latest_measurements(connection, model.id, steps[0][0], steps[-1][0] + 1)
    }
    places = Places(connection, model)
    for start, end in steps:
        row = stored.get(start)
        if row is None or row.end != end:  # of another length, before the window was changed
            yield _nothing(start, end)
            continue
        numbers = numbers_of(row.payload)
        state = row.performance_state if asked.metric.labels else row.inputs_state
        if numbers is None:
            yield Point(start, end, None, None, None, 0, None, state, row.revision)
            continue
        value = numbers.values.get(asked.metric.name, Value())
        if asked.feature is not None:
            place = places.of(numbers.binning).get(asked.feature)
            value = Value() if place is None else numbers.at(asked.metric.name, place)
        yield _point(start, end, value, asked.metric, row.rows, row.labelled, state, row.revision)


def _point(
    start: int, end: int, value: Value, metric: Metric, rows: int, labelled: int, state: str, revision: int
) -> Point:
    return Point(
        start,
        end,
        value.value,
        value.low,
        value.high,
        value.n,
        coverage_of(metric, value, rows, labelled),
        state,
        revision,
    )


def coverage_of(metric: Metric, value: Value, rows: int, labelled: int) -> float | None:
    """The share of rows with an outcome for metrics that need outcomes, else of rows behind the value."""
    if not rows:
        return None
    return labelled / rows if metric.labels else min(1.0, value.n / rows)


def _nothing(start: int, end: int) -> Point:
    return Point(start, end, None, None, None, 0, None, NO_DATA, 0)


# ---------------------------------------------------------------- profiles


def _from_profiles(connection: Connection, model: Model, asked: Asked, steps: list[tuple[int, int]]) -> Iterator[Point]:
    shelf = KeptShelf(connection, model, asked.want)
    shelf.fetch(windows.profile_span(asked.step), steps[0][0], steps[-1][1])
    kind = PERFORMANCE if asked.metric.labels else INPUTS
    last = evaluations.last_evaluated(connection, model.id, kind)
    final_until = steps[0][0] if last is None else last.end
    revisions = _revisions(connection, model, asked, steps)
    name = "series", asked.metric.name, asked.feature, asked.segment
    for start, end in steps:
        found = shelf.of_profile(start, end, name, lambda profile: _cut(shelf, asked, profile), lambda _: 200)
        if found is None or not found.rows_of_all:
            yield _nothing(start, end)
            continue
        counted = found.labelled_of_all if asked.metric.labels else found.rows_of_all
        state = NO_DATA if not counted or not found.rows else FINAL if end <= final_until else PROVISIONAL
        revision = revisions.get(start, 0)
        yield _point(start, end, found.value, asked.metric, found.rows, found.labelled, state, revision)


class _Cut(NamedTuple):
    """A metric of a step, the rows (and those with an outcome) that it is of, and those of the step in all."""

    value: Value
    rows: int
    labelled: int
    rows_of_all: int
    labelled_of_all: int


def _cut(shelf: Shelf, asked: Asked, profile: Profile) -> _Cut:
    if not profile.rows:
        return _Cut(Value(), 0, 0, 0, 0)
    part = profile if asked.segment is None else profile.segment(*segment_of(profile.binning, asked.segment))
    value = value_of(shelf, asked, profile)
    return _Cut(value, part.rows, part.labelled, profile.rows, profile.labelled)


def _revisions(connection: Connection, model: Model, asked: Asked, steps: list[tuple[int, int]]) -> dict[int, int]:
    """A cut of a window has its window's revision; other steps, and views of the past, have none."""
    if asked.step != model.config.window_us or asked.want.as_of is not None:
        return {}
    stored = evaluations.latest_measurements(connection, model.id, steps[0][0], steps[-1][0] + 1)
    return {row.start: row.revision for row in stored}


def value_of(shelf: Shelf, asked: Asked, profile: Profile) -> Value:
    """The metric of a profile, against the reference that holds for the version, of the same segment."""
    reference = None
    if asked.metric.reference:
        found = shelf.reference(profile.binning.number)
        reference = None if found is None else found.profile
    if asked.segment is not None:
        segment = segment_of(profile.binning, asked.segment)
        profile = profile.segment(*segment)
        reference = None if reference is None else reference.segment(*segment)
    if asked.feature is not None and ("feature", asked.feature) not in profile.layout.slices:
        return Value()  # counted before the schema knew this feature
    return measure_one(profile, reference, asked.metric.name, asked.feature)
