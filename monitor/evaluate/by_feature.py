"""Every feature over time: a metric of each, step by step, as one table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.engine import Connection

from monitor.evaluate import windows
from monitor.evaluate.kept import KeptShelf, numbers_of
from monitor.evaluate.loaded import binning_numbered, with_schema
from monitor.evaluate.query import Asked, Query, check, check_length
from monitor.stats.rows import Floats
from monitor.store import evaluations
from monitor.store.catalog import Model
from monitor.store.evaluations import Measurement

Steps = Sequence[tuple[int, int]]  # start and end of each, in microseconds


@dataclass(frozen=True)
class Heatmap:
    """A metric of every feature over time: `values[feature][step]`, None where there is none."""

    starts: list[int]
    ends: list[int]
    features: list[str]
    values: list[list[float | None]]


class Table:
    """`values` of a metric, float64[features, steps], NaN where there is none; features in the order in which they
    come up."""

    def __init__(self, steps: int) -> None:
        self.features: list[str] = []
        self._steps = steps
        self._at: dict[tuple[str, ...], list[int]] = {}
        self._values = np.full((0, steps), np.nan)

    def put(self, step: int, names: tuple[str, ...], values: Floats) -> None:
        """Set what was measured of these features in a step; what is not finite is none."""
        if names not in self._at:
            place = {name: at for at, name in enumerate(dict.fromkeys([*self.features, *names]))}
            self.features = list(place)
            self._at[names] = [place[name] for name in names]
            more = np.full((len(place) - len(self._values), self._steps), np.nan)
            self._values = np.concatenate([self._values, more])
        self._values[self._at[names], step] = np.where(np.isfinite(values), values, np.nan)

    @property
    def values(self) -> Floats:
        return self._values


def listed(values: Floats) -> list[float | None]:
    """Numbers as charts take them, NaN as None."""
    return [None if value != value else value for value in values.tolist()]


def tables(shelf: KeptShelf, steps: Steps, metrics: tuple[str, ...]) -> dict[str, Table]:
    """Metrics that are measured per feature, from profiles; steps without a row hold none."""
    shelf.fetch(windows.profile_span(steps[0][1] - steps[0][0]), steps[0][0], steps[-1][1])
    made = {metric: Table(len(steps)) for metric in metrics}
    for step, (start, end) in enumerate(steps):
        found = shelf.measures(start, end, metrics)
        if found is None or not found.rows:
            continue
        values = found.features
        for metric, table in made.items():
            if metric in values:
                table.put(step, found.names, values[metric])
    return made


def heatmap(
    connection: Connection,
    model: Model,
    metric: str,
    from_us: int,
    to_us: int,
    step_us: int,
    shelf: KeptShelf | None = None,
) -> Heatmap:
    """A metric per feature for every step of the stretch.

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
        table = _measured(connection, model, asked, steps)
    else:
        table = tables(shelf or KeptShelf(connection, model), steps, (metric,))[metric]
    values = [listed(line) for line in table.values]
    return Heatmap([start for start, _ in steps], [end for _, end in steps], table.features, values)


def _measured(connection: Connection, model: Model, asked: Asked, steps: Steps) -> Table:
    stored: dict[int, Measurement] = {
        row.start: row for row in evaluations.latest_measurements(connection, model.id, steps[0][0], steps[-1][0] + 1)
    }
    places, table = Places(connection, model), Table(len(steps))
    for step, (start, end) in enumerate(steps):
        row = stored.get(start)
        numbers = None if row is None or row.end != end else numbers_of(row.payload)
        if numbers is not None and asked.metric.name in numbers.columns:
            names = tuple(places.of(numbers.binning))
            table.put(step, names, numbers.columns[asked.metric.name].value[: len(names)])
    return table


class Places:
    """Where each feature stands in a measurement's arrays, by the binning that it was counted in."""

    def __init__(self, connection: Connection, model: Model) -> None:
        self._connection, self._model = connection, model
        self._known: dict[int, dict[str, int]] = {}

    def of(self, number: int) -> dict[str, int]:
        if number not in self._known:
            binning = binning_numbered(self._connection, self._model.id, number)
            self._known[number] = {bins.name: place for place, bins in enumerate(binning.features)}
        return self._known[number]
