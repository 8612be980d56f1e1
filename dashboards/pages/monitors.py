"""Monitors by hand: a list with last values, and the form that makes one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from dashboards import formats, theme, words
from dashboards.theme import State
from monitor.api.monitors import state_of
from monitor.errors import Invalid
from monitor.evaluate import watched
from monitor.evaluate.rules import amount, rule_told, subject
from monitor.evaluate.watched import Monitor
from monitor.stats.measure import METRICS
from monitor.stats.rule import OPS
from monitor.store.catalog import Model

_NUMBERS = ("windows", "resolve_windows", "min_rows")


@dataclass(frozen=True)
class Line:
    """A monitor as the list shows it: its rule in words, how it stands, and its last values."""

    monitor: Monitor
    text: str
    state: State
    values: Sequence[str]


@dataclass(frozen=True)
class Choice:
    """What the form offers."""

    metrics: Sequence[tuple[str, str]]
    features: Sequence[str]
    ops: Sequence[str]


def of_model(connection: Connection, model: Model) -> list[Line]:
    """The model's monitors, firing ones first."""
    lines = [_line(one) for one in watched.list_monitors(connection, model.id)]
    return sorted(lines, key=lambda line: not line.monitor.memory.firing)


def _line(monitor: Monitor) -> Line:
    values = []
    if monitor.last is not None:
        for condition, reading in zip(monitor.rule.conditions, monitor.last.readings, strict=True):
            shown = formats.NONE if reading.value is None else amount(condition.metric, reading.value)
            alone = len(monitor.rule.conditions) == 1
            values.append(shown if alone else f"{subject(condition)}: {shown}")
    return Line(monitor, rule_told(monitor.rule), theme.MONITOR[state_of(monitor)], values)


def choice(model: Model) -> Choice:
    """What a condition on this model may name."""
    metrics = [(one.name, words.metric(one.name)) for one in METRICS.values() if model.task in one.tasks]
    features = sorted(name for name, kind in (model.features or {}).items() if kind != "ignored")
    return Choice(metrics, features, tuple(OPS))


def body_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """The rule of a form as the API takes it.

    Raises:
        Invalid: a number cannot be read.
    """
    condition: dict[str, Any] = {"metric": fields.get("metric"), "op": fields.get("op"), "value": _float(fields)}
    condition |= {name: fields[name] for name in ("feature", "segment", "version") if fields.get(name)}
    body: dict[str, Any] = {"conditions": [condition]}
    body |= {name: fields[name] for name in ("missing", "severity") if fields.get(name)}
    return body | {name: _int(name, fields[name]) for name in _NUMBERS if fields.get(name)}


def _float(fields: Mapping[str, str]) -> float:
    try:
        return float(fields.get("value", ""))
    except ValueError:
        raise Invalid.field("value", "must be a number") from None


def _int(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid.field(name, "must be a whole number") from None
