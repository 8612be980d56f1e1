"""One alert's page: what, since when, how sure, why (a chart for each cause), what happened, what now."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards import formats, theme, words
from dashboards.formats import Zone
from dashboards.links import Links, stretch
from dashboards.pages import alerts, charts, events, known, quality
from dashboards.pages import stretch as stretches
from dashboards.pages.charts import Chart
from dashboards.theme import State
from monitor import clock
from monitor.alerts import effects
from monitor.errors import Invalid
from monitor.evaluate import series as data
from monitor.evaluate.loaded import with_schema
from monitor.evaluate.panel import Signal, Wanted, panel
from monitor.stats.measure import METRICS
from monitor.store import notifications
from monitor.store.alerts import Alert, AlertEvent, get_alert, list_events
from monitor.store.catalog import Model, get_model, model_now
from monitor.store.channels import names_of

CAUSES = 6
TOLD = 50
_SIGNALS = {"prediction_drift": Signal.PREDICTION, "score_drift": Signal.SCORE}
BEFORE, AFTER = 60, 30  # windows around the first evidence


@dataclass(frozen=True)
class ShownCause:
    """A cause with its numbers as text, where it leads, and its chart; `joined_at`: when it joined an alert that was
    open already, else None."""

    cause: alerts.Cause
    joined_at: int | None
    effect: str
    interval: str
    share: str
    url: str
    chart: Chart | None


@dataclass(frozen=True)
class Told:
    """What became of an event for a channel: sent, held back or not sent, and why."""

    channel: str
    type: str
    state: State
    why: str
    at: int
    due_at: int | None


@dataclass(frozen=True)
class AlertPage:
    line: alerts.Line
    model: Model
    certainty: str
    budget: str
    ratio: float | None
    meter: int
    causes: Sequence[ShownCause]
    more_causes: int
    grown: bool
    events: Sequence[AlertEvent]
    told: Sequence[Told]
    advice: Sequence[str]
    model_url: str
    silence_url: str
    rows_url: str
    may_adopt: bool
    known: known.KnownThen | None


def load(
    connection: Connection, project_id: int, alert_id: str, wall: int, links: Links, count_again: bool = False
) -> AlertPage:
    """Everything the page shows; `count_again` reads rows for what was known of windows when they were judged.

    Raises:
        NotFound: there is no such alert in the project.
    """
    alert = get_alert(connection, project_id, alert_id)
    model = get_model(connection, project_id, alert.model)
    line = alerts.Line(alert, Zone(model.config.timezone))
    now = model_now(connection, model, wall)
    from_us, to_us = around(alert, model, now)
    query = stretch(from_us, to_us)
    causes = line.causes
    series = _Series(connection, model, alert, (from_us, to_us), now)
    series.fetch(causes[:CAUSES])
    shown = [
        _cause(model, alert, cause, query, series.chart(cause, f"cause-{index}"), links)
        for index, cause in enumerate(causes[:CAUSES])
    ]
    by_hand = words.is_monitor(alert.family)
    history = list_events(connection, project_id, alert.id)
    threshold = alert.budget.get("threshold")
    ratio = alert.evidence / threshold if threshold else None
    return AlertPage(
        line=line,
        model=model,
        certainty=certainty(ratio) if not by_hand else how_often(alert),
        budget=budget(model) if not by_hand else "a bound that somebody set: no false-alarm budget stands behind it",
        ratio=ratio,
        meter=meter(ratio),
        causes=shown,
        more_causes=max(0, len(causes) - CAUSES),
        grown=len({one.joined_at for one in causes}) > 1,
        events=list(reversed(history)),
        told=_told(connection, project_id, alert),
        advice=words.advice(alert.family, model.name),
        model_url=links.model(model.name, **query),
        silence_url=links.silences(model=model.name, family=alert.family),
        rows_url=_rows(model, alert, causes, links),
        may_adopt=not by_hand and line.is_open,
        known=known.load(connection, model, alert, series.leading(alerts.opening(causes)), count_again),
    )


def _told(connection: Connection, project_id: int, alert: Alert) -> list[Told]:
    """Who was told what, the newest first; at most the last fifty."""
    found = notifications.of_alert(connection, project_id, alert.id)[-TOLD:]
    names = names_of(connection, project_id)
    return [
        Told(
            channel=names.get(one.channel_id, "a deleted channel"),
            type=one.type,
            state=theme.DELIVERY.get(delivery or "", theme.NOTIFICATION.get(one.state, theme.UNKNOWN)),
            why=": ".join(part for part in (one.reason[:1].upper() + one.reason[1:], one.detail) if part),
            at=one.changed_at,
            due_at=one.due_at if one.state == notifications.HELD else None,
        )
        for one, delivery in reversed(found)
    ]


def _rows(model: Model, alert: Alert, causes: Sequence[alerts.Cause], links: Links) -> str:
    """The rows of the first windows with evidence, with the feature that leads."""
    first = next((one.feature for one in causes if one.feature in (model.features or {})), None)
    since = stretch(alert.first_evidence_at, alert.first_evidence_at + 2 * model.config.window_us)
    return links.rows(model.name, feature=first, **since)


def around(alert: Alert, model: Model, now: int) -> tuple[int, int]:
    """The stretch that shows how it began: from 60 windows before the first evidence to 30 after the last change."""
    window = model.config.window_us
    start = alert.first_evidence_at - BEFORE * window
    end = min(now, max(alert.resolved_at or alert.updated_at, alert.opened_at) + AFTER * window)
    return start, max(end, alert.first_evidence_at + window)


def meter(ratio: float | None) -> int:
    """Evidence over threshold as percent of a bar on a log scale: 50 at the threshold, 0 at 1/1000, 100 at 1000."""
    return round(min(100.0, max(0.0, 50 + 50 * math.log10(ratio) / 3))) if ratio else 0


def certainty(ratio: float | None) -> str:
    """How strong the evidence is, in words, from evidence over threshold."""
    if ratio is None:
        return ""
    if ratio >= 1000:
        return "overwhelming: more than a thousand times what the budget asks for"
    if ratio >= 1:
        return f"{formats.number(ratio)} times what the budget asks for"
    return f"{formats.percent(ratio)} of what the budget asks for: it has been fading since the alert opened"


def how_often(alert: Alert) -> str:
    """How often in a row the rule of a monitor by hand was met."""
    times = round(alert.evidence)
    return "its rule was met in one window" if times == 1 else f"its rule was met in {times} windows in a row"


def budget(model: Model) -> str:
    """The false-alarm budget as a sentence."""
    number = model.config.false_alarms
    length = formats.span(clock.parse_span(model.config.per))
    alarms = "one false alarm" if number == 1 else f"{number:g} false alarms"
    return f"at most {alarms} in {length} for this model"


def _effect(cause: alerts.Cause, unit: str) -> tuple[str, str]:
    """The change and its interval as text, in the unit of the signal."""
    if unit == "share":
        return formats.points(cause.effect, cause.low, cause.high, effects.NAMED.get(cause.metric, "points"))
    if unit == "PSI":
        return f"PSI {formats.number(cause.effect)}", formats.interval(cause.low, cause.high)
    if unit == "ratio":
        return formats.signed(cause.effect, "share"), formats.interval(cause.low, cause.high, "share")
    between = formats.interval(cause.low, cause.high)
    if not unit or cause.effect is None:
        return formats.signed(cause.effect), between
    return f"{formats.signed(cause.effect)} {unit}", f"{between} {unit}" if between else ""


def _place(metric: str, task: str) -> str:
    """The chart of the model's page that shows a metric."""
    if metric == "volume":
        return "traffic"
    if metric == words.CALIBRATION[task]:
        return "calibration"
    return "latency" if metric.startswith("latency") else "drift" if metric == "psi" else "performance"


def _cause(
    model: Model, alert: Alert, cause: alerts.Cause, query: dict[str, str], chart: Chart | None, links: Links
) -> ShownCause:
    told = words.cause(cause.metric)
    if words.is_monitor(alert.family):
        unit = words.unit(cause.metric)
        effect, interval = formats.number(cause.effect, unit), formats.interval(cause.low, cause.high, unit)
    else:
        effect, interval = _effect(cause, told.unit)
    if cause.segment is not None and chart is not None:
        offered = told.drawn if told.drawn in words.PERFORMANCE[model.task] else None
        meant = cause.feature if (model.features or {}).get(cause.feature or "", "ignored") != "ignored" else None
        url = links.segment(model.name, cause.segment, feature=meant, metric=offered, **query)
        url += "#performance" if offered else ""
    elif cause.feature is not None and cause.feature in (model.features or {}):
        url = links.feature(model.name, cause.feature, **query)
        url += f"#{told.drawn}" if told.drawn in quality.FAULTS else ""
    else:
        offered = told.drawn if told.drawn in words.PERFORMANCE[model.task] else None
        url = links.model(model.name, metric=offered, **query) + f"#{_place(told.drawn, model.task)}"
    return ShownCause(
        cause=cause,
        joined_at=None if cause.joined_at == alert.opened_at else cause.joined_at,
        effect=effect,
        interval=interval,
        share=formats.percent(cause.share),
        url=url,
        chart=chart,
    )


class _Series:
    """What the causes of an alert say over its stretch; all but those of a segment are read in one pass."""

    def __init__(self, connection: Connection, model: Model, alert: Alert, between: tuple[int, int], now: int) -> None:
        self._connection, self._model, self._alert, self._now = connection, model, alert, now
        self._from, self._to = between
        self._step = stretches.step(self._to - self._from, model.config.window_us, 150)
        self._found: dict[Wanted, list[data.Point]] = {}
        self._happened = events.between(connection, model, self._from, self._to)

    def fetch(self, causes: Sequence[alerts.Cause]) -> None:
        model = with_schema(self._connection, self._model)
        wanted = {_wanted(cause) for cause in causes if cause.segment is None and _is_known(cause, model)}
        if wanted:
            self._found = panel(
                self._connection, model, sorted(wanted, key=repr), self._from, self._to, self._step, self._now
            )

    def leading(self, causes: Sequence[alerts.Cause]) -> tuple[alerts.Cause, Wanted] | None:
        """The first of the causes whose numbers are kept for every window: none of a segment are."""
        model = with_schema(self._connection, self._model)
        known = (cause for cause in causes if cause.segment is None and _is_known(cause, model))
        return next(((cause, _wanted(cause)) for cause in known), None)

    def _points(self, cause: alerts.Cause) -> list[data.Point] | None:
        """None for a feature or a segment that the model no longer has."""
        if cause.segment is None:
            return self._found.get(_wanted(cause))
        query = data.Query(
            metric=words.cause(cause.metric).drawn,
            feature=cause.feature,
            segment=cause.segment,
            from_us=self._from,
            to_us=self._to,
            step_us=self._step,
        )
        try:
            return data.series(self._connection, self._model, query, self._now)
        except Invalid:
            return None

    def chart(self, cause: alerts.Cause, key: str) -> Chart | None:
        points, metric = self._points(cause), words.cause(cause.metric).drawn
        if points is None:
            return None
        alert, zone = self._alert, Zone(self._model.config.timezone)
        mark = (alert.first_evidence_at, min(alert.resolved_at or self._to, self._to), charts.FIRST_EVIDENCE)
        chart = charts.of_metric(
            key,
            metric,
            charts.with_zeros(points, self._now) if metric == "volume" else points,
            zone,
            self._step,
            empty=charts.TOO_FEW_LABELLED if charts.is_performance(metric) else charts.TOO_FEW,
            zero=metric == "volume",
            size="small",
            subject=cause.title,
            mark=mark,
        )
        return events.marked(chart, self._happened, self._from, self._to)


def _wanted(cause: alerts.Cause) -> Wanted:
    return words.cause(cause.metric).drawn, _SIGNALS.get(cause.metric, cause.feature)


def _is_known(cause: alerts.Cause, model: Model) -> bool:
    """Whether the model still has the metric and the feature."""
    metric = METRICS.get(words.cause(cause.metric).drawn)
    if metric is None or model.task not in metric.tasks:
        return False
    if cause.feature is None or cause.metric in _SIGNALS:
        return True
    return metric.per_feature and (model.features or {}).get(cause.feature, "ignored") != "ignored"
