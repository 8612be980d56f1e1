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
from monitor.stats.rule import OPS, Rule
from monitor.store.catalog import Model

_NUMBERS = ("windows", "resolve_windows", "min_rows")
SUFFIXES = ("", "2", "3")  # of the fields of the first, second and third condition


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
    conditions = [_condition(fields, suffix) for suffix in SUFFIXES if not suffix or fields.get(f"metric{suffix}")]
    body: dict[str, Any] = {"conditions": conditions}
    body |= {name: fields[name] for name in ("match", "missing", "severity") if fields.get(name)}
    return body | {name: _int(name, fields[name]) for name in _NUMBERS if fields.get(name)}


def _condition(fields: Mapping[str, str], suffix: str) -> dict[str, Any]:
    """One condition of a form; the fields of the second end in 2, those of the third in 3."""
    found: dict[str, Any] = {name: fields.get(name + suffix) for name in ("metric", "op")}
    found["value"] = _float(f"value{suffix}", fields.get(f"value{suffix}", ""))
    found |= {name: fields[name + suffix] for name in ("feature", "segment", "version") if fields.get(name + suffix)}
    if clear := fields.get(f"clear{suffix}"):
        found["clear"] = _float(f"clear{suffix}", clear)
    return found


def fields_of(rule: Rule) -> dict[str, str]:
    """The form that holds a rule; empty for one of more conditions than it has."""
    if len(rule.conditions) > len(SUFFIXES):
        return {}
    found = {"match": rule.match, "missing": rule.missing, "severity": rule.severity}
    found |= {name: str(getattr(rule, name)) for name in _NUMBERS}
    for suffix, one in zip(SUFFIXES, rule.conditions, strict=False):
        values = {"metric": one.metric, "op": one.op, "value": repr(one.value), "feature": one.feature}
        values |= {
            "segment": one.segment,
            "version": one.version,
            "clear": None if one.clear is None else repr(one.clear),
        }
        found |= {name + suffix: text for name, text in values.items() if text}
    return found


def _float(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid.field(name, "must be a number") from None


def _int(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid.field(name, "must be a whole number") from None
