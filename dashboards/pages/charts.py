"""A chart with everything around it: the figure, the sentence that says it, a table; or why there is none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dashboards import figures, formats, words
from dashboards.figures import Figure
from dashboards.formats import Zone
from monitor import clock
from monitor.evaluate.series import Point
from monitor.stats.measure import METRICS

ROWS = 50
UTC = Zone()
LEAST_LABELLED = 20  # labelled rows behind a number of performance: of fewer, it says nothing but noise


@dataclass(frozen=True)
class Empty:
    """Why there is nothing to draw, and what to do next."""

    title: str
    text: str


@dataclass(frozen=True)
class Table:
    """The same numbers as text; `total` counts the rows before the cut. `times`: the instants that the first cells are,
    in `zone`, where they are no days."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: int
    times: Sequence[int] = ()
    zone: Zone = UTC


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
TOO_FEW_LABELLED = Empty(
    "Too few labelled rows",
    f"No window here has {LEAST_LABELLED} rows with an outcome that count for this number. "
    "A longer stretch draws longer steps.",
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
ESTIMATED = (
    " Dotted, with open diamonds until outcomes confirm it: what calibrated scores lead one to expect. It misses what "
    "changes the meaning of a score."
)
FIRST_EVIDENCE = "first evidence of the alert"
BEGAN_EARLIER = "alert that began earlier"
RESOLVED = "resolved alert"


def usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def is_performance(metric: str) -> bool:
    """Whether the metric says how good answers are, from rows with an outcome."""
    return METRICS[metric].labels and metric not in ("coverage", "label_delay_p50")


def enough(metric: str, points: Sequence[Point]) -> Sequence[Point]:
    """The points, without the value of those of performance that rest on too few labelled rows."""
    if not is_performance(metric):
        return points
    return [p if p.n >= LEAST_LABELLED else replace(p, value=None, low=None, high=None) for p in points]


def with_zeros(points: Sequence[Point], now: int) -> Sequence[Point]:
    """Counts of rows: of a window that is over, without rows, behind one with rows, the count is zero, not unknown."""
    first = next((place for place, point in enumerate(points) if point.n), len(points))
    return [
        replace(p, value=0.0) if place > first and p.value is None and p.state == "no_data" and p.end <= now else p
        for place, p in enumerate(points)
    ]


def settled(points: Sequence[Point]) -> Point | None:
    """The last point with a value that later rows hardly change: the last not provisional one, else the last."""
    shown = [point for point in points if usable(point.value)]
    return next((point for point in reversed(shown) if point.state != "provisional"), shown[-1] if shown else None)


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
        f"{title}: {formats.number(last.value, unit)} at {zone.label(last.start, step)} {zone.name}, between "
        f"{formats.number(min(values), unit)} and {formats.number(max(values), unit)} over {len(shown)} points."
    )


def table(points: Sequence[Point], zone: Zone, unit: str, step: int, labelled: bool) -> Table:
    """The latest 50 points, newest first."""
    headers = ["Window", "Value", "95 % interval", "n", *(["Labelled"] if labelled else []), "State"]
    kept = [point for point in points if point.n or point.value is not None or point.state == "error"]
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
    return Table(headers, rows, len(kept), instants([point.start for point in reversed(kept[-ROWS:])], step), zone)


def instants(starts: Sequence[int], step: int) -> Sequence[int]:
    """The starts of windows as a table's `times`: none where windows are days, which have no hour to be told."""
    return starts if step < clock.DAY else ()


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
    headline: str | None = None,
    estimate: Sequence[Point] = (),
) -> Chart:
    """One metric over time with its band; `subject` begins its sentence.

    `labelled` adds the strip of label coverage, `mark` shades a stretch and names its begin; `headline` stands beside
    the title in place of the last value. Performance of too few labelled rows is not drawn. `estimate`: what was
    expected of the same steps before their outcomes came.
    """
    unit, title = words.unit(metric), words.metric(metric)
    points = enough(metric, points)
    subject = subject or title
    expected = [point.value if usable(point.value) else None for point in estimate]
    is_estimated = any(value is not None for value in expected)
    reason = None if is_estimated else why_empty(points, empty)
    if reason is not None:
        return Chart(
            key, title, f"{subject}: {reason.title.lower()}.", None, note=words.NOTES.get(metric, ""), empty=reason
        )
    figure = figures.line(
        [figures.at(point.start) for point in points],
        [point.value for point in points],
        low=[point.low for point in points],
        high=[point.high for point in points],
        provisional=[point.state == "provisional" for point in points],
        coverage=[point.coverage for point in points] if labelled else None,
        unit=unit,
        name=title,
        zero=zero,
    )
    if is_estimated:
        figure = figures.with_estimate(figure, expected, [_is_confirmed(point) for point in points])
    figure = over(figure, points[0].start, points[-1].end, zone, step)
    if mark is not None:
        figure = marked(figure, mark, points[0].start, points[-1].end)
    if headline is None:
        last = settled(points)
        headline = "" if last is None else f"last {formats.number(last.value, unit)}"
    numbers, said = table(points, zone, unit, step, labelled), sentence(subject, points, zone, unit, step)
    note = PROVISIONAL if labelled else words.NOTES.get(metric, "")
    if is_estimated:
        latest = next(value for value in reversed(expected) if value is not None)
        numbers = with_estimates(numbers, points, expected, unit)
        said += f" Estimated from scores, last: {formats.number(latest, unit)}."
        headline = headline or f"estimated {formats.number(latest, unit)}"
        note += ESTIMATED
    return Chart(
        key,
        title,
        said,
        figure,
        numbers,
        note=note,
        size=size,
        headline=headline,
    )


def _is_confirmed(point: Point) -> bool:
    return usable(point.value) and point.state == "final"


def with_estimates(table: Table, points: Sequence[Point], expected: Sequence[float | None], unit: str) -> Table:
    """The table of `points` with a column of what was expected; windows that have nothing else are added."""
    kept = [
        value
        for point, value in reversed(list(zip(points, expected, strict=True)))
        if point.n or point.value is not None or point.state == "error"
    ]
    rows = [[*row, formats.number(value, unit)] for row, value in zip(table.rows, kept, strict=False)]
    return replace(table, headers=[*table.headers, "Estimated"], rows=rows)


def over(figure: Figure, from_us: int, to_us: int, zone: Zone, step: int) -> Figure:
    """The figure with its time axis fixed to [from_us, to_us), in steps that are days of the zone where they are that
    long."""
    return figures.between(figure, figures.at(from_us), figures.at(to_us), zone.name if step >= clock.DAY else "")


def marked(figure: Figure, mark: tuple[int, int, str], first: int, last: int, over: bool = False) -> Figure:
    """The figure of [first, last) with the stretch (from, to, text) shaded, paler where it is `over`.

    One that began before `first` has no line, and does not say that its evidence begins there.
    """
    from_us, to_us, text = mark
    within = from_us >= first
    if not within and text == FIRST_EVIDENCE:
        text = BEGAN_EARLIER
    late = from_us - first > 0.65 * (last - first)
    return figures.mark(figure, figures.at(max(from_us, first)), figures.at(to_us), text, late, over, within)
