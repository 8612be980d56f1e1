"""The causes of an alert with their numbers, where each leads, and what each says over the alert's stretch."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards import formats, words
from dashboards.formats import Zone
from dashboards.links import Links
from dashboards.pages import alerts, charts, events, quality
from dashboards.pages import stretch as stretches
from dashboards.pages.charts import Chart
from monitor.alerts import effects
from monitor.errors import Invalid
from monitor.evaluate import series as data
from monitor.evaluate.loaded import with_schema
from monitor.evaluate.panel import Signal, Wanted, panel
from monitor.stats.measure import METRICS
from monitor.store.alerts import Alert
from monitor.store.catalog import Model

_SIGNALS = {"prediction_drift": Signal.PREDICTION, "score_drift": Signal.SCORE}


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


def shown(
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


class Series:
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
