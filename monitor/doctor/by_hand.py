"""Monitors by hand that are noisy, deaf or starved, each with the change to make."""

from typing import NamedTuple

import numpy as np
from sqlalchemy.engine import Connection

from monitor.clock import DAY
from monitor.doctor import Finding
from monitor.errors import Invalid
from monitor.evaluate import series as data
from monitor.evaluate.rules import amount, rule_told, subject
from monitor.evaluate.watched import Monitor
from monitor.stats.rule import Condition
from monitor.store import overview
from monitor.store.catalog import Model

RECENT = 200  # windows that are looked at
LEAST = 20  # windows from which a share means something
OFTEN = 5  # pages in 30 days
FAR = 3  # times the whole range of its values that a bound may lie away from them


class _Seen(NamedTuple):
    """A condition and its metric in the last windows, NaN where there is none; None where nobody can be asked."""

    condition: Condition
    values: np.ndarray | None

    @property
    def present(self) -> np.ndarray:
        values = np.zeros(0) if self.values is None else self.values
        return np.asarray(values[np.isfinite(values)])

    @property
    def starved(self) -> bool:
        return self.values is not None and len(self.values) >= LEAST and len(self.present) < 0.5 * len(self.values)

    @property
    def deaf(self) -> bool:
        """Whether the bound lies out of reach of the values there have been."""
        if len(self.present) < LEAST:
            return False
        low, high = float(self.present.min()), float(self.present.max())
        distance = self.condition.value - high if _is_upper(self.condition) else low - self.condition.value
        return high > low and distance > FAR * (high - low)

    @property
    def edge(self) -> float:
        """A bound that one window in a hundred passes, to two digits and on the quiet side."""
        if not len(self.present):
            return self.condition.value
        return float(f"{float(np.quantile(self.present, 0.99 if _is_upper(self.condition) else 0.01)):.2g}")


def examine(connection: Connection, model: Model, one: Monitor, now: int) -> list[Finding]:
    """What is wrong with a monitor by hand: at most one finding for each of its conditions.

    One condition decides a rule of `all` that it is never met, or never known; of `any`, only all of them do.
    """
    name = f"Monitor {one.name} ({rule_told(one.rule)})"
    seen = [_Seen(condition, _values(connection, model, condition, now)) for condition in one.rule.conditions]
    opened = overview.alerts_opened(connection, model.id, now - 30 * DAY).get(one.family, 0)
    if opened >= OFTEN:
        return [_noisy(one, name, opened, seen)]
    found = []
    for check in (_gone, _starved, _deaf):
        told = [finding for part in seen if (finding := check(name, part)) is not None]
        if told and (one.rule.match == "all" or len(told) == len(seen)):
            found += told
    return found[: len(seen)]


def _noisy(one: Monitor, name: str, opened: int, seen: list[_Seen]) -> Finding:
    change = f"Ask for {min(2 * one.rule.windows + 1, 48)} windows in a row"
    bounds = [
        f"{subject(part.condition)} to {amount(part.condition.metric, part.edge)}"
        for part in seen
        if len(part.present) >= LEAST
    ]
    if len(seen) == 1 and bounds:
        change += f", or move its bound to {bounds[0].rpartition(' to ')[2]}"
    elif bounds:
        change += f", or move a bound: {', '.join(bounds)}"
    return Finding("noisy", "warning", f"{name} raised {opened} alerts in 30 days", change + "; back-test it first")


def _gone(name: str, part: _Seen) -> Finding | None:
    if part.values is not None:
        return None
    text = f"{name} can never fire: {subject(part.condition)} is not measured any more"
    return Finding("deaf", "warning", text, "Name another feature or segment, or remove the monitor")


def _starved(name: str, part: _Seen) -> Finding | None:
    if not part.starved or part.values is None:
        return None
    without = f"{len(part.values) - len(part.present)} of the last {len(part.values)} windows"
    text = f"{name} is seldom judged: {subject(part.condition)} had no value in {without}"
    change = "Lower its `min_rows`, take longer windows, or let a missing value count as met (`missing`: `alert`)"
    return Finding("starved", "warning", text, change)


def _deaf(name: str, part: _Seen) -> Finding | None:
    if not part.deaf:
        return None
    upper = _is_upper(part.condition)
    most = amount(part.condition.metric, float(part.present.max() if upper else part.present.min()))
    said = f"the {'highest' if upper else 'lowest'} {subject(part.condition)} of the last {len(part.present)} windows"
    change = f"Move its bound near {amount(part.condition.metric, part.edge)}"
    return Finding("deaf", "warning", f"{name} is out of reach: {said} was {most}", change)


def _is_upper(condition: Condition) -> bool:
    return condition.op in (">", ">=")


def _values(connection: Connection, model: Model, one: Condition, now: int) -> np.ndarray | None:
    """The metric of a condition in the last windows, from the first that had any rows."""
    query = data.Query(
        metric=one.metric,
        feature=one.feature,
        segment=one.segment,
        version=one.version,
        from_us=now - RECENT * model.config.window_us,
        to_us=now,
    )
    try:
        points = [point for point in data.series(connection, model, query, now) if point.end <= now]
    except Invalid:
        return None
    first = next((place for place, point in enumerate(points) if point.state != "no_data"), len(points))
    return np.array([np.nan if point.value is None else point.value for point in points[first:]])
