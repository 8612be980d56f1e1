"""A metric over time: from stored measurements where they answer the question, else from profiles, never from rows
(but for the hours of a view of the past that have changed since)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sqlalchemy.engine import Connection

from monitor.evaluate import payload, windows
from monitor.evaluate.cuts import Shelf
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.loaded import binning_numbered, with_schema
from monitor.evaluate.query import Asked, Query, check, check_length, segment_of
from monitor.evaluate.summary import Distribution, Summary, distribution, summary
from monitor.stats.measure import Metric, measure_one
from monitor.stats.profile import Profile
from monitor.stats.values import Value
from monitor.store import evaluations
from monitor.store.catalog import Model
from monitor.store.evaluations import FINAL, INPUTS, NO_DATA, PERFORMANCE, PROVISIONAL, Measurement

__all__ = [
    "Distribution",
    "Heatmap",
    "Point",
    "Query",
    "Summary",
    "distribution",
    "heatmap",
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


@dataclass(frozen=True)
class Heatmap:
    """A metric of every feature over time: `values[feature][step]`, None where there is none."""

    starts: list[int]
    ends: list[int]
    features: list[str]
    values: list[list[float | None]]


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
    places = _Places(connection, model)
    for start, end in steps:
        row = stored.get(start)
        if row is None or row.end != end:  # of another length, before the window was changed
            yield _nothing(start, end)
            continue
        numbers = payload.load(row.payload)
        state = row.performance_state if asked.metric.labels else row.inputs_state
        if numbers is None:
            yield Point(start, end, None, None, None, 0, None, state, row.revision)
            continue
        value = numbers.values.get(asked.metric.name, Value())
        if asked.feature is not None:
            place = places.of(numbers.binning).get(asked.feature)
            value = Value() if place is None else numbers.at(asked.metric.name, place)
        yield _point(start, end, value, asked.metric, row.rows, row.labelled, state, row.revision)


class _Places:
    """Where each feature stands in a measurement's arrays, by the binning that it was counted in."""

    def __init__(self, connection: Connection, model: Model) -> None:
        self._connection, self._model = connection, model
        self._known: dict[int, dict[str, int]] = {}

    def of(self, number: int) -> dict[str, int]:
        if number not in self._known:
            binning = binning_numbered(self._connection, self._model.id, number)
            self._known[number] = {bins.name: place for place, bins in enumerate(binning.features)}
        return self._known[number]


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


# ---------------------------------------------------------------- every feature over time


def heatmap(
    connection: Connection,
    model: Model,
    metric: str,
    from_us: int,
    to_us: int,
    step_us: int,
    shelf: KeptShelf | None = None,
) -> Heatmap:
    """A metric per feature for every step of the stretch, features in the binning's order.

    Args:
        shelf: of all live rows, in the same reading: what it has fetched is not read again.

    Raises:
        Invalid: the metric is not measured per feature, or the stretch or the step is none.
    """
    model = with_schema(connection, model)
    query = Query(metric=metric, from_us=from_us, to_us=to_us, step_us=step_us)
    asked = check(connection, model, query, to_us)
    check_length(asked)
    steps = windows.spans(asked.from_at, asked.to_at, asked.step, model.config.timezone)
    if asked.step == model.config.window_us:
        columns = _measured_columns(connection, model, asked, steps)
    else:
        columns = _profile_columns(shelf or KeptShelf(connection, model), asked, steps)
    names = list(dict.fromkeys(name for column in columns for name in column))
    values = [[column.get(name) for column in columns] for name in names]
    return Heatmap([start for start, _ in steps], [end for _, end in steps], names, values)


def _measured_columns(
    connection: Connection, model: Model, asked: Asked, steps: list[tuple[int, int]]
) -> list[dict[str, float | None]]:
    stored: dict[int, Measurement] = {
        row.start: row for row in evaluations.latest_measurements(connection, model.id, steps[0][0], steps[-1][0] + 1)
    }
    places = _Places(connection, model)
    columns: list[dict[str, float | None]] = []
    for start, end in steps:
        row = stored.get(start)
        numbers = None if row is None or row.end != end else payload.load(row.payload)
        if numbers is None or asked.metric.name not in numbers.columns:
            columns.append({})
            continue
        values = numbers.columns[asked.metric.name].value.tolist()
        columns.append({name: _finite(values[at]) for name, at in places.of(numbers.binning).items()})
    return columns


def _profile_columns(shelf: KeptShelf, asked: Asked, steps: list[tuple[int, int]]) -> list[dict[str, float | None]]:
    shelf.fetch(windows.profile_span(asked.step), steps[0][0], steps[-1][1])
    columns: list[dict[str, float | None]] = []
    for start, end in steps:
        found = shelf.measures(start, end, (asked.metric.name,))
        values = [] if found is None else found.features.get(asked.metric.name, np.empty(0)).tolist()
        names = () if found is None else found.names
        columns.append({name: _finite(value) for name, value in zip(names, values, strict=False)})
    return columns


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
