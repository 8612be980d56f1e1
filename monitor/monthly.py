"""The facts of a model's month, for a report that a manager reads: gathered once, kept as JSON, told by the dashboard.

Everything is merged from stored profiles and measurements; no row is read. A month is one of the model's calendar, cut
at whole windows.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.errors import Invalid, KeepwatchError
from monitor.evaluate import windows
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.loaded import with_schema
from monitor.evaluate.panel import Wanted, panel
from monitor.stats.measure import METRICS, Value
from monitor.store import catalog, events, tables, tasks
from monitor.store.alerts import Alert, list_alerts, list_events
from monitor.store.catalog import Model
from monitor.store.evaluations import count_judged
from monitor.store.session import reading, writing
from monitor.store.tasks import Task
from monitor.work import Done, Work

KIND = "monthly"
HEADLINE = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "mae"}  # the one that leads
BESIDE = {
    "binary": ("accuracy", "precision", "recall", "brier"),
    "multiclass": ("f1_macro", "log_loss"),
    "regression": ("rmse", "bias", "r2"),
}
SERVICE = ("volume", "latency_p50", "latency_p95", "error_rate")
FEATURES = 5  # that are named
MOST_ALERTS = 200


class NoMonth(KeepwatchError):
    """Why a month cannot be told, in words for the one who asked."""


@dataclass(frozen=True)
class Month:
    """A month of a model: its first instant and the first of the next, cut at windows; `name` is YYYY-MM."""

    name: str
    from_at: int
    to_at: int

    @classmethod
    def of(cls, model: Model, name: str) -> "Month":
        """Raises Invalid for what is no month."""
        try:
            first = datetime.strptime(name, "%Y-%m").replace(tzinfo=ZoneInfo(model.config.timezone))
            clock.in_range(clock.from_datetime(first))
        except (ValueError, OverflowError):
            raise Invalid.field("month", "must be a month, for instance 2026-01") from None
        year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
        ends = (clock.from_datetime(one) for one in (first, first.replace(year=year, month=month)))
        start, end = (windows.start_of(at, model.config.window_us, model.config.timezone) for at in ends)
        return cls(f"{first:%Y-%m}", start, end)

    @classmethod
    def holding(cls, model: Model, at: int) -> "Month":
        """The month that an instant lies in."""
        return cls.of(model, f"{clock.to_datetime(at).astimezone(ZoneInfo(model.config.timezone)):%Y-%m}")

    def before(self, model: Model) -> "Month":
        """The month before."""
        return Month.holding(model, self.from_at - 1)


def ask(connection: Connection, model: Model, month: str, wall: int, now: int) -> Task:
    """Ask for the report of a month (YYYY-MM); `now` is the model's clock.

    Raises:
        Invalid: that is no month, or one that has not begun.
        QuotaExceeded: too many reports of the model are not finished yet.
    """
    found = Month.of(model, month)
    if found.from_at >= now:
        raise Invalid.field("month", "has not begun yet")
    return tasks.ask(connection, model.project_id, model.id, KIND, json.dumps({"month": found.name}), wall)


def ask_due(engine: Engine, wall: int) -> int:
    """Ask for the last month of every model that is over, outcomes included, and has no report; returns how many."""
    asked = 0
    with reading(engine) as connection:
        models = [catalog.get_model_by_id(connection, model_id) for model_id in catalog.model_ids(connection)]
        due = [(model, month) for model in models if (month := _due(connection, model, wall)) is not None]
    for model, month in due:
        with writing(engine) as connection:
            tasks.add(connection, model.project_id, model.id, KIND, json.dumps({"month": month.name}), wall)
            asked += 1
    return asked


def _due(connection: Connection, model: Model, wall: int) -> Month | None:
    now = catalog.model_now(connection, model, wall)
    ripe = now - model.config.label_delay_us - model.config.grace_us
    month = Month.holding(model, ripe).before(model)
    listed = tasks.listed(connection, model.id, KIND, tasks.KEPT)
    told = {one.asked["month"] for one in listed if one.result is None or json.loads(one.result)["complete"]}
    if month.name in told or not count_judged(connection, model.id, month.from_at, month.to_at):
        return None
    return month


def make(work: Work) -> Done:
    """Gather the facts of the month that was asked for.

    Raises:
        NoMonth: nothing is known of it.
    """
    work.tell("reading the month", 0.1)
    with reading(work.engine) as connection:
        model = with_schema(connection, catalog.get_model_by_id(connection, work.task.model_id))
        now = catalog.model_now(connection, model, clock.now())
        month = Month.of(model, work.task.asked["month"])
        return Done(json.dumps(facts(connection, model, month, now)))


def facts(connection: Connection, model: Model, month: Month, now: int) -> dict[str, Any]:
    """What happened in a month, as JSON.

    Raises:
        NoMonth: no prediction of it was profiled.
    """
    shelf = KeptShelf(connection, model)
    lead = HEADLINE[model.task]
    wanted = (*SERVICE, lead, *BESIDE[model.task], "psi", "missing_share", "unseen_share")
    whole = shelf.measures(month.from_at, month.to_at, wanted)
    if whole is None or not whole.rows:
        raise NoMonth(f"no predictions of {month.name} are known")
    earlier = month.before(model)
    before = shelf.measures(earlier.from_at, earlier.to_at, (*SERVICE, lead, *BESIDE[model.task]))
    until = min(month.to_at, max(now, month.from_at + model.config.window_us))
    return {
        "month": month.name,
        "from": month.from_at,
        "to": month.to_at,
        "told_at": now,
        "complete": now >= month.to_at + model.config.label_delay_us + model.config.grace_us,
        "rows": whole.rows,
        "labelled": whole.labelled,
        "rows_before": None if before is None else before.rows,
        "lead": lead,
        "values": {name: _value(whole.values[name]) for name in wanted if name in whole.values},
        "before": {} if before is None else {name: _value(one) for name, one in before.values.items()},
        "weeks": _points(connection, model, shelf, lead, month.from_at, until, now),
        "drifted": _worst(whole.names, whole.features.get("psi")),
        "missing": _worst(whole.names, whole.features.get("missing_share")),
        "unseen": _worst(whole.names, whole.features.get("unseen_share")),
        "alerts": _alerts(connection, model, month),
        "events": [
            {"kind": one.kind, "from": one.from_at, "to": one.to_at, "text": one.text}
            for one in events.events_between(connection, model.id, month.from_at, month.to_at)
        ],
        "rejected": _rejected(connection, model, month),
    }


def _value(value: Value) -> dict[str, float | int | None]:
    return {name: _finite(number) for name, number in asdict(value).items()}


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _points(
    connection: Connection, model: Model, shelf: KeptShelf, metric: str, from_at: int, to_at: int, now: int
) -> list[dict[str, Any]]:
    """The leading metric of each day, or of each window where windows are longer."""
    step = max(clock.DAY, model.config.window_us)
    wanted: list[Wanted] = [(metric, None), ("volume", None)]
    points = panel(connection, model, wanted, from_at, to_at, step, now, shelf)
    sent = {point.start: point.value for point in points["volume", None]}
    return [
        {
            "start": one.start,
            "end": one.end,
            "value": _finite(one.value),
            "low": _finite(one.low),
            "high": _finite(one.high),
            "n": one.n,
            "coverage": one.coverage,
            "rows": sent.get(one.start) or 0,
        }
        for one in points[metric, None]
    ]


def _worst(names: Sequence[str], values: Any) -> list[list[Any]]:
    """The features with the largest value, each with it."""
    if values is None:
        return []
    pairs = [(name, float(value)) for name, value in zip(names, values, strict=True) if math.isfinite(value)]
    return [[name, value] for name, value in sorted(pairs, key=lambda one: (-one[1], one[0]))[:FEATURES] if value > 0]


def _alerts(connection: Connection, model: Model, month: Month) -> list[dict[str, Any]]:
    """The alerts that were open at any time of the month, the oldest first, and what people did about them."""
    found, _ = list_alerts(connection, model.project_id, limit=MOST_ALERTS, model_id=model.id)
    during = [
        one
        for one in found
        if one.opened_at < month.to_at and (one.resolved_at is None or one.resolved_at >= month.from_at)
    ]
    return [_alert(connection, one, month) for one in reversed(during)]


def _alert(connection: Connection, alert: Alert, month: Month) -> dict[str, Any]:
    said = [one for one in list_events(connection, alert.project_id, alert.id) if one.at < month.to_at]
    people = [one for one in said if one.actor != "keepwatch"]
    resolved = alert.resolved_at if alert.resolved_at is not None and alert.resolved_at < month.to_at else None
    return {
        "id": alert.id,
        "family": alert.family,
        "severity": alert.severity,
        "opened_at": alert.opened_at,
        "first_evidence_at": alert.first_evidence_at,
        "resolved_at": resolved,
        "text": alert.text,
        "features": [cause["feature"] for cause in alert.causes if cause.get("feature")][:FEATURES],
        "by": sorted({one.actor for one in people}),
        "comments": [one.comment for one in people if one.comment][-3:],
    }


def _rejected(connection: Connection, model: Model, month: Month) -> int:
    """How many rejected rows are kept that came in the month; 0 for a model whose clock is not the one they came by."""
    if model.config.clock == "events":
        return 0
    table = tables.quarantine.c
    query = sa.select(sa.func.count()).where(
        table.model_id == model.id, table.arrived_at >= month.from_at, table.arrived_at < month.to_at
    )
    return int(connection.scalar(query) or 0)


def next_steps(found: Mapping[str, Any]) -> list[str]:
    """What the facts ask for, the weightiest first; each names what it rests on. Words for people, without names of
    users' things: those stand in the tables."""
    steps = []
    if not found["complete"]:
        steps.append("open_month")
    if any(one["resolved_at"] is None for one in found["alerts"]):
        steps.append("open_alerts")
    share = found["labelled"] / found["rows"] if found["rows"] else 0
    if not found["labelled"]:
        steps.append("no_outcomes")
    elif share < 0.5 and found["complete"]:
        steps.append("few_outcomes")
    families = {one["family"] for one in found["alerts"]}
    if "performance" in families:
        steps.append("retrain")
    elif "features" in families:
        steps.append("adopt")
    if found["missing"] and found["missing"][0][1] >= 0.2:
        steps.append("missing")
    if found["rejected"]:
        steps.append("rejected")
    return steps or ["nothing"]


def direction(metric: str) -> str:
    """Which way is better: "higher", "lower" or "none"."""
    return METRICS[metric].direction
