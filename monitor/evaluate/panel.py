"""Several metrics of one stretch at once, for pages: every window or profile is read and unpacked once."""

from collections.abc import Iterator, Sequence
from enum import Enum

from sqlalchemy.engine import Connection

from monitor.evaluate import windows
from monitor.evaluate.kept import KeptShelf, numbers_of
from monitor.evaluate.loaded import binning_numbered, with_schema
from monitor.evaluate.payload import Numbers
from monitor.evaluate.query import Asked, Query, check, check_length
from monitor.evaluate.series import Point, coverage_of
from monitor.stats.measure import Measures
from monitor.stats.values import Columns, Value
from monitor.store import evaluations
from monitor.store.catalog import Model
from monitor.store.evaluations import FINAL, INPUTS, NO_DATA, PERFORMANCE, PROVISIONAL


class Signal(Enum):
    """What is compared with the reference beside features; its value is its place behind them."""

    PREDICTION = 0
    SCORE = 1


Of = str | Signal | None
Wanted = tuple[str, Of]  # a metric, and the feature (or signal) that it is of


def panel(
    connection: Connection,
    model: Model,
    wanted: Sequence[Wanted],
    from_us: int,
    to_us: int,
    step_us: int,
    now: int,
    shelf: KeptShelf | None = None,
) -> dict[Wanted, list[Point]]:
    """What `series` answers for each metric over all live rows, in one pass.

    Args:
        wanted: (metric, feature, signal or None), at least one; all of them in the same stretch and step.
        now: the model's clock.
        shelf: of all live rows, in the same reading: what it has fetched is not read again.

    Raises:
        Invalid: a query cannot be answered; names the field.
    """
    model = with_schema(connection, model)
    asked = {
        (metric, of): check(
            connection,
            model,
            Query(metric, of if isinstance(of, str) else None, from_us=from_us, to_us=to_us, step_us=step_us),
            now,
        )
        for metric, of in wanted
    }
    first = next(iter(asked.values()))
    check_length(first)
    steps = windows.spans(first.from_at, first.to_at, first.step, model.config.timezone)
    points: dict[Wanted, list[Point]] = {one: [] for one in asked}
    if first.step == model.config.window_us:
        read = _measured(connection, model, asked, steps)
    else:
        read = _profiled(connection, shelf or KeptShelf(connection, model), asked, steps)
    for found in read:
        for one, point in found.items():
            points[one].append(point)
    return points


def _nothing(start: int, end: int, state: str = NO_DATA, revision: int = 0) -> Point:
    return Point(start, end, None, None, None, 0, None, state, revision)


def _measured(
    connection: Connection, model: Model, asked: dict[Wanted, Asked], steps: Sequence[tuple[int, int]]
) -> Iterator[dict[Wanted, Point]]:
    """From the stored measurements of windows."""
    found = evaluations.latest_measurements(connection, model.id, steps[0][0], steps[-1][0] + 1)
    stored = {row.start: row for row in found}
    places: dict[int, dict[Of, int]] = {}
    for start, end in steps:
        row = stored.get(start)
        numbers = None if row is None else numbers_of(row.payload)
        if row is not None and numbers is not None and numbers.binning not in places:
            binning = binning_numbered(connection, model.id, numbers.binning)
            places[numbers.binning] = places_of([bins.name for bins in binning.features])
        points: dict[Wanted, Point] = {}
        for one, question in asked.items():
            if row is None:
                points[one] = _nothing(start, end)
                continue
            state = row.performance_state if question.metric.labels else row.inputs_state
            if numbers is None:
                points[one] = _nothing(start, end, state, row.revision)
                continue
            value = stored_value(one, numbers, places[numbers.binning])
            points[one] = _point(start, end, value, question, row.rows, row.labelled, state, row.revision)
        yield points


def _profiled(
    connection: Connection, shelf: KeptShelf, asked: dict[Wanted, Asked], steps: Sequence[tuple[int, int]]
) -> Iterator[dict[Wanted, Point]]:
    """From stored profiles, merged for each step."""
    first = next(iter(asked.values()))
    shelf.fetch(windows.profile_span(first.step), steps[0][0], steps[-1][1])
    final = {}
    for kind in (INPUTS, PERFORMANCE):
        last = evaluations.last_evaluated(connection, shelf.model.id, kind)
        final[kind] = steps[0][0] if last is None else last.end
    names = sorted({metric for metric, _ in asked})
    for start, end in steps:
        measures = shelf.measures(start, end, names)
        if measures is None or not measures.rows:
            yield {one: _nothing(start, end) for one in asked}
            continue
        places = places_of(measures.names)
        points: dict[Wanted, Point] = {}
        for one, question in asked.items():
            value = _value(one, measures.values, measures.columns, places)
            state = _state(question, measures, end <= final[PERFORMANCE if question.metric.labels else INPUTS])
            points[one] = _point(start, end, value, question, measures.rows, measures.labelled, state, 0)
        yield points


def _state(asked: Asked, measures: Measures, final: bool) -> str:
    if asked.metric.labels and not measures.labelled:
        return NO_DATA
    return FINAL if final else PROVISIONAL


def places_of(names: Sequence[str]) -> dict[Of, int]:
    """Where each feature and signal stands in the arrays of a measurement."""
    found: dict[Of, int] = {name: place for place, name in enumerate(names)}
    return {**found, **{signal: len(names) + signal.value for signal in Signal}}


def stored_value(one: Wanted, numbers: Numbers, places: dict[Of, int]) -> Value:
    """What a measurement says; `places` of its binning."""
    metric, feature = one
    if feature is None:
        return numbers.values.get(metric, Value())
    place = places.get(feature)
    return Value() if place is None else numbers.at(metric, place)


def _value(one: Wanted, values: dict[str, Value], columns: dict[str, Columns], places: dict[Of, int]) -> Value:
    metric, feature = one
    if feature is None:
        return values.get(metric, Value())
    place, column = places.get(feature), columns.get(metric)
    return Value() if place is None or column is None or place >= len(column.value) else column.at(place)


def _point(
    start: int, end: int, value: Value, asked: Asked, rows: int, labelled: int, state: str, revision: int
) -> Point:
    coverage = coverage_of(asked.metric, value, rows, labelled)
    return Point(start, end, value.value, value.low, value.high, value.n, coverage, state, revision)
