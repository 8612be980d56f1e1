"""A chart with everything around it: the figure, the sentence that says it, a table; or why there is none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dashboards import figures, formats, words
from dashboards.figures import Figure
from dashboards.formats import Zone

ROWS = 50


class Point(Protocol):
    """A point of `monitor.evaluate.series`: times in microseconds, `coverage` 0 to 1."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int: ...
    @property
    def coverage(self) -> float | None: ...
    @property
    def state(self) -> str: ...


@dataclass(frozen=True)
class Empty:
    """Why there is nothing to draw, and what to do next."""

    title: str
    text: str


@dataclass(frozen=True)
class Table:
    """The same numbers as text; `total` counts the rows before the cut."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: int


@dataclass(frozen=True)
class Chart:
    """`size` is a CSS class for the height; `wide` charts take the whole width."""

    key: str
    title: str
    sentence: str
    figure: Figure | None
    table: Table | None = None
    note: str = ""
    size: str = "normal"
    wide: bool = False
    empty: Empty | None = None
    headline: str = ""
    links: Sequence[tuple[str, str]] = field(default=())


NO_ROWS = Empty(
    "No data in this stretch", "No window here has rows. Choose a longer stretch, or see when the last row came."
)
TOO_FEW = Empty(
    "Too few rows",
    "There are rows, but no window has enough of them for this number. A longer stretch draws longer steps.",
)
NO_LABELS = Empty(
    "No labels yet",
    "Performance needs outcomes: POST them with the prediction's id to the model's outcomes route. They may be late.",
)
NO_REFERENCE = Empty(
    "No reference yet",
    "Drift is measured against a reference. PUT one, or wait: "
    "the first 1 000 rows or the first day make a provisional one.",
)


PROVISIONAL = "Hollow points are provisional: labels still arrive. Band: 95 %. Strip: share of rows with an outcome."


def usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def settled(points: Sequence[Point]) -> Point | None:
    """The last point with a value that later rows hardly change: the last final one, else the last."""
    shown = [point for point in points if usable(point.value)]
    return next((point for point in reversed(shown) if point.state == "final"), shown[-1] if shown else None)


def why_empty(points: Sequence[Point], without_value: Empty) -> Empty | None:
    """None when a point has a value; else that the measurement failed, or what the caller says."""
    if any(usable(point.value) for point in points):
        return None
    failed = sum(point.state == "error" for point in points)
    if failed:
        return Empty(
            "The measurement failed",
            f"{failed} of {len(points)} windows could not be measured. `keepwatch doctor` says what is wrong.",
        )
    return without_value


def sentence(title: str, points: Sequence[Point], zone: Zone, unit: str, step: int) -> str:
    """The chart in one sentence, for people who cannot see it."""
    shown = [point for point in points if usable(point.value)]
    if not shown:
        return f"{title}: nothing to draw."
    values = [point.value for point in shown if point.value is not None]
    last = settled(points) or shown[-1]
    return (
        f"{title}: {formats.number(last.value, unit)} at {zone.label(last.start, step)}, between "
        f"{formats.number(min(values), unit)} and {formats.number(max(values), unit)} over {len(shown)} points."
    )


def table(points: Sequence[Point], zone: Zone, unit: str, step: int, labelled: bool) -> Table:
    """The latest 50 points, newest first."""
    headers = ["Window", "Value", "95 % interval", "n", *(["Labelled"] if labelled else []), "State"]
    kept = [point for point in points if point.n or point.state == "error"]
    rows = [
        [
            zone.label(point.start, step),
            formats.number(point.value, unit),
            formats.interval(point.low, point.high, unit) or formats.NONE,
            formats.count(point.n),
            *([formats.percent(point.coverage)] if labelled else []),
            point.state.replace("_", " "),
        ]
        for point in reversed(kept[-ROWS:])
    ]
    return Table(headers, rows, len(kept))


def of_metric(
    key: str,
    metric: str,
    points: Sequence[Point],
    zone: Zone,
    step: int,
    *,
    empty: Empty = TOO_FEW,
    labelled: bool = False,
    zero: bool = False,
    size: str = "normal",
    subject: str = "",
    mark: tuple[int, int, str] | None = None,
) -> Chart:
    """One metric over time with its band; `subject` begins its sentence.

    `labelled` adds the strip of label coverage, `mark` shades a stretch and names its begin.
    """
    unit, title = words.unit(metric), words.metric(metric)
    subject = subject or title
    reason = why_empty(points, empty)
    if reason is not None:
        return Chart(
            key, title, f"{subject}: {reason.title.lower()}.", None, note=words.NOTES.get(metric, ""), empty=reason
        )
    figure = figures.line(
        [zone.axis(point.start) for point in points],
        [point.value for point in points],
        low=[point.low for point in points],
        high=[point.high for point in points],
        provisional=[point.state == "provisional" for point in points],
        coverage=[point.coverage for point in points] if labelled else None,
        unit=unit,
        name=title,
        zero=zero,
    )
    figure = figures.between(figure, zone.axis(points[0].start), zone.axis(points[-1].end))
    if mark is not None:
        figure = marked(figure, zone, mark, points[0].start, points[-1].end)
    last = settled(points)
    return Chart(
        key,
        title,
        sentence(subject, points, zone, unit, step),
        figure,
        table(points, zone, unit, step, labelled),
        note=PROVISIONAL if labelled else words.NOTES.get(metric, ""),
        size=size,
        headline="" if last is None else formats.number(last.value, unit),
    )


def marked(figure: Figure, zone: Zone, mark: tuple[int, int, str], first: int, last: int) -> Figure:
    """The figure of [first, last) with the stretch (from, to, text) shaded."""
    late = mark[0] - first > 0.65 * (last - first)
    return figures.mark(figure, zone.axis(mark[0]), zone.axis(mark[1]), mark[2], late)


def traffic(points: Sequence[Point], zone: Zone, step: int) -> Chart:
    """Predictions per step as bars."""
    title = "Traffic"
    if not any(point.value for point in points):
        return Chart("traffic", title, "Traffic: no data.", None, empty=NO_ROWS)
    figure = figures.bars([zone.axis(p.start) for p in points], [p.value for p in points], "predictions")
    figure = figures.between(figure, zone.axis(points[0].start), zone.axis(points[-1].end))
    total = sum(point.value or 0 for point in points)
    return Chart(
        "traffic",
        title,
        sentence("Predictions", points, zone, "", step),
        figure,
        Table(
            ["Window", "Predictions", "State"],
            [
                [zone.label(p.start, step), formats.count(p.value), p.state.replace("_", " ")]
                for p in list(reversed(points))[:ROWS]
            ],
            len(points),
        ),
        note=f"Predictions per {formats.per(step)}.",
        headline=formats.short_count(total),
    )


def latency(
    series: Sequence[tuple[str, Sequence[Point]]], zone: Zone, step: int, budget_ms: float | None, rows: bool
) -> Chart:
    """Percentiles of latency, with the budget as a line when the model has one; `rows`: whether any came at all."""
    title = "Latency"
    first = series[0][1]
    if not any(usable(point.value) for _, points in series for point in points):
        empty = NO_ROWS
        if rows:
            empty = Empty("No latency sent", "Send `latency_ms` with the predictions to see p50, p95 and p99 here.")
        return Chart("latency", title, f"Latency: {empty.title.lower()}.", None, empty=empty)
    named = [(name.removeprefix("latency_"), [point.value for point in points]) for name, points in series]
    figure = figures.lines([zone.axis(point.start) for point in first], named, "ms")
    figure = figures.between(figure, zone.axis(first[0].start), zone.axis(first[-1].end))
    if budget_ms is not None:
        figure = figures.level(figure, budget_ms, f"budget {formats.number(budget_ms, 'ms')}")
    lines = [
        [zone.label(point.start, step), *(formats.number(values[index], "ms") for _, values in named)]
        for index, point in reversed(list(enumerate(first)))
        if point.n
    ]
    middle = series[min(1, len(series) - 1)]
    last = settled(middle[1])
    return Chart(
        "latency",
        title,
        sentence(words.metric(middle[0]), middle[1], zone, "ms", step),
        figure,
        Table(["Window", *(name for name, _ in named)], lines[:ROWS], len(lines)),
        headline="" if last is None else f"p95 {formats.number(last.value, 'ms')}",
    )
