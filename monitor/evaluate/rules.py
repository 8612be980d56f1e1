"""Reading a monitor's rule from a JSON body, checked against the model, and telling it."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy.engine import Connection

from monitor.errors import Invalid
from monitor.evaluate.loaded import binning_numbered, with_schema
from monitor.evaluate.query import check_feature, check_metric, segment_of
from monitor.stats.measure import METRICS
from monitor.stats.rule import MATCHES, MISSING, OPS, Condition, Reading, Rule
from monitor.store import profiles
from monitor.store.alerts import SEVERITIES
from monitor.store.body import Reader, text_error
from monitor.store.catalog import Model

MOST_CONDITIONS = 10
MOST_WINDOWS = 48
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LONGEST_SEGMENT = 600
_OF = ("feature", "segment", "version")
_WORDS = {">": "above", ">=": "at or above", "<": "below", "<=": "at or below"}
UNITS = {"ms": " ms", "rows": " rows", "s": " s"}


def check_name(name: object) -> str:
    """A monitor's name.

    Raises:
        Invalid: it is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Invalid.field("name", "must be 1 to 128 letters, digits, dots, dashes and underscores")
    return name


def read_rule(connection: Connection, model: Model, body: Mapping[str, Any]) -> Rule:
    """A rule of a JSON body, with its defaults.

    Raises:
        Invalid: names every field that is wrong, and what this model cannot be asked for.
    """
    reader = Reader(body)
    match = reader.choice("match", MATCHES, "all")
    missing = reader.choice("missing", MISSING, "ignore")
    severity = reader.choice("severity", SEVERITIES, "warning")
    windows = _whole(reader, "windows", 1, 1, MOST_WINDOWS)
    resolve_windows = _whole(reader, "resolve_windows", windows, 1, MOST_WINDOWS)
    min_rows = _whole(reader, "min_rows", 0, 0, 10**9)
    listed = reader.body.pop("conditions", None)
    conditions: list[Condition] = []
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_CONDITIONS:
        reader.wrong("conditions", f'must be a list of 1 to {MOST_CONDITIONS}, each {{"metric", "op", "value"}}')
    else:
        model = with_schema(connection, model)
        for index, one in enumerate(listed):
            found = _condition(connection, model, reader, f"conditions[{index}]", one)
            conditions += [found] if found is not None else []
    reader.finish()
    return Rule(
        tuple(conditions),
        str(match),
        windows,
        resolve_windows,
        str(missing),
        min_rows,
        severity,  # type: ignore[arg-type]
    )


def _whole(reader: Reader, field: str, default: int, low: int, high: int) -> int:
    value = reader.body.pop(field, None)
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    reader.wrong(field, f"must be a whole number from {low} to {high:,}")
    return default


def _condition(connection: Connection, model: Model, reader: Reader, field: str, one: object) -> Condition | None:
    if not isinstance(one, dict):
        reader.wrong(field, "must be an object with metric, op and value")
        return None
    inner = Reader(one)
    metric = inner.body.pop("metric", None)
    if not isinstance(metric, str):
        inner.wrong("metric", "is required: GET /v1/models/{model}/metrics lists them")
    op = inner.choice("op", tuple(OPS), None)
    value, clear = (_number(inner, name, required=name == "value") for name in ("value", "clear"))
    of = {name: _text(inner, name) for name in _OF}
    if value is not None and clear not in (None, value) and (clear > value) == (op in (">", ">=")):
        inner.wrong("clear", "must lie on the good side of `value`")
    try:
        inner.finish()
        found = Condition(str(metric), str(op), float(value or 0), **of, clear=None if clear == value else clear)
        _check(connection, model, found)
    except Invalid as error:
        reader.errors += [{**said, "field": f"{field}.{said['field']}"} for said in error.errors]
        return None
    return found


def _number(reader: Reader, field: str, *, required: bool) -> float | None:
    value = reader.body.pop(field, None)
    if value is None and not required:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e300:
        return float(value)
    reader.wrong(field, "must be a number")
    return None


def _text(reader: Reader, field: str) -> str | None:
    value = reader.body.pop(field, None)
    if value is None:
        return None
    is_segment = field == "segment" and isinstance(value, str) and 0 < len(value) <= _LONGEST_SEGMENT
    reason = None if is_segment else text_error(value)
    if reason is not None:
        reader.wrong(field, reason)
        return None
    return str(value)


def _check(connection: Connection, model: Model, condition: Condition) -> None:
    """What the model can be asked for. A version may come later; so may a segment while there is no binning."""
    metric = check_metric(model, condition.metric)
    if condition.feature is not None and (not metric.per_feature or model.features is not None):
        check_feature(model, metric, condition.feature)
    if condition.segment is not None:
        number = profiles.current_number(connection, model.id)
        if number:
            segment_of(binning_numbered(connection, model.id, number), condition.segment)


# ---------------------------------------------------------------- telling


def rule_json(rule: Rule) -> dict[str, Any]:
    """A rule as the API shows it and takes it."""
    content = asdict(rule)
    conditions = [
        {name: value for name, value in one.items() if value is not None or name in ("metric", "op", "value")}
        for one in content.pop("conditions")
    ]
    return {"match": content.pop("match"), "conditions": conditions, **content}


def needs_outcomes(rule: Rule) -> bool:
    """Whether its windows are judged when their labels are due, and not at their end."""
    return any(METRICS[one.metric].labels for one in rule.conditions)


def subject(condition: Condition) -> str:
    """What a condition looks at: psi of `amount`, segment plan:pro, version 3."""
    of = f" of `{condition.feature}`" if condition.feature is not None else ""
    segment = f", segment {condition.segment}" if condition.segment is not None else ""
    version = f", version {condition.version}" if condition.version is not None else ""
    return f"{condition.metric}{of}{segment}{version}"


def told(condition: Condition) -> str:
    """A condition in words: psi of `amount` above 0.2."""
    return f"{subject(condition)} {_WORDS[condition.op]} {amount(condition.metric, condition.value)}"


def rule_told(rule: Rule) -> str:
    """A rule in words."""
    joined = (" and " if rule.match == "all" else " or ").join(told(one) for one in rule.conditions)
    return joined if rule.windows == 1 else f"{joined}, {rule.windows} windows in a row"


def reading_told(condition: Condition, reading: Reading, firing: bool) -> str:
    """What a window's number was against its bound."""
    bound = f"{_WORDS[condition.op]} {amount(condition.metric, condition.bound(firing))}"
    if reading.value is None:
        return f"{subject(condition)} has no value (asked for: {bound})"
    value = amount(condition.metric, reading.value)
    interval = ""
    if reading.low is not None and reading.high is not None and reading.low < reading.high:
        low, high = (amount(condition.metric, one) for one in (reading.low, reading.high))
        interval = f" (95 %: {low} to {high})"
    return f"{subject(condition)} is {value}{interval}, {bound}"


def amount(metric: str, value: float) -> str:
    """A number in the metric's unit: 12.3 %, 250 ms, 0.21."""
    unit = METRICS[metric].unit if metric in METRICS else ""
    if unit == "share":
        return f"{100 * value:.4g} %"
    text = f"{value:,.0f}" if abs(value) >= 1000 and float(value).is_integer() else f"{value:.4g}"
    return text + UNITS.get(unit, "")
