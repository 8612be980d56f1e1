"""A model's page: is it fine, since when not, why, where, what now; then what passed through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards import formats, theme, words
from dashboards.asked import one_of
from dashboards.formats import Zone
from dashboards.links import Links
from dashboards.pages import (
    alerts,
    charts,
    drift,
    events,
    lately,
    models,
    monitors,
    performance,
    quality,
    report,
    segments,
    service,
)
from dashboards.pages.charts import Chart
from dashboards.pages.stretch import Stretch
from dashboards.theme import State
from monitor.evaluate.health import health
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.panel import Wanted, panel
from monitor.evaluate.series import Point
from monitor.stats.measure import Value
from monitor.store import overview
from monitor.store.catalog import Model


@dataclass(frozen=True)
class Fact:
    """A number with its name and what it rests on."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class ModelPage:
    model: Model
    now: int
    zone: Zone
    state: State
    state_name: str
    reasons: Sequence[str]
    lately: str
    open_alerts: Sequence[alerts.Line]
    past_alerts: Sequence[alerts.Line]
    facts: Sequence[Fact]
    stretch: Stretch
    charts: Sequence[Chart]
    segments: segments.Segments
    metric: str
    metrics: Sequence[str]
    reports: Sequence[report.ReportPage]
    events: Sequence[events.Line]
    choice: monitors.Choice
    monitors: Sequence[monitors.Line]
    last_row: int | None
    ago: str
    has_outcomes: bool


def load(
    connection: Connection, model: Model, now: int, stretch: Stretch, metric: str | None, links: Links
) -> ModelPage:
    """Everything the page shows, from stored profiles and measurements."""
    zone = Zone(model.config.timezone)
    newest = overview.newest(connection, model.project_id, model.id)[model.id]
    verdict = health(connection, model, now, newest)
    lines = alerts.of_model(connection, model)
    open_alerts = [line for line in lines if line.is_open]
    offered = words.PERFORMANCE[model.task]
    chosen = one_of("metric", metric, offered) or offered[0]
    calibration = words.CALIBRATION[model.task]
    latencies = ("latency_p50", "latency_p95", "latency_p99")
    expected = performance.estimate_of(model.task, chosen)
    drawn = ("volume", *latencies, chosen, calibration, *([expected] if expected else []))
    wanted: list[Wanted] = [(name, None) for name in drawn]
    shelf = KeptShelf(connection, model)
    points = panel(connection, model, wanted, stretch.from_us, stretch.to_us, stretch.step_us, now, shelf)
    found: dict[str, Sequence[Point]] = {name: points[name, None] for name, _ in wanted}
    found["volume"] = charts.with_zeros(found["volume"], now)
    over = performance.whole(shelf, ["latency_p95", chosen, calibration], stretch)
    past, past_rows = lately.ended(stretch, found["volume"], now)
    earlier = lately.before(shelf, chosen, past)
    compared = lately.traffic(past_rows, earlier.get("volume"), past)
    sent = sum(point.value or 0 for point in found["volume"])
    late = performance.headline("latency_p95", over.get("latency_p95"))
    budget = model.config.latency_budget_ms
    last = newest.row_at
    rows = any(point.value for point in found["volume"])
    shown = [
        service.traffic(found["volume"], zone, stretch.step_us),
        service.latency(
            [(name, found[name]) for name in latencies], zone, stretch.step_us, budget, rows, late and f"p95 {late}"
        ),
        performance.chart(
            "performance",
            model,
            chosen,
            found[chosen],
            zone,
            stretch,
            over.get(chosen),
            found[expected] if expected else (),
        ),
        performance.chart("calibration", model, calibration, found[calibration], zone, stretch, over.get(calibration)),
    ]
    shown = [mark_alerts(chart, lines, stretch) for chart in shown]
    shown.append(drift.heatmap(connection, shelf, stretch, found["volume"], zone, links, verdict.state))
    shown.append(quality.chart(shelf, stretch, zone, links))
    happened = events.between(connection, model, stretch.from_us, stretch.to_us)
    shown = [events.marked(chart, happened, stretch.from_us, stretch.to_us) for chart in shown]
    return ModelPage(
        model=model,
        now=now,
        zone=zone,
        state=theme.HEALTH.get(verdict.state, theme.UNKNOWN),
        state_name=verdict.state,
        reasons=[one for one in verdict.reasons if one not in {line.alert.text for line in open_alerts}],
        lately=lately.sentence(sent, compared, chosen, over.get(chosen), earlier, lines, happened, stretch),
        open_alerts=open_alerts,
        past_alerts=lines,
        facts=_facts(found, chosen, over, compared),
        stretch=stretch,
        charts=shown,
        segments=segments.measured(connection, model, stretch, chosen, longest=segments.LATELY),
        metric=chosen,
        metrics=offered,
        reports=report.newest(connection, model),
        events=events.newest(connection, model),
        monitors=monitors.of_model(connection, model),
        choice=monitors.choice(model),
        last_row=last,
        ago=models.ago(last, now),
        has_outcomes=any(point.n for point in found[chosen]),
    )


_FAMILY_CHARTS = {"performance": ("performance", "calibration"), "volume": ("traffic",), "latency": ("latency",)}


def mark_alerts(chart: Chart, lines: Sequence[alerts.Line], stretch: Stretch) -> Chart:
    """The chart with the stretch of each alert of its family shaded, from the first evidence until it was resolved."""
    figure = chart.figure
    if figure is None:
        return chart
    for line in sorted(lines, key=lambda one: not one.is_open):  # where notes meet, the first one stays
        end = line.alert.resolved_at if not line.is_open else None
        from_us, to_us = line.alert.first_evidence_at, stretch.to_us if end is None else min(end, stretch.to_us)
        if chart.key in _FAMILY_CHARTS.get(line.alert.family, ()) and from_us < to_us and to_us > stretch.from_us:
            text = charts.FIRST_EVIDENCE if line.is_open else charts.RESOLVED
            figure = charts.marked(
                figure, (from_us, to_us, text), stretch.from_us, stretch.to_us, over=not line.is_open
            )
    return Chart(**{**chart.__dict__, "figure": figure})


def _facts(found: Mapping[str, Sequence[Point]], metric: str, over: Mapping[str, Value], compared: str) -> list[Fact]:
    """Numbers over the whole stretch; `compared`: traffic beside that before."""
    rows = sum(point.value or 0 for point in found["volume"])
    facts = [Fact("Predictions", formats.short_count(rows), compared or "in this stretch")]
    value = over.get(metric)
    if value is not None and any(point.coverage for point in found[metric]):
        if performance.is_enough(metric, value):
            labelled = f"{formats.count(value.n)} labelled rows"
            interval = formats.interval(value.low, value.high, words.unit(metric))
            detail = f"{interval}, {labelled}" if interval else labelled
        else:
            detail = charts.TOO_FEW_LABELLED.title.lower() + " in this stretch"
        facts.append(Fact(words.metric(metric), performance.headline(metric, value) or formats.NONE, detail))
    late = performance.headline("latency_p95", over.get("latency_p95"))
    if late:
        facts.append(Fact("Latency, p95", late, "in this stretch"))
    sent = {point.start: point.value or 0 for point in found["volume"]}
    ripe = [p for p in found[metric] if p.state == "final" and p.coverage is not None and sent.get(p.start)]
    if ripe:
        share = sum(sent[p.start] * (p.coverage or 0) for p in ripe) / sum(sent[p.start] for p in ripe)
        facts.append(Fact("Labelled", formats.percent(share), "of final windows"))
    return facts
