"""The charts of the service itself: how much passes through it, and how long it takes."""

from collections.abc import Sequence

from dashboards import figures, formats, words
from dashboards.formats import Zone
from dashboards.pages import charts
from monitor.evaluate.series import Point


def traffic(points: Sequence[Point], zone: Zone, step: int) -> charts.Chart:
    """Predictions per step as bars."""
    title = "Traffic"
    if not any(point.value for point in points):
        return charts.Chart("traffic", title, "Traffic: no data.", None, empty=charts.NO_ROWS)
    figure = figures.bars([figures.at(p.start) for p in points], [p.value for p in points], "predictions")
    figure = charts.over(figure, points[0].start, points[-1].end, zone, step)
    latest = list(reversed(points))[: charts.ROWS]
    total = sum(point.value or 0 for point in points)
    return charts.Chart(
        "traffic",
        title,
        charts.sentence("Predictions", points, zone, "count", step),
        figure,
        charts.Table(
            ["Window", "Predictions", "State"],
            [[zone.label(p.start, step), formats.count(p.value), p.state.replace("_", " ")] for p in latest],
            len(points),
            charts.instants([p.start for p in latest], step),
            zone,
        ),
        note=f"Predictions per {formats.per(step)}.",
        headline=formats.short_count(total),
    )


def latency(
    series: Sequence[tuple[str, Sequence[Point]]],
    zone: Zone,
    step: int,
    budget_ms: float | None,
    rows: bool,
    headline: str,
) -> charts.Chart:
    """Percentiles of latency, with the budget as a line when the model has one.

    Args:
        rows: whether any came at all.
        headline: the number beside the title.
    """
    title = "Latency"
    first = series[0][1]
    if not any(charts.usable(point.value) for _, points in series for point in points):
        empty = charts.NO_ROWS
        if rows:
            empty = charts.Empty(
                "No latency sent", "Send `latency_ms` with the predictions to see p50, p95 and p99 here."
            )
        return charts.Chart("latency", title, f"Latency: {empty.title.lower()}.", None, empty=empty)
    named = [(name.removeprefix("latency_"), [point.value for point in points]) for name, points in series]
    figure = figures.lines([figures.at(point.start) for point in first], named, "ms")
    figure = charts.over(figure, first[0].start, first[-1].end, zone, step)
    if budget_ms is not None:
        figure = figures.level(figure, budget_ms, f"budget {formats.number(budget_ms, 'ms')}")
    latest = [(index, point) for index, point in reversed(list(enumerate(first))) if point.n]
    lines = [
        [zone.label(point.start, step), *(formats.number(values[index], "ms") for _, values in named)]
        for index, point in latest[: charts.ROWS]
    ]
    starts = charts.instants([point.start for _, point in latest[: charts.ROWS]], step)
    middle = series[min(1, len(series) - 1)]
    return charts.Chart(
        "latency",
        title,
        charts.sentence(words.metric(middle[0]), middle[1], zone, "ms", step),
        figure,
        charts.Table(["Window", *(name for name, _ in named)], lines, len(latest), starts, zone),
        headline=headline,
    )
