"""A segment's page: its traffic, how well the model does there, and what moved in it against the reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.engine import Connection

from dashboards import words
from dashboards.asked import one_of
from dashboards.formats import Zone
from dashboards.links import Links
from dashboards.pages import alerts, charts, drift, events, performance, service
from dashboards.pages.alerts import Cause
from dashboards.pages.charts import Chart
from dashboards.pages.stretch import MERGED, Stretch, step
from monitor.errors import Invalid, NotFound
from monitor.evaluate import windows
from monitor.evaluate.by_feature import Heatmap
from monitor.evaluate.cuts import Want
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.loaded import binning_of
from monitor.evaluate.query import segment_of
from monitor.evaluate.series import Point, coverage_of
from monitor.stats.measure import METRICS, Measures, measure
from monitor.stats.profile import Profile
from monitor.stats.values import Value
from monitor.store import evaluations, profiles
from monitor.store.catalog import Model
from monitor.store.evaluations import FINAL, INPUTS, NO_DATA, PERFORMANCE, PROVISIONAL

Key = tuple[str, str | None]
LEAST_ROWS = 100  # of a column of the heat map: of fewer, ten bins have a PSI above 0.1 by chance alone


@dataclass(frozen=True)
class SegmentPage:
    """`segment` is NAME:VALUE; `feature` the feature that it is a level of, None for a tag or a slice; `meant` the one
    that the page is opened for, "" for none."""

    model: Model
    segment: str
    feature: str | None
    zone: Zone
    stretch: Stretch
    rows: int
    of_all: int
    labelled: int
    reference_rows: int | None
    charts: Sequence[Chart]
    metric: str
    metrics: Sequence[str]
    alerts: Sequence[tuple[alerts.Line, Sequence[alerts.Cause]]]
    meant: str = ""

    def told(self, causes: Sequence[Cause]) -> str:
        """What an alert says of the feature that is meant, else what it says of the segment first."""
        return next((one.sentence for one in causes if one.feature == self.meant), causes[0].sentence)


class _Cut(NamedTuple):
    """The segment in a stretch; the rows of all segments, and of the segment in the reference (None: no reference)."""

    measures: Measures
    of_all: int
    reference_rows: int | None


def load(
    connection: Connection,
    model: Model,
    text: str,
    now: int,
    stretch: Stretch,
    metric: str | None,
    links: Links,
    meant: str | None = None,
) -> SegmentPage:
    """Everything the page shows, from stored profiles.

    Args:
        text: NAME:VALUE.
        meant: the feature that is looked for: what moved comes first then, and begins with it.

    Raises:
        NotFound: the model has no such segment.
        Invalid: it has no such metric or feature.
    """
    key = _known(connection, model, text)
    if meant and (model.features or {}).get(meant, "ignored") == "ignored":
        raise Invalid.field("feature", "is none of the model's: the page of its features lists them")
    zone = Zone(model.config.timezone)
    offered = words.PERFORMANCE[model.task]
    chosen = one_of("metric", metric, offered) or offered[0]
    shelf = KeptShelf(connection, model, Want(segments=True))
    size = stretch.step_us
    if stretch.to_us - stretch.from_us > MERGED * size:
        size = step(stretch.to_us - stretch.from_us, stretch.window_us, MERGED)
    asked = ("volume", chosen)
    over = _cut(shelf, key, stretch.from_us, stretch.to_us, asked)
    sent, judged = _points(connection, shelf, key, stretch, size, asked)
    value = Value() if over is None else over.measures.values.get(chosen, Value())
    moved = _drift(shelf, key, stretch, sent, zone, links, meant or "")
    shown = [
        *([moved] if meant else []),
        service.traffic(charts.with_zeros(sent, now), zone, size),
        charts.of_metric(
            "performance",
            chosen,
            judged,
            zone,
            size,
            empty=performance.why_none(model.task, chosen, judged),
            labelled=True,
            headline=performance.headline(chosen, value),
        ),
        *([] if meant else [moved]),
    ]
    happened = events.between(connection, model, stretch.from_us, stretch.to_us)
    named = [(line, [one for one in line.causes if one.segment == text]) for line in alerts.of_model(connection, model)]
    return SegmentPage(
        model=model,
        segment=text,
        feature=key[0] if key[0] in (shelf.model.features or {}) else None,
        zone=zone,
        stretch=stretch,
        rows=0 if over is None else over.measures.rows,
        of_all=0 if over is None else over.of_all,
        labelled=0 if over is None else over.measures.labelled,
        reference_rows=None if over is None else over.reference_rows,
        charts=[events.marked(chart, happened, stretch.from_us, stretch.to_us) for chart in shown],
        metric=chosen,
        metrics=offered,
        alerts=[(line, causes) for line, causes in named if causes],
        meant=meant or "",
    )


def _known(connection: Connection, model: Model, text: str) -> Key:
    stored = profiles.current_binning(connection, model.id)
    try:
        if stored is not None:
            return segment_of(binning_of(stored.content), text)
    except Invalid:
        pass
    raise NotFound("the model has no such segment")


def _cut(shelf: KeptShelf, key: Key, from_us: int, to_us: int, metrics: Sequence[str]) -> _Cut | None:
    """None where nothing was profiled, or the segment was not counted by itself yet."""

    def cut(profile: Profile) -> _Cut | None:
        if key not in profile.binning.segment_rows:
            return None
        found = shelf.reference(profile.binning.number)
        before = None if found is None or found.profile.segments is None else found.profile.segment(*key)
        measures = measure(profile.segment(*key), before, metrics)
        return _Cut(measures, profile.rows, None if before is None else before.rows)

    return shelf.of_profile(from_us, to_us, ("segment", *key, *metrics), cut, _size)


def _size(cut: _Cut | None) -> int:
    return 500 if cut is None else 500 + sum(4 * one.value.nbytes for one in cut.measures.columns.values())


def _points(
    connection: Connection, shelf: KeptShelf, key: Key, stretch: Stretch, size: int, metrics: Sequence[str]
) -> list[list[Point]]:
    """The points of each metric, in steps of `size`."""
    steps = windows.spans(stretch.from_us, stretch.to_us, size, shelf.model.config.timezone)
    shelf.fetch(windows.profile_span(size), steps[0][0], steps[-1][1])
    final = {}
    for kind in (INPUTS, PERFORMANCE):
        last = evaluations.last_evaluated(connection, shelf.model.id, kind)
        final[kind] = steps[0][0] if last is None else last.end
    points: list[list[Point]] = [[] for _ in metrics]
    for start, end in steps:
        cut = _cut(shelf, key, start, end, metrics)
        for name, made in zip(metrics, points, strict=True):
            made.append(_point(start, end, cut, name, final))
    return points


def _point(start: int, end: int, cut: _Cut | None, name: str, final: dict[str, int]) -> Point:
    if cut is None or not cut.measures.rows:
        return Point(start, end, None, None, None, 0, None, NO_DATA, 0)
    metric, rows, labelled = METRICS[name], cut.measures.rows, cut.measures.labelled
    value = cut.measures.values.get(name, Value())
    state = FINAL if end <= final[PERFORMANCE if metric.labels else INPUTS] else PROVISIONAL
    if metric.labels and not labelled:
        state = NO_DATA
    coverage = coverage_of(metric, value, rows, labelled)
    return Point(start, end, value.value, value.low, value.high, value.n, coverage, state, 0)


def _drift(
    shelf: KeptShelf, key: Key, stretch: Stretch, sent: Sequence[Point], zone: Zone, links: Links, meant: str
) -> Chart:
    """PSI of the features within the segment, in steps that hold rows enough."""
    size = drift.step_for(stretch, sent)
    steps = windows.spans(stretch.from_us, stretch.to_us, size, shelf.model.config.timezone)
    shelf.fetch(windows.profile_span(size), steps[0][0], steps[-1][1])
    columns: list[dict[str, float]] = []
    compared = False
    for start, end in steps:
        cut = _cut(shelf, key, start, end, ("psi",))
        columns.append({} if cut is None else dict(zip(cut.measures.names, cut.measures.features["psi"], strict=True)))
        compared = compared or (cut is not None and cut.reference_rows is not None)
    names = list(dict.fromkeys(name for column in columns for name in column))
    values = [[float(column[name]) if name in column else None for column in columns] for name in names]
    grid = Heatmap([start for start, _ in steps], [end for _, end in steps], names, values)
    return drift.drawn(
        "Drift within the segment",
        grid,
        size,
        shelf.model,
        stretch,
        sent,
        zone,
        links,
        drift.importance_of(shelf),
        compared,
        LEAST_ROWS,
        meant,
    )
