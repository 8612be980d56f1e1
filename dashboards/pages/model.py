"""A model's page: is it fine, since when not, why, where, what now; then what passed through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards import formats, matrices, theme, words
from dashboards.formats import Zone
from dashboards.links import Links
from dashboards.pages import alerts, charts, models
from dashboards.pages.charts import Chart, Empty
from dashboards.pages.stretch import Stretch
from dashboards.theme import State
from monitor.evaluate import series as data
from monitor.evaluate.health import health
from monitor.evaluate.panel import Wanted, panel
from monitor.store import overview
from monitor.store.catalog import Model

FEATURES = 60


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
    open_alerts: Sequence[alerts.Line]
    past_alerts: Sequence[alerts.Line]
    facts: Sequence[Fact]
    stretch: Stretch
    charts: Sequence[Chart]
    metric: str
    metrics: Sequence[str]
    last_row: int | None
    ago: str


def load(
    connection: Connection, model: Model, now: int, stretch: Stretch, metric: str | None, links: Links
) -> ModelPage:
    """Everything the page shows, from stored profiles and measurements."""
    zone = Zone(model.config.timezone)
    verdict = health(connection, model, now)
    lines = alerts.of_model(connection, model)
    open_alerts = [line for line in lines if line.is_open]
    offered = words.PERFORMANCE[model.task]
    chosen = metric if metric in offered else offered[0]
    calibration = words.CALIBRATION[model.task]
    latencies = ("latency_p50", "latency_p95", "latency_p99")
    wanted: list[Wanted] = [(name, None) for name in ("volume", *latencies, chosen, calibration)]
    points = panel(connection, model, wanted, stretch.from_us, stretch.to_us, stretch.step_us, now)
    found = {name: points[name, None] for name, _ in wanted}
    last = overview.last_row_at(connection, model.id)
    rows = any(point.value for point in found["volume"])
    shown = [
        charts.traffic(found["volume"], zone, stretch.step_us),
        charts.latency(
            [(name, found[name]) for name in latencies], zone, stretch.step_us, model.config.latency_budget_ms, rows
        ),
        _performance("performance", chosen, found[chosen], zone, stretch.step_us, rows),
        _performance("calibration", calibration, found[calibration], zone, stretch.step_us, rows),
    ]
    shown = [mark_alerts(chart, open_alerts, stretch, zone) for chart in shown]
    shown.append(_heatmap(connection, model, stretch, found["volume"], zone, links, verdict.state))
    return ModelPage(
        model=model,
        now=now,
        zone=zone,
        state=theme.HEALTH.get(verdict.state, theme.UNKNOWN),
        state_name=verdict.state,
        reasons=[one for one in verdict.reasons if one not in {line.alert.text for line in open_alerts}],
        open_alerts=open_alerts,
        past_alerts=lines,
        facts=_facts(found, chosen),
        stretch=stretch,
        charts=shown,
        metric=chosen,
        metrics=offered,
        last_row=last,
        ago=models.ago(last, now),
    )


def _performance(key: str, metric: str, points: Sequence[data.Point], zone: Zone, step: int, rows: bool) -> Chart:
    labelled = any(point.coverage for point in points)
    empty = charts.TOO_FEW if labelled else charts.NO_LABELS if rows else charts.NO_ROWS
    return charts.of_metric(key, metric, points, zone, step, empty=empty, labelled=True)


_FAMILY_CHARTS = {"performance": ("performance", "calibration"), "volume": ("traffic",), "latency": ("latency",)}


def mark_alerts(chart: Chart, open_alerts: Sequence[alerts.Line], stretch: Stretch, zone: Zone) -> Chart:
    """The chart with the stretch shaded since an open alert of its family has evidence."""
    figure = chart.figure
    if figure is None:
        return chart
    for line in open_alerts:
        if chart.key in _FAMILY_CHARTS.get(line.alert.family, ()) and line.alert.first_evidence_at < stretch.to_us:
            start = max(line.alert.first_evidence_at, stretch.from_us)
            mark = (start, stretch.to_us, "first evidence")
            figure = charts.marked(figure, zone, mark, stretch.from_us, stretch.to_us)
    return Chart(**{**chart.__dict__, "figure": figure})


def _facts(found: Mapping[str, Sequence[data.Point]], metric: str) -> list[Fact]:
    rows = sum(point.value or 0 for point in found["volume"])
    facts = [Fact("Predictions", formats.short_count(rows), "in this stretch")]
    last = charts.settled(found[metric])
    if last is not None:
        unit = words.unit(metric)
        detail = formats.interval(last.low, last.high, unit)
        if last.state == "provisional":
            detail = f"{detail}, provisional".strip(", ")
        facts.append(Fact(words.metric(metric), formats.number(last.value, unit), detail))
    late = charts.settled(found["latency_p95"])
    if late is not None:
        facts.append(Fact("Latency, p95", formats.number(late.value, "ms"), "last whole window"))
    sent = {point.start: point.value or 0 for point in found["volume"]}
    ripe = [p for p in found[metric] if p.state == "final" and p.coverage is not None and sent.get(p.start)]
    if ripe:
        share = sum(sent[p.start] * (p.coverage or 0) for p in ripe) / sum(sent[p.start] for p in ripe)
        facts.append(Fact("Labelled", formats.percent(share), "of final windows"))
    return facts


def _heat_step(stretch: Stretch, volume: Sequence[data.Point]) -> int:
    """The step of the heat map: long enough for about 500 rows a cell, short enough for ten columns."""
    sent = [point.value for point in volume if point.value]
    if not sent:
        return stretch.heat_step_us
    needed = 500 / (sum(sent) / len(sent)) * stretch.step_us
    return stretch.step_at_least(needed)


def _heatmap(
    connection: Connection,
    model: Model,
    stretch: Stretch,
    volume: Sequence[data.Point],
    zone: Zone,
    links: Links,
    state: str,
) -> Chart:
    title = "Drift of every feature"
    step = _heat_step(stretch, volume)
    grid = data.heatmap(connection, model, "psi", stretch.from_us, stretch.to_us, step)
    whole = _whole(grid.starts, grid.ends, volume)
    rows = sorted(
        (
            (
                name,
                [value if full and charts.usable(value) else None for value, full in zip(values, whole, strict=True)],
            )
            for name, values in zip(grid.features, grid.values, strict=True)
        ),
        key=lambda row: -_strength(row[1]),
    )
    total, rows = len(rows), rows[:FEATURES]
    if not any(value is not None for _, values in rows for value in values):
        empty = charts.NO_REFERENCE if state == "learning" else charts.NO_ROWS
        if not model.features:
            empty = Empty(
                "No features yet", "The model has no schema: it is inferred from the reference or the first rows."
            )
        return Chart("drift", title, f"{title}: {empty.title.lower()}.", None, wide=True, empty=empty)
    names = [name for name, _ in rows]
    urls = [links.feature(model.name, name, **stretch.query) for name in names]
    edges = [zone.axis(start) for start in grid.starts] + [zone.axis(grid.ends[-1])]
    last = [(name, next((v for v in reversed(values) if v is not None), None)) for name, values in rows]
    strongest = max(rows, key=lambda row: _strength(row[1]))
    note = (
        f"PSI per {formats.per(step)} against the reference, the most drifted feature on top; a click opens it. "
        "Few rows make PSI restless, so steps with less than a quarter of the usual rows are blank."
    )
    if total > FEATURES:
        note += f" The first {FEATURES} of {total} features."
    table = charts.Table(
        ["Feature", "PSI, last", "PSI, highest"],
        [
            [name, formats.number(now), formats.number(max((v for v in values if v is not None), default=None))]
            for (name, now), (_, values) in zip(last, rows, strict=True)
        ],
        total,
    )
    size = "rows-0" if len(rows) <= 4 else f"rows-{min(6, (len(rows) + 9) // 10)}"
    sentence = (
        f"{title}: {len(rows)} features, strongest {strongest[0]} with PSI {formats.number(_strength(strongest[1]))}."
    )
    return Chart(
        "drift",
        title,
        sentence,
        matrices.heatmap(edges, names, [values for _, values in rows], urls),
        table,
        note=note,
        size=size,
        wide=True,
        links=list(zip(names, urls, strict=True)),
    )


def _whole(starts: Sequence[int], ends: Sequence[int], volume: Sequence[data.Point]) -> list[bool]:
    """Whether each column has at least a quarter of the usual rows: of a few, PSI says nothing but noise."""
    rows = [
        sum(point.value or 0 for point in volume if start <= point.start < end)
        for start, end in zip(starts, ends, strict=True)
    ]
    usual = sorted(row for row in rows if row)
    enough = usual[len(usual) // 2] / 4 if usual else 0
    return [row >= enough for row in rows]


def _strength(values: Sequence[float | None]) -> float:
    return max((value for value in values if value is not None), default=-1.0)
